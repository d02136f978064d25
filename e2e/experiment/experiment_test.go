package experiment

import (
	"errors"
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

func TestExperimentsAreMeasuredUpToTheFirstThatFails(t *testing.T) {
	var measured []int
	err := Run([]Experiment[int]{{Name: "cut", Measure: 1}, {Name: "kill", Measure: 2}, {Name: "scale", Measure: 3}}, func(m int) error {
		measured = append(measured, m)
		if m == 2 {
			return errors.New("no speaker")
		}
		return nil
	})
	if err == nil || err.Error() != "measure kill: no speaker" || !slices.Equal(measured, []int{1, 2}) {
		t.Errorf("measured %v: %v", measured, err)
	}
}
