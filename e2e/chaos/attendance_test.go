package chaos

import (
	"io"
	"slices"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
)

func while(from, to int) interval { return interval{at(from), at(to)} }

func TestWhatIsLeftOfAWhile(t *testing.T) {
	lasting := interval{from: at(600)}
	for _, c := range []struct {
		name   string
		others []interval
		want   []interval
	}{
		{"nothing else", nil, []interval{while(100, 900)}},
		{"others before and after", []interval{while(0, 50), while(20, 100), while(900, 950)}, []interval{while(100, 900)}},
		{"one within", []interval{while(200, 300)}, []interval{while(100, 200), while(300, 900)}},
		{"two within, one after another", []interval{while(200, 300), while(300, 400)}, []interval{while(100, 200), while(400, 900)}},
		{"its beginning", []interval{while(0, 300)}, []interval{while(300, 900)}},
		{"its end", []interval{while(300, 1000)}, []interval{while(100, 300)}},
		{"one that lasts", []interval{while(200, 300), lasting}, []interval{while(100, 200), while(300, 600)}},
		{"all of it", []interval{while(100, 900)}, nil},
		{"more than all of it", []interval{while(0, 1000)}, nil},
	} {
		if got := while(100, 900).less(c.others); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v is left, want %v", c.name, got, c.want)
		}
	}
}

func TestWhenNoPodServes(t *testing.T) {
	a := &attendance{journal: newJournal(io.Discard, io.Discard), slices: map[string]discoveryv1.EndpointSlice{}, absence: map[string][]interval{}}
	named := func(name string, s discoveryv1.EndpointSlice) discoveryv1.EndpointSlice { s.Name = name; return s }
	none := named("web-1", served("web"))
	one := named("web-1", served("web", "node-a"))
	another := named("web-2", served("web", "node-b"))

	a.sawAll([]discoveryv1.EndpointSlice{one}, at(0))
	a.saw(another, true, at(100))
	a.saw(none, true, at(200)) // the other one still serves
	a.saw(another, false, at(300))
	a.saw(none, true, at(350))
	a.saw(one, true, at(400))
	a.sawAll(nil, at(500)) // the watch was cut, and both are gone
	a.sawAll([]discoveryv1.EndpointSlice{another}, at(600))
	a.saw(none, true, at(650))
	a.saw(another, false, at(700))
	if got, want := a.away("web"), []interval{while(300, 400), while(500, 600), {from: at(700)}}; !slices.Equal(got, want) {
		t.Errorf("nobody served in %v, want %v", got, want)
	}
	if got := a.away("another Service"); len(got) > 0 {
		t.Errorf("nobody served another Service in %v", got)
	}
	a.forget(at(550))
	if got, want := a.away("web"), []interval{while(500, 600), {from: at(700)}}; !slices.Equal(got, want) {
		t.Errorf("what is not over at 550, or was later: %v, want %v", got, want)
	}
}

func TestNobodyHasToAnswerWhileNoPodServes(t *testing.T) {
	for _, c := range []struct {
		name    string
		excused []interval
		want    time.Duration
	}{
		{"at another time", []interval{while(0, 1000)}, ms(400)},
		{"all the time", []interval{while(900, 1500)}, 0},
		{"but for a while", []interval{while(950, 1100), while(1300, 1600)}, ms(200)},
		{"but for a moment that an answer may take", []interval{while(1020, 1500)}, 0},
	} {
		if got := handOver().longestWithout(address, at(0), c.excused); got != c.want {
			t.Errorf("%s: without for %v, want %v", c.name, got, c.want)
		}
	}
}
