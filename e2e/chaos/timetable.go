package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// kind is a kind of fault.
type kind struct {
	name  string
	share int // of about a thousand faults
	where place
	alone bool // nothing else happens in its act
	ends  ending
	// A fault lasts for a while that is drawn between the two.
	least, most time.Duration
	// befall makes a fault, waits, and mends it.
	befall func(context.Context, *stage, fault) error
}

// place is what a fault befalls. The faults of one act befall different places.
type place int

const (
	aNode place = iota // each node is a place of its own
	theAPI
	theControllers
	theGossip
	theObjects
	theRouter
)

// ending says which processes of Herald end by a fault.
type ending int

const (
	endsNone ending = iota
	endsOne         // that of the node, or one of the controllers
	endsAll
)

// errMissed is what a fault returns that found nothing to befall, or could not. It does not count.
var errMissed = errors.New("nothing was hit")

// fault is one of an act's.
type fault struct {
	kind
	node  lab.Host      // that it befalls, if it befalls one
	after time.Duration // from the act's beginning
	lasts time.Duration
	draw  uint64 // decides what else there is to choose
}

func (f fault) String() string {
	if f.node == "" {
		return f.name
	}
	return fmt.Sprintf("%s (%s)", f.name, f.node)
}

// act is what happens between two looks of the judge.
type act struct {
	number int
	faults []fault
}

func (a act) String() string {
	var names []string
	for _, f := range a.faults {
		names = append(names, f.String())
	}
	return strings.Join(names, ", ")
}

// several is the name of the row for acts of several faults.
const several = "several at once"

// row is where an act's figures belong; nowhere, if nothing happened in it.
func (a act) row() string {
	switch len(a.faults) {
	case 0:
		return ""
	case 1:
		return a.faults[0].name
	}
	return several
}

// timetable is a whole play. In the acts from sparing on, one speaker and one controller never end, so that they grow old
// enough for a leak to show.
type timetable struct {
	acts    []act
	sparing int
}

// witness is the node whose speaker is spared.
const witness lab.Host = "node1"

// newTimetable draws that many faults, and at least one of each kind. A third comes before the sparing, and with it all
// faults that end everything.
func newTimetable(kinds []kind, seed uint64, count int, nodes []lab.Host) timetable {
	d := drawer{chance: rand.New(rand.NewPCG(seed, 0)), nodes: nodes}
	var early, late []kind
	for _, k := range d.kinds(kinds, count) {
		if k.ends == endsAll {
			early = append(early, k)
		} else {
			late = append(late, k)
		}
	}
	if more := count/3 - len(early); more > 0 {
		early, late = append(early, late[:more]...), late[more:]
	}
	d.shuffle(early)
	t := timetable{acts: d.acts(early)}
	t.sparing = len(t.acts)
	d.spared = witness
	t.acts = append(t.acts, d.acts(late)...)
	for i := range t.acts {
		t.acts[i].number = i + 1
	}
	return t
}

// drawer makes the choices.
type drawer struct {
	chance *rand.Rand
	nodes  []lab.Host
	spared lab.Host // nothing ends there
}

// kinds draws each kind once, and the others by their shares.
func (d drawer) kinds(all []kind, count int) []kind {
	drawn := slices.Clone(all)
	var lots []kind
	for _, k := range all {
		lots = append(lots, slices.Repeat([]kind{k}, k.share)...)
	}
	for len(drawn) < count {
		drawn = append(drawn, lots[d.chance.IntN(len(lots))])
	}
	d.shuffle(drawn)
	return drawn
}

func (d drawer) shuffle(kinds []kind) {
	d.chance.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
}

// acts puts all of the kinds into acts. Half of the acts have several faults, where there are places for them.
func (d drawer) acts(kinds []kind) (all []act) {
	waiting := slices.Clone(kinds)
	for len(waiting) > 0 {
		var a act
		size := []int{1, 1, 1, 2, 3, 4}[d.chance.IntN(6)]
		waiting = slices.DeleteFunc(waiting, func(k kind) bool {
			f, fits := d.fit(k, a)
			if len(a.faults) == size || !fits {
				return false
			}
			a.faults = append(a.faults, f)
			return true
		})
		all = append(all, a)
	}
	return all
}

// mostNodes is how many nodes are befallen in one act: the others are enough to go on.
const mostNodes = 3

// fit makes a fault of a kind for an act, if the act has a place for it.
func (d drawer) fit(k kind, a act) (fault, bool) {
	taken := map[lab.Host]bool{}
	for _, other := range a.faults {
		if other.alone || k.alone || (k.where == other.where && k.where != aNode) {
			return fault{}, false
		}
		if other.node != "" {
			taken[other.node] = true
		}
	}
	f := fault{kind: k, after: d.between(0, time.Second), lasts: d.between(k.least, k.most), draw: d.chance.Uint64()}
	if k.where != aNode {
		return f, true
	}
	free := slices.DeleteFunc(slices.Clone(d.nodes), func(h lab.Host) bool {
		return taken[h] || (h == d.spared && k.ends != endsNone)
	})
	if len(taken) == mostNodes || len(free) == 0 {
		return fault{}, false
	}
	f.node = free[d.chance.IntN(len(free))]
	return f, true
}

func (d drawer) between(least, most time.Duration) time.Duration {
	return least + time.Duration(d.chance.Int64N(int64(most-least)+1))
}
