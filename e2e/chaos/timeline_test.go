package chaos

import (
	"net/netip"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

var (
	origin  = time.Unix(1000, 0)
	address = netip.MustParseAddr("192.0.2.1")
)

func at(ms int) time.Time { return origin.Add(time.Duration(ms) * time.Millisecond) }

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// handOver is an address that changes hands twice: with a gap, and with both answering.
func handOver() *timeline {
	t := newTimeline()
	for _, s := range []struct {
		at int
		by []lab.Host
	}{
		{0, []lab.Host{"a"}},
		{1000, nil},
		{1400, []lab.Host{"b"}},
		{2000, []lab.Host{"a", "b"}},
		{2100, []lab.Host{"b"}},
		{2200, []lab.Host{"a", "b"}},
		{2250, []lab.Host{"a"}},
		{3000, nil},
		{3050, []lab.Host{"a"}},
	} {
		t.add(at(s.at), map[netip.Addr][]lab.Host{address: s.by})
	}
	t.add(at(4000), nil)
	return t
}

func TestTimesWithoutAndWithSeveral(t *testing.T) {
	for _, c := range []struct {
		since            int
		without, several time.Duration
	}{
		{0, ms(400), ms(150)},
		{1200, ms(200), ms(150)},
		{1400, 0, ms(150)}, // the answer at 3000 came late, and was not missing
		{2050, 0, ms(100)},
		{2300, 0, 0},
		{5000, 0, 0},
	} {
		line := handOver()
		line.forget(at(c.since))
		if got := line.longestWithout(address, at(c.since), nil); got != c.without {
			t.Errorf("since %d: without for %v, want %v", c.since, got, c.without)
		}
		if got := line.timeWithSeveral(address, at(c.since)); got != c.several {
			t.Errorf("since %d: with several for %v, want %v", c.since, got, c.several)
		}
	}
}

func TestWhoAnswersNow(t *testing.T) {
	line := handOver()
	if by, since := line.now(address); len(by) != 1 || by[0] != "a" || since != at(3050) {
		t.Errorf("%v since %v, want a since 3.05", by, since.Sub(origin))
	}
	if by, since := line.now(netip.MustParseAddr("192.0.2.2")); by != nil || since != at(4000) {
		t.Errorf("who was not asked for is answered for by %v since %v", by, since)
	}
}

func TestWhatNeverEndsCountsUntilNow(t *testing.T) {
	line := newTimeline()
	line.add(at(0), map[netip.Addr][]lab.Host{address: nil})
	line.add(at(700), nil)
	if got := line.longestWithout(address, at(0), nil); got != ms(700) {
		t.Errorf("without for %v, want 700ms", got)
	}
}
