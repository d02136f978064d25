package lab

import (
	"fmt"
	"io"
	"time"
)

// steps tells a person what is being done, and how long each step took.
type steps struct {
	out         io.Writer
	first, last time.Time
}

func newSteps(out io.Writer) *steps {
	if out == nil {
		out = io.Discard
	}
	now := time.Now()
	return &steps{out: out, first: now, last: now}
}

// say announces what may take long.
func (s *steps) say(format string, args ...any) {
	fmt.Fprintf(s.out, "        … "+format+"\n", args...)
}

// done closes a step.
func (s *steps) done(what string) {
	now := time.Now()
	fmt.Fprintf(s.out, "%6.1f s  %s (%.1f s)\n", now.Sub(s.first).Seconds(), what, now.Sub(s.last).Seconds())
	s.last = now
}
