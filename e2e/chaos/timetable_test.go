package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

var fiveNodes = []lab.Host{"node1", "node2", "node3", "node4", "node5"}

func someTimetables(t *testing.T, check func(t *testing.T, table timetable)) {
	t.Helper()
	for seed := range uint64(50) {
		check(t, newTimetable(kinds(time.Minute), seed, 300, fiveNodes))
		check(t, newTimetable(kinds(time.Minute), seed, 0, fiveNodes))
	}
}

func TestOneSeedIsOneTimetable(t *testing.T) {
	a, b := newTimetable(kinds(time.Minute), 7, 200, fiveNodes), newTimetable(kinds(time.Minute), 7, 200, fiveNodes)
	for i := range a.acts {
		if a.acts[i].String() != b.acts[i].String() {
			t.Fatalf("act %d is %q and %q", i+1, a.acts[i], b.acts[i])
		}
	}
}

func TestAllKindsHappenAndAsManyFaultsAsAsked(t *testing.T) {
	all := kinds(time.Minute)
	someTimetables(t, func(t *testing.T, table timetable) {
		seen, count := map[string]bool{}, 0
		for _, a := range table.acts {
			count += len(a.faults)
			for _, f := range a.faults {
				seen[f.name] = true
			}
		}
		if len(seen) != len(all) || (count != 300 && count != len(all)) {
			t.Errorf("%d faults of %d kinds, want all of %d", count, len(seen), len(all))
		}
	})
}

func TestFaultsOfAnActBefallDifferentPlaces(t *testing.T) {
	someTimetables(t, func(t *testing.T, table timetable) {
		for _, a := range table.acts {
			for i, f := range a.faults {
				for _, other := range a.faults[:i] {
					if f.alone || other.alone || (f.where == other.where && (f.where != aNode || f.node == other.node)) {
						t.Errorf("in one act: %s", a)
					}
				}
			}
		}
	})
}

func TestTheWitnessIsSpared(t *testing.T) {
	someTimetables(t, func(t *testing.T, table timetable) {
		if table.sparing >= len(table.acts) {
			t.Errorf("nothing is left of %d acts when the sparing begins", len(table.acts))
		}
		for _, a := range table.acts[table.sparing:] {
			if slices.ContainsFunc(a.faults, func(f fault) bool { return f.ends == endsAll || (f.ends == endsOne && f.node == witness) }) {
				t.Errorf("act %d: %s", a.number, a)
			}
		}
	})
}
