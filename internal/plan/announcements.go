package plan

import (
	"cmp"
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
)

// Announcements are what this node answers for on behalf of all services. It is not
// safe for concurrent use.
type Announcements struct {
	byService map[lb.ServiceKey][]lb.Announcement
	byAddress *table[netip.Addr, lb.Announcement]
}

// NewAnnouncements returns Announcements without any.
func NewAnnouncements() *Announcements {
	return &Announcements{
		byService: map[lb.ServiceKey][]lb.Announcement{},
		byAddress: newTable(func(a lb.Announcement) netip.Addr { return a.Address }, netip.Addr.Compare, mergeAnnouncements),
	}
}

// Set replaces what is announced for a service; none withdraws it. It keeps the announcements.
func (a *Announcements) Set(service lb.ServiceKey, announcements []lb.Announcement) {
	for _, o := range a.byService[service] {
		a.byAddress.remove(service, o.Address)
	}
	delete(a.byService, service)
	if len(announcements) == 0 {
		return
	}
	a.byService[service] = announcements
	for _, o := range announcements {
		a.byAddress.add(service, o)
	}
}

// List returns one announcement for each address, sorted. It may be kept.
func (a *Announcements) List() []lb.Announcement { return a.byAddress.sorted() }

// mergeAnnouncements is the announcement of an address that several services share: on
// the links of any of them.
func mergeAnnouncements(a, b lb.Announcement) lb.Announcement {
	if a.Links == nil || b.Links == nil {
		return lb.Announcement{Address: a.Address}
	}
	return lb.Announcement{Address: a.Address, Links: union(a.Links, b.Links, cmp.Compare)}
}
