package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestCommandLinesThatCannotBeMeant(t *testing.T) {
	for _, c := range []struct{ name, line, says string }{
		{"no such command", "fly", "no such command: fly"},
		{"a node is missing", "kill", "usage: lab kill NODE"},
		{"one node too many", "revive node1 node2", "usage: lab revive NODE"},
		{"neither in nor out", "cable node1 sideways", "want in or out"},
		{"a host without a command", "in client", "usage: lab in HOST COMMAND..."},
		{"nothing to load", "load", "usage: lab load IMAGE.tar..."},
		{"an address without a port", "probe client 192.0.2.1", "192.0.2.1"},
		{"up takes flags only", "up node1", "usage: lab up"},
		{"routers takes flags only", "routers router", "usage: lab routers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := run(t.Context(), strings.Fields(c.line), &strings.Builder{})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("lab %s: got %v, want it to say %q", c.line, err, c.says)
			}
		})
	}
}

func TestNoCommandShowsUsage(t *testing.T) {
	if err := run(t.Context(), nil, &strings.Builder{}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"help"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if !strings.Contains(out.String(), c.verb+" "+c.args) {
			t.Errorf("help does not name %s", c.verb)
		}
	}
}
