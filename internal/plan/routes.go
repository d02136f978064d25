package plan

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// Routes are what this node offers to each peer on behalf of all services. It is not
// safe for concurrent use.
type Routes struct {
	offers map[lb.ServiceKey][]lb.Offer
	byPeer map[lb.PeerName]*table[netip.Prefix, lb.Route]
}

// NewRoutes returns Routes without any.
func NewRoutes() *Routes {
	return &Routes{offers: map[lb.ServiceKey][]lb.Offer{}, byPeer: map[lb.PeerName]*table[netip.Prefix, lb.Route]{}}
}

// Set replaces what is offered for a service; none withdraws it. It keeps the offers.
func (r *Routes) Set(service lb.ServiceKey, offers []lb.Offer) {
	for _, o := range r.offers[service] {
		for _, peer := range o.Peers {
			r.byPeer[peer].remove(service, o.Prefix)
		}
	}
	delete(r.offers, service)
	if len(offers) == 0 {
		return
	}
	r.offers[service] = offers
	for _, o := range offers {
		for _, peer := range o.Peers {
			r.of(peer).add(service, o.Route)
		}
	}
}

func (r *Routes) of(peer lb.PeerName) *table[netip.Prefix, lb.Route] {
	if r.byPeer[peer] == nil {
		r.byPeer[peer] = newTable(func(r lb.Route) netip.Prefix { return r.Prefix }, netip.Prefix.Compare, mergeRoutes)
	}
	return r.byPeer[peer]
}

// Sessions are the conversations that this node is to hold with the peers, sorted by
// name; also those with nothing to offer. They may be kept.
func (r *Routes) Sessions(peers []lb.Peer) []lb.Session {
	out := make([]lb.Session, 0, len(peers))
	for _, p := range peers {
		out = append(out, lb.Session{Peer: p, Routes: r.of(p.Name).sorted()})
	}
	slices.SortFunc(out, func(a, b lb.Session) int { return cmp.Compare(a.Peer.Name, b.Peer.Name) })
	maps.DeleteFunc(r.byPeer, func(name lb.PeerName, t *table[netip.Prefix, lb.Route]) bool {
		return len(t.contributions) == 0 && !slices.ContainsFunc(peers, func(p lb.Peer) bool { return p.Name == name })
	})
	return out
}

// mergeRoutes is the route to a prefix that several services, or advertisements, want
// advertised. It carries the communities of all. Of the rest, what attracts traffic
// most wins, as if each were a route of its own among which the peer chooses (RFC 4271,
// section 9.1.2): the highest localPref, the fewest prepended ASNs, the lowest MED,
// where none at all counts as the lowest.
func mergeRoutes(a, b lb.Route) lb.Route {
	return lb.Route{Prefix: a.Prefix, Attributes: lb.Attributes{
		LocalPref:        max(a.LocalPref, b.LocalPref),
		MED:              lowerMED(a.MED, b.MED),
		Prepend:          min(a.Prepend, b.Prepend),
		Communities:      union(a.Communities, b.Communities, cmp.Compare),
		LargeCommunities: union(a.LargeCommunities, b.LargeCommunities, lb.LargeCommunity.Compare),
	}}
}

func lowerMED(a, b *uint32) *uint32 {
	if a == nil || b == nil {
		return nil
	}
	if *b < *a {
		return b
	}
	return a
}

// union returns the distinct values of both, sorted, and leaves both as they are.
func union[T comparable](a, b []T, compare func(T, T) int) []T {
	out := slices.Concat(a, b)
	slices.SortFunc(out, compare)
	return slices.Compact(out)
}
