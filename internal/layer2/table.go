package layer2

import (
	"iter"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/herald-lb/herald/internal/lb"
)

// table is what this node answers for at one moment, sorted by address. It is
// immutable, so that readers hold it without a lock. It is made of pages, which
// the next table shares as far as they did not change: where one address of
// thousands comes or goes, one page is made anew, and comparing what was with
// what is looks at that page alone.
type table struct {
	pages []*page // none is empty
}

// page is a run of the table.
type page struct {
	addrs   []netip.Addr // the addresses of entries, dense for the search
	entries []*entry
}

// pageSize is how many entries a page begins with. It is split when it has
// grown to more than twice as many.
const pageSize = 64

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

// with returns the table for these announcements. It keeps the pages that did
// not change, and is t itself if none did. It does not keep the slice.
func (t *table) with(announcements []lb.Announcement) *table {
	rest := sortedByAddress(announcements)
	next := make([]*page, 0, len(t.pages)+1)
	for i, p := range t.pages {
		mine := len(rest)
		if i+1 < len(t.pages) {
			mine, _ = slices.BinarySearchFunc(rest, t.pages[i+1].addrs[0], compareAddress)
		}
		next = p.appendWith(next, rest[:mine])
		rest = rest[mine:]
	}
	if len(t.pages) == 0 {
		next = new(page).appendWith(next, rest)
	}
	if slices.Equal(t.pages, next) {
		return t
	}
	return &table{pages: next}
}

func compareAddress(an lb.Announcement, addr netip.Addr) int { return an.Address.Compare(addr) }

func sortedByAddress(announcements []lb.Announcement) []lb.Announcement {
	order := func(a, b lb.Announcement) int { return a.Address.Compare(b.Address) }
	if slices.IsSortedFunc(announcements, order) {
		return announcements
	}
	return slices.SortedFunc(slices.Values(announcements), order)
}

// appendWith appends the pages that take this one's place for these announcements.
func (p *page) appendWith(pages []*page, announcements []lb.Announcement) []*page {
	same := func(e *entry, an lb.Announcement) bool { return e.Equal(an) }
	switch {
	case len(announcements) == 0:
		return pages
	case slices.EqualFunc(p.entries, announcements, same):
		return append(pages, p)
	}
	entries := p.succeeded(announcements)
	if len(entries) <= 2*pageSize {
		return append(pages, newPage(entries))
	}
	for part := range slices.Chunk(entries, pageSize) {
		pages = append(pages, newPage(part))
	}
	return pages
}

// succeeded returns the entries for these announcements: those of the page that
// did not change, and new ones.
func (p *page) succeeded(announcements []lb.Announcement) []*entry {
	entries, old := make([]*entry, 0, len(announcements)), 0
	for _, an := range announcements {
		for old < len(p.addrs) && p.addrs[old].Less(an.Address) {
			old++
		}
		var known *entry
		if old < len(p.addrs) && p.addrs[old] == an.Address {
			known = p.entries[old]
		}
		entries = append(entries, succeed(known, an))
	}
	return entries
}

// succeed returns the entry for an announcement, given the entry that there was
// for the address before, or nil.
func succeed(known *entry, an lb.Announcement) *entry {
	switch {
	case known == nil:
		return &entry{Announcement: an, tally: &tally{}}
	case known.Equal(an):
		return known
	}
	return &entry{Announcement: an, tally: known.tally}
}

func newPage(entries []*entry) *page {
	p := &page{addrs: make([]netip.Addr, len(entries)), entries: entries}
	for i, e := range entries {
		p.addrs[i] = e.Address
	}
	return p
}

// find returns the entry of an address, or nil.
func (t *table) find(addr netip.Addr) *entry {
	p := t.pageOf(addr)
	if p == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(p.addrs, addr, netip.Addr.Compare)
	if !ok {
		return nil
	}
	return p.entries[i]
}

// pageOf returns the page that has the address if the table does; nil if no page can.
func (t *table) pageOf(addr netip.Addr) *page {
	first := func(p *page, addr netip.Addr) int { return p.addrs[0].Compare(addr) }
	i, ok := slices.BinarySearchFunc(t.pages, addr, first)
	switch {
	case ok:
		return t.pages[i]
	case i == 0:
		return nil
	}
	return t.pages[i-1]
}

// len returns how many addresses the table has.
func (t *table) len() int {
	n := 0
	for _, p := range t.pages {
		n += len(p.entries)
	}
	return n
}

// all are the entries in order.
func (t *table) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for _, p := range t.pages {
			for _, e := range p.entries {
				if !yield(e) {
					return
				}
			}
		}
	}
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
	var out []*entry
	for _, p := range t.pages {
		if other.pageOf(p.addrs[0]) == p {
			continue
		}
		for _, e := range p.entries {
			if theirs := other.find(e.Address); theirs != e && !drop(e, theirs) {
				out = append(out, e)
			}
		}
	}
	return out
}
