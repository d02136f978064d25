package chaos

import (
	"slices"
	"strings"
	"testing"
)

func TestLeaksAreFoundInProcessesThatLivedOn(t *testing.T) {
	before := []vitals{{"grown", 1, 50, 20, 100}, {"same", 1, 50, 20, 100}, {"restarted", 1, 50, 20, 100}}
	after := []vitals{{"grown", 1, 90, 60, 200}, {"same", 1, 51, 22, 120}, {"restarted", 2, 90, 60, 200}}
	var complaints []string
	for _, a := range agings(before, after) {
		complaints = append(complaints, a.leaks()...)
	}
	if len(complaints) != 3 || slices.ContainsFunc(complaints, func(c string) bool { return !strings.HasPrefix(c, "grown") }) {
		t.Errorf("%q, want three about the one that has grown", complaints)
	}
}
