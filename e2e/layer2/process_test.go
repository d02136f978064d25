//go:build e2e

package layer2

import (
	"bytes"
	"os"
	"strings"
	"sync"
)

// interrupt is what ends tcpdump in good order.
var interrupt = os.Interrupt

// lineWatcher is the error output of a program that says there when it is ready.
type lineWatcher struct {
	buffer *bytes.Buffer
	until  string
	once   sync.Once
	seen   chan struct{}
}

func (w *lineWatcher) Write(text []byte) (int, error) {
	w.buffer.Write(text)
	if strings.Contains(w.buffer.String(), w.until) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(text), nil
}
