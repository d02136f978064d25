package chaos

import (
	"net/netip"
	"slices"
	"time"

	"github.com/herald-lb/herald/e2e/chaos/asking"
	"github.com/herald-lb/herald/e2e/lab"
)

// timeline is who answered for each address, and when.
type timeline struct {
	spans map[netip.Addr][]span
	until time.Time // the last round that is known
}

// span is a while in which the same hosts answered. It ends where the next begins.
type span struct {
	from time.Time
	by   []lab.Host
}

func newTimeline() *timeline { return &timeline{spans: map[netip.Addr][]span{}} }

// add takes in a round.
func (t *timeline) add(at time.Time, answers map[netip.Addr][]lab.Host) {
	t.until = at
	for address, by := range answers {
		t.spans[address] = append(t.spans[address], span{at, by})
	}
}

// forget forgets what was before a moment, but for what held then.
func (t *timeline) forget(before time.Time) {
	for address, spans := range t.spans {
		for len(spans) > 1 && !spans[1].from.After(before) {
			spans = spans[1:]
		}
		t.spans[address] = slices.Clone(spans)
	}
}

// now is who answers for an address, and since when. It is nobody, and since never, if it was not asked for yet.
func (t *timeline) now(address netip.Addr) (by []lab.Host, since time.Time) {
	spans := t.spans[address]
	if len(spans) == 0 {
		return nil, t.until
	}
	last := spans[len(spans)-1]
	return last.by, last.from
}

// answering are all that answer for some of the addresses now.
func (t *timeline) answering(addresses []netip.Addr) (by []lab.Host) {
	for _, a := range addresses {
		hosts, _ := t.now(a)
		by = append(by, hosts...)
	}
	slices.Sort(by)
	return slices.Compact(by)
}

// lateness is how late an answer may be without counting as missing: one that comes in the next round is not.
const lateness = asking.Round + asking.Round/2

// longestWithout is the longest that nobody answered for an address, since a moment, but for when nobody was to.
func (t *timeline) longestWithout(address netip.Addr, since time.Time, excused []interval) (longest time.Duration) {
	t.each(address, since, func(by []lab.Host, while interval) {
		if len(by) > 0 {
			return
		}
		for _, left := range while.less(excused) {
			if length := left.length(); length > lateness {
				longest = max(longest, length)
			}
		}
	})
	return longest
}

// timeWithSeveral is for how long in all several hosts answered for an address, since a moment.
func (t *timeline) timeWithSeveral(address netip.Addr, since time.Time) (total time.Duration) {
	t.each(address, since, func(by []lab.Host, while interval) {
		if len(by) > 1 {
			total += while.length()
		}
	})
	return total
}

func (t *timeline) each(address netip.Addr, since time.Time, visit func(by []lab.Host, while interval)) {
	spans := t.spans[address]
	for i, s := range spans {
		end := t.until
		if i+1 < len(spans) {
			end = spans[i+1].from
		}
		if begin := latest(s.from, since); end.After(begin) {
			visit(s.by, interval{begin, end})
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
