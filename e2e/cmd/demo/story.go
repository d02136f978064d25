package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/table"
)

// story is what the demo prints: numbered chapters, in colour on a terminal alone.
type story struct {
	out      io.Writer
	colours  bool
	start    time.Time
	chapters int
	result   table.Table
}

func newStory(out *os.File) *story {
	info, err := out.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &story{
		out:     out,
		colours: terminal && os.Getenv("NO_COLOR") == "", // https://no-color.org
		start:   time.Now(),
		result:  table.Table{Heading: []string{"what", "measured"}},
	}
}

// The colours that are used, as of ECMA-48 section 8.3.117.
const (
	bold  = "1"
	dim   = "2"
	green = "32"
	cyan  = "36"
)

func (s *story) colour(code, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// chapter opens the next step.
func (s *story) chapter(format string, args ...any) {
	s.chapters++
	title := fmt.Sprintf("%d  "+format, append([]any{s.chapters}, args...)...)
	fmt.Fprintf(s.out, "\n%s\n", s.colour(bold, title))
}

func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "   "+format+"\n", args...)
}

// found tells what the demo is about.
func (s *story) found(format string, args ...any) {
	s.say("%s", s.colour(green, fmt.Sprintf(format, args...)))
}

// command shows what is run, as a person would type it.
func (s *story) command(format string, args ...any) {
	s.say("%s", s.colour(cyan, "$ "+fmt.Sprintf(format, args...)))
}

// quote shows a text from elsewhere, such as YAML.
func (s *story) quote(text string) {
	for line := range strings.Lines(text) {
		s.say("%s", s.colour(dim, "│ "+strings.TrimRight(line, "\n")))
	}
}

// Write takes what the lab tells while it comes up.
func (s *story) Write(text []byte) (int, error) {
	s.quote(string(text))
	return len(text), nil
}

// measured keeps a figure for the table at the end.
func (s *story) measured(what, format string, args ...any) {
	s.result.Add(what, fmt.Sprintf(format, args...))
}

func (s *story) elapsed() time.Duration { return time.Since(s.start) }
