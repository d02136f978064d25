package members

import (
	stdlog "log"
	"strings"

	kitlog "github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// newLogAdapter returns what memberlist logs with. Its lines go to debug, and
// its warnings and errors to info: they tell of other nodes that do not answer,
// which is what memberlist is there to find out, and no cause for alarm here.
func newLogAdapter(logger kitlog.Logger) *stdlog.Logger {
	return stdlog.New(adapter{logger}, "", 0)
}

type adapter struct{ logger kitlog.Logger }

// Write logs one line such as "[DEBUG] memberlist: Stream connection".
func (a adapter) Write(line []byte) (int, error) {
	severity, text, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	text = strings.TrimPrefix(text, "memberlist: ")
	to := level.Debug(a.logger)
	if severity == "[WARN]" || severity == "[ERR]" {
		to = level.Info(a.logger)
	}
	return len(line), to.Log("msg", "memberlist says", "text", text)
}
