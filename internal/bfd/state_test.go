package bfd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The diagram of RFC 5880 section 6.2 and the rules of 6.8.4 to 6.8.6 and 6.8.16, with a line for
// every state and a column for every event. The diagnostic is what the peer is told from then on.
func TestStateMachine(t *testing.T) {
	events := []event{heardAdminDown, heardDown, heardInit, heardUp, silence, echoLost, disable, enable}
	want := map[state][]string{
		stateAdminDown: {"-", "-", "-", "-", "-", "-", "-", "Down 0"},
		stateDown:      {"-", "Init", "Up 0", "-", "-", "-", "AdminDown 7", "-"},
		stateInit:      {"Down 3", "-", "Up 0", "Up 0", "Down 1", "-", "AdminDown 7", "-"},
		stateUp:        {"Down 3", "Down 3", "-", "-", "Down 1", "Down 2", "AdminDown 7", "-"},
	}
	for from, row := range want {
		var got []string
		for _, e := range events {
			got = append(got, describe(from, e))
		}
		if diff := cmp.Diff(row, got); diff != "" {
			t.Errorf("in state %s (-want +got):\n%s", from.status(), diff)
		}
	}
}

func describe(from state, e event) string {
	next, ok := transitions[from][e]
	switch {
	case !ok:
		return "-"
	case next.diagnostic == diagKeep:
		return string(next.next.status())
	}
	return string(next.next.status()) + " " + string('0'+rune(next.diagnostic))
}

func TestEveryDiagnosticHasWords(t *testing.T) {
	if got := diagNone.String(); got != "" {
		t.Errorf("no diagnostic is %q", got)
	}
	for d := diagExpired; d <= diagReverseConcatenatedDown; d++ {
		if d.String() == "" || d.String() == "Reserved" {
			t.Errorf("diagnostic %d is %q", d, d)
		}
	}
	for d := diagReverseConcatenatedDown + 1; d < 32; d++ {
		if d.String() != "Reserved" {
			t.Errorf("diagnostic %d is %q", d, d)
		}
	}
}
