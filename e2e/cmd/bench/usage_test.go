package main

import (
	"testing"
	"time"
)

func TestConsumptionIsReadFromProc(t *testing.T) {
	const stat = "4475 (a (b) c) S 1 4475 4475 0 -1 4194560 51292 0 12 0 250 50 0 0 20 0 11 0 61000 1344668 13072 18446744073709551615 1 1 0"
	got, err := parseStat(stat)
	if err != nil {
		t.Fatal(err)
	}
	if want := (consumption{cpu: 3 * time.Second, memory: 13072 * 4096}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestHalfAProcessStatusIsAnError(t *testing.T) {
	for _, stat := range []string{"", "1 (init) S 0 1", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 many 0 0 0 20 0 1 0 1 1 1"} {
		if got, err := parseStat(stat); err == nil {
			t.Errorf("%q is read as %+v", stat, got)
		}
	}
}
