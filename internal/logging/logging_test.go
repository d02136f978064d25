package logging_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/herald-lb/herald/internal/logging"
)

func TestALineIsJSONWithTheKeysThatUsersFilterOn(t *testing.T) {
	var out bytes.Buffer
	l, err := logging.New(&out, "info")
	if err != nil {
		t.Fatal(err)
	}
	level.Info(l).Log("msg", "address assigned", "service", "default/web")
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("line %q: %s", out.String(), err)
	}
	if line["level"] != "info" || line["msg"] != "address assigned" || line["service"] != "default/web" || line["caller"] == "" {
		t.Errorf("line %v", line)
	}
	if _, err := time.Parse(time.RFC3339Nano, line["ts"]); err != nil {
		t.Errorf("ts: %s", err)
	}
}

func TestLevels(t *testing.T) {
	for lvl, lines := range map[string]int{"all": 4, "debug": 4, "info": 3, "warn": 2, "error": 1, "none": 0} {
		var out bytes.Buffer
		l, err := logging.New(&out, lvl)
		if err != nil {
			t.Fatal(err)
		}
		level.Debug(l).Log()
		level.Info(l).Log()
		level.Warn(l).Log()
		level.Error(l).Log()
		if got := bytes.Count(out.Bytes(), []byte("\n")); got != lines {
			t.Errorf("level %s wrote %d lines, want %d", lvl, got, lines)
		}
	}
	if _, err := logging.New(nil, "verbose"); err == nil {
		t.Error("an unknown level was taken")
	}
}

func TestLibrariesLogThroughIt(t *testing.T) {
	var out bytes.Buffer
	l, _ := logging.New(&out, "info")
	lr := logging.Logr(l, "info").WithName("cache").WithValues("kind", struct{ c chan int }{})
	lr.Info("for developers only")
	if out.Len() > 0 {
		t.Errorf("a library's info came out at info: %s", out.String())
	}
	lr.Error(errors.New("connection refused"), "watch ended")
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["level"] != "error" || line["error"] != "connection refused" || line["logger"] != "cache" || line["msg"] != "watch ended" {
		t.Errorf("line %v", line)
	}
}

func TestLibrariesNeedNotWordWhatIsNotWritten(t *testing.T) {
	for lvl, want := range map[string]int{"all": 10, "debug": 4, "info": -1, "warn": -1, "error": -1, "none": -1} {
		lr := logging.Logr(log.NewNopLogger(), lvl).WithName("client").WithValues("verb", "get")
		got := -1
		for v := range 20 {
			if lr.V(v).Enabled() {
				got = v
			}
		}
		if got != want {
			t.Errorf("level %s: enabled up to verbosity %d, want %d", lvl, got, want)
		}
	}
}
