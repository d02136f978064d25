package lb

import (
	"net/netip"
	"slices"
	"strings"
)

// Announcement is a fact on one node now: this node answers for this address,
// on these links.
type Announcement struct {
	Address netip.Addr
	// Links are the names of the permitted links, sorted. Nil permits every
	// link that is usable for the address's family.
	Links []string
}

// Contains reports whether the announcement is permitted on the link of that name.
func (a Announcement) Contains(link string) bool {
	return a.Links == nil || slices.Contains(a.Links, link)
}

// Equal reports whether both announce the same address on the same links.
func (a Announcement) Equal(o Announcement) bool {
	return a.Address == o.Address && (a.Links == nil) == (o.Links == nil) && slices.Equal(a.Links, o.Links)
}

// String returns "192.0.2.1 on eth0,eth1" or "192.0.2.1 on all links".
func (a Announcement) String() string {
	if a.Links == nil {
		return a.Address.String() + " on all links"
	}
	return a.Address.String() + " on " + strings.Join(a.Links, ",")
}
