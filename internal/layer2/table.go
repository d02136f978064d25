package layer2

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/herald-lb/herald/internal/lb"
)

// table is what this node answers for at one moment, sorted by address. It is
// immutable: readers hold it without a lock, and compare two of them cheaply,
// since what did not change is the same entry in both.
type table struct {
	addrs   []netip.Addr // the addresses of entries, dense for the search
	entries []*entry
}

// entry is one announced address. A change of its links makes a new entry with
// the same tally; only an address that was gained anew has a new tally.
type entry struct {
	lb.Announcement
	*tally
}

// tally counts what an address has received and sent since it was gained.
type tally struct {
	requests   atomic.Uint64
	responses  atomic.Uint64
	gratuitous atomic.Uint64
}

// with returns the table for these announcements. It keeps the entries that
// did not change, and is t itself if none did.
func (t *table) with(announcements []lb.Announcement) *table {
	sorted := sortedByAddress(announcements)
	same := func(e *entry, an lb.Announcement) bool { return e.Equal(an) }
	if slices.EqualFunc(t.entries, sorted, same) {
		return t
	}
	next := &table{addrs: make([]netip.Addr, 0, len(sorted)), entries: make([]*entry, 0, len(sorted))}
	old := 0
	for _, an := range sorted {
		for old < len(t.addrs) && t.addrs[old].Less(an.Address) {
			old++
		}
		next.addrs = append(next.addrs, an.Address)
		next.entries = append(next.entries, succeed(t.at(old), an))
	}
	return next
}

// succeed returns the entry for an announcement, given the entry that may have
// been there before.
func succeed(known *entry, an lb.Announcement) *entry {
	switch {
	case known == nil || known.Address != an.Address:
		return &entry{Announcement: an, tally: &tally{}}
	case known.Equal(an):
		return known
	}
	return &entry{Announcement: an, tally: known.tally}
}

func (t *table) at(i int) *entry {
	if i >= len(t.entries) {
		return nil
	}
	return t.entries[i]
}

func sortedByAddress(announcements []lb.Announcement) []lb.Announcement {
	order := func(a, b lb.Announcement) int { return a.Address.Compare(b.Address) }
	if slices.IsSortedFunc(announcements, order) {
		return announcements
	}
	return slices.SortedFunc(slices.Values(announcements), order)
}

// find returns the entry of an address, or nil.
func (t *table) find(addr netip.Addr) *entry {
	i, ok := slices.BinarySearchFunc(t.addrs, addr, netip.Addr.Compare)
	if !ok {
		return nil
	}
	return t.entries[i]
}

// only returns the entries of t that pick holds for, unless other has the same
// gain of the same address and pick holds for it there too.
func (t *table) only(other *table, pick func(*entry) bool) []*entry {
	return t.without(other, func(mine, theirs *entry) bool {
		return !pick(mine) || (theirs != nil && theirs.tally == mine.tally && pick(theirs))
	})
}

// changedSince returns the entries of t that before does not have in this form.
func (t *table) changedSince(before *table) []*entry {
	return t.without(before, func(_, _ *entry) bool { return false })
}

// without returns the entries of t, less those that other shares and those
// that drop holds for, given what other has for the address, or nil.
func (t *table) without(other *table, drop func(mine, theirs *entry) bool) []*entry {
	if t == other {
		return nil
	}
	var out []*entry
	o := 0
	for i, e := range t.entries {
		for o < len(other.addrs) && other.addrs[o].Less(t.addrs[i]) {
			o++
		}
		theirs := other.at(o)
		if theirs == e {
			continue
		}
		if theirs != nil && theirs.Address != e.Address {
			theirs = nil
		}
		if !drop(e, theirs) {
			out = append(out, e)
		}
	}
	return out
}
