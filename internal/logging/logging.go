// Package logging sets up the log of a process: JSON lines on one writer, through
// go-kit/log, with what client-go, controller-runtime and memberlist say in between.
package logging

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/go-logr/logr"
)

// Levels are the values of the flag --log-level, from the most to the least talkative.
var Levels = []string{"all", "debug", "info", "warn", "error", "none"}

// New returns a logger that writes one JSON object a line with the keys ts (RFC 3339),
// level, caller and msg. It refuses a level that is not one of [Levels].
func New(w io.Writer, lvl string) (log.Logger, error) {
	i := slices.Index(Levels, lvl)
	if i < 0 {
		return nil, fmt.Errorf("unknown log level %q: want one of %s", lvl, strings.Join(Levels, ", "))
	}
	allow := []level.Option{
		level.AllowAll(), level.AllowDebug(), level.AllowInfo(), level.AllowWarn(), level.AllowError(), level.AllowNone(),
	}[i]
	l := log.NewJSONLogger(log.NewSyncWriter(w))
	l = level.NewFilter(l, allow)
	return log.With(l, "ts", log.TimestampFormat(time.Now, time.RFC3339Nano), "caller", log.DefaultCaller), nil
}

// Logr lets libraries that log through logr write to l, whose level is one of [Levels].
// What they call info is for their developers: it comes out at debug. Their errors stay
// errors.
func Logr(l log.Logger, lvl string) logr.Logger {
	return logr.New(&sink{logger: l, verbosity: verbosity(lvl)})
}

// verbosity is up to where libraries need to put their info into words, on the scale of
// https://github.com/kubernetes/community/blob/master/contributors/devel/sig-instrumentation/logging.md.
func verbosity(lvl string) int {
	switch lvl {
	case "all":
		return 10
	case "debug":
		return 4
	}
	return -1
}

type sink struct {
	logger    log.Logger
	name      string
	verbosity int
}

// Init has nothing to take from the caller.
func (s *sink) Init(logr.RuntimeInfo) {}

// Enabled spares libraries the effort to word what would not be written: client-go
// would dump the body of every request.
func (s *sink) Enabled(v int) bool { return v <= s.verbosity }

// Info logs at debug.
func (s *sink) Info(_ int, msg string, keysAndValues ...any) {
	s.write(level.Debug(s.logger), msg, keysAndValues)
}

// Error logs at error.
func (s *sink) Error(err error, msg string, keysAndValues ...any) {
	if err != nil {
		keysAndValues = append([]any{"error", err.Error()}, keysAndValues...)
	}
	s.write(level.Error(s.logger), msg, keysAndValues)
}

func (s *sink) write(l log.Logger, msg string, keysAndValues []any) {
	kv := []any{"msg", msg}
	if s.name != "" {
		kv = append(kv, "logger", s.name)
	}
	// Nobody is left to tell if the log itself cannot be written.
	_ = l.Log(append(kv, printable(keysAndValues)...)...)
}

// printable turns values into text that JSON cannot refuse: a library may hand over
// anything, and a line lost for a channel inside a struct helps nobody.
func printable(keysAndValues []any) []any {
	out := make([]any, len(keysAndValues))
	for i, v := range keysAndValues {
		switch v.(type) {
		case string, bool, int, int32, int64, uint, uint32, uint64, float64, nil:
			out[i] = v
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}

// WithValues returns a sink that adds the pairs to each line.
func (s *sink) WithValues(keysAndValues ...any) logr.LogSink {
	return &sink{logger: log.With(s.logger, printable(keysAndValues)...), name: s.name, verbosity: s.verbosity}
}

// WithName returns a sink whose lines carry the name, below that of s.
func (s *sink) WithName(name string) logr.LogSink {
	if s.name != "" {
		name = s.name + "." + name
	}
	return &sink{logger: s.logger, name: name, verbosity: s.verbosity}
}
