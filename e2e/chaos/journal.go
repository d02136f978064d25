package chaos

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// journal is what happened, for who wants to know how a promise came to be broken.
type journal struct {
	out, all io.Writer // what is shown in any case, and everything
	began    time.Time

	mu    sync.Mutex // guards lines, and writing
	lines []string   // since the last act began
}

func newJournal(out, all io.Writer) *journal { return &journal{out: out, all: all, began: time.Now()} }

// note writes a line that is shown when something goes wrong.
func (j *journal) note(format string, args ...any) {
	line := fmt.Sprintf("%8.2f  ", time.Since(j.began).Seconds()) + fmt.Sprintf(format, args...)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	fmt.Fprintln(j.all, line)
}

// say writes a line that is shown in any case.
func (j *journal) say(format string, args ...any) {
	j.note(format, args...)
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintln(j.out, j.lines[len(j.lines)-1])
}

// turn begins a new page.
func (j *journal) turn() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = nil
}

// page is what was written since.
func (j *journal) page() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "\n")
}
