package chaos

import (
	"slices"
	"strings"
	"testing"
)

func TestLeaksAreFoundInProcessesThatLivedOn(t *testing.T) {
	before := []vitals{
		{Pod: "grown", Started: 1, Goroutines: 50, Files: 20, Memory: 100},
		{Pod: "same", Started: 1, Goroutines: 50, Files: 20, Memory: 100},
		{Pod: "restarted", Started: 1, Goroutines: 50, Files: 20, Memory: 100},
		{Pod: "leads by now", Started: 1, Goroutines: 50, Files: 20, Memory: 100},
	}
	after := []vitals{
		{Pod: "grown", Started: 1, Goroutines: 90, Files: 60, Memory: 200},
		{Pod: "same", Started: 1, Goroutines: 51, Files: 22, Memory: 120},
		{Pod: "restarted", Started: 2, Goroutines: 90, Files: 60, Memory: 200},
		{Pod: "leads by now", Started: 1, Goroutines: 90, Files: 60, Memory: 200, Leads: true},
	}
	var complaints []string
	for _, a := range agings(before, after) {
		complaints = append(complaints, a.leaks()...)
	}
	if len(complaints) != 3 || slices.ContainsFunc(complaints, func(c string) bool { return !strings.HasPrefix(c, "grown") }) {
		t.Errorf("%q, want three about the one that has grown", complaints)
	}
}
