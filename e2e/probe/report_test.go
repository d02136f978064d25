package probe_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/probe"
)

// series makes attempts 10 ms apart: a dot was answered, an x failed, an r was reset.
func series(outcomes string) []probe.Attempt {
	var attempts []probe.Attempt
	for i, outcome := range outcomes {
		a := probe.Attempt{Start: time.UnixMilli(int64(10 * i))}
		switch outcome {
		case 'x':
			a.Err = errors.New("no answer")
		case 'r':
			a.Err = fmt.Errorf("dial: %w", syscall.ECONNRESET)
		}
		attempts = append(attempts, a)
	}
	return attempts
}

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		name, outcomes string
		want           string
	}{
		{"nothing failed", "....", "no outage in 4 probes"},
		{"the outage ends with the first answer after it", "..xxx..", "an outage of 30 ms, 3 of 7 probes failed"},
		{"an answer between failures does not end it", "..x.xx..", "an outage of 40 ms, 3 of 8 probes failed"},
		{"never answered again", "..xxx", "an outage of 20 ms that is not over, 3 of 5 probes failed"},
		{"a single failure lasts until the next answer", ".x.", "an outage of 10 ms, 1 of 3 probes failed"},
		{"one that was under way when its way moved is no outage", "..r..", "no outage in 5 probes, 1 reset as their way moved"},
		{"nor does it make one longer", ".xx....r.", "an outage of 20 ms, 2 of 9 probes failed, 1 reset as their way moved"},
		{"or end it", ".xrx..", "an outage of 30 ms, 2 of 6 probes failed, 1 reset as their way moved"},
		{"or begin it", "r.x.", "an outage of 10 ms, 1 of 4 probes failed, 1 reset as their way moved"},
		{"nothing was tried", "", "no outage in 0 probes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := probe.Summarize(series(c.outcomes)).String(); got != c.want {
				t.Errorf("%s: got %q, want %q", c.outcomes, got, c.want)
			}
		})
	}
}
