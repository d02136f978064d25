package layer2

import (
	"hash/maphash"
	"time"
)

// rounds are when the frames of a burst are sent, as pauses after the frame
// before: at 0, 0.1, 1.1, 2.2, 3.5 and 5 seconds. The first is what ends an outage. The second follows
// soon, for a frame lost while the switch was busy with the same failover; the
// others cover hosts that hold on to an entry for a second (Linux's locktime)
// and an old owner that was late to stop. RFC 5227 section 2.3 and RFC 4861
// section 7.2.6 ask for at least two or three, a second apart.
var rounds = [...]time.Duration{
	0,
	100 * time.Millisecond,
	1000 * time.Millisecond,
	1100 * time.Millisecond,
	1300 * time.Millisecond,
	1500 * time.Millisecond,
}

// bursts are the bursts under way on one link. The entries that wait for the
// same round wait in order, so that adding and taking costs no search.
type bursts struct {
	waiting [len(rounds)][]turn
}

// turn is a set of entries whose next frame is due at one moment.
type turn struct {
	entries []*entry
	due     time.Time
}

// add begins the bursts of entries gained now.
func (b *bursts) add(entries []*entry, now time.Time) {
	if len(entries) > 0 {
		b.wait(0, entries, now)
	}
}

// take returns a set of entries whose frame is due, or nil, and has them wait
// for their next round. Rounds are spaced from when the frame before was
// really sent: a process that was stopped for a while does not send the rounds
// that it missed in one go. Call take until it returns nil.
func (b *bursts) take(now time.Time) []*entry {
	for round, turns := range b.waiting {
		if len(turns) == 0 || turns[0].due.After(now) {
			continue
		}
		due := turns[0].entries
		b.waiting[round] = turns[1:]
		if round+1 < len(rounds) {
			b.wait(round+1, due, now)
		}
		return due
	}
	return nil
}

func (b *bursts) wait(round int, entries []*entry, now time.Time) {
	b.waiting[round] = append(b.waiting[round], turn{entries: entries, due: now.Add(rounds[round])})
}

// next returns when a frame is due, or false if no burst is under way.
func (b *bursts) next() (time.Time, bool) {
	var first time.Time
	for _, turns := range b.waiting {
		if len(turns) > 0 && (first.IsZero() || turns[0].due.Before(first)) {
			first = turns[0].due
		}
	}
	return first, !first.IsZero()
}

// refreshSlots is into how many parts the refresh interval is divided, so that
// ten thousand addresses are not announced again all at once.
const refreshSlots = 16

// refreshSeed spreads addresses over slots differently in each process.
var refreshSeed = maphash.MakeSeed()

// refreshSlot returns in which part of the refresh interval an entry's turn is.
func refreshSlot(e *entry) uint64 {
	return maphash.Comparable(refreshSeed, e.Address) % refreshSlots
}
