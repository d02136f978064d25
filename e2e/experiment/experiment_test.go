package experiment

import (
	"slices"
	"strings"
	"testing"
)

func TestExperimentsAreChosenByName(t *testing.T) {
	all := []Experiment[int]{{Name: "cut"}, {Name: "kill"}, {Name: "scale"}}
	for only, want := range map[string][]string{
		"":          {"cut", "kill", "scale"},
		"kill":      {"kill"},
		"scale,cut": {"scale", "cut"},
	} {
		chosen, err := Choose(all, only)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(Names(chosen), ","); !slices.Equal(got, want) {
			t.Errorf("%q chooses %q, want %q", only, got, want)
		}
	}
}

func TestAnUnknownNameIsAnErrorThatNamesAll(t *testing.T) {
	_, err := Choose([]Experiment[int]{{Name: "cut"}, {Name: "kill"}}, "cut,call")
	if err == nil || !strings.Contains(err.Error(), `"call"`) || !strings.Contains(err.Error(), "cut,kill") {
		t.Errorf("the error is %v", err)
	}
}
