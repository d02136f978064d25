package lb

import (
	"net/netip"
	"slices"
)

// BGPVerdict is one speaker's answer to whether it advertises a Service over BGP.
type BGPVerdict struct {
	// Offers are what this node offers for the service, sorted by prefix; empty unless
	// it advertises. A node that drains still has some, under the reason that ends them.
	Offers []Offer
	Reason Reason
	// Why says the reason to a person, more closely than Reason does.
	Why string
}

// Offer is a route that some peers are to hold on behalf of one Service.
type Offer struct {
	// Peers are those with a session on this node, sorted; never empty.
	Peers []PeerName
	Route
}

// Advertises reports whether this node offers routes for the service.
func (v BGPVerdict) Advertises() bool { return len(v.Offers) > 0 }

// Peers are all that are offered something, sorted.
func (v BGPVerdict) Peers() []PeerName {
	if len(v.Offers) == 1 {
		return v.Offers[0].Peers
	}
	var out []PeerName
	for _, o := range v.Offers {
		out = append(out, o.Peers...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Equal reports whether both say the same.
func (v BGPVerdict) Equal(o BGPVerdict) bool {
	return v.Reason == o.Reason && v.Why == o.Why && slices.EqualFunc(v.Offers, o.Offers, Offer.Equal)
}

// Equal reports whether both offer the same route to the same peers.
func (o Offer) Equal(p Offer) bool { return o.Route.Equal(p.Route) && slices.Equal(o.Peers, p.Peers) }

// ShownASN is the autonomous system that the router sees us in.
func (p Peer) ShownASN() uint32 {
	if p.LocalASN != 0 {
		return p.LocalASN
	}
	return p.MyASN
}

// Internal reports whether the router is to be in the autonomous system that it sees us in.
func (p Peer) Internal() bool {
	return p.DynamicASN == InternalASN || p.DynamicASN == "" && p.ASN == p.ShownASN()
}

// Carries reports whether the session with the peer exchanges routes of the address's
// family: that of its own addresses, or both on dual-stack and unnumbered sessions.
func (p Peer) Carries(a netip.Addr) bool {
	return p.DualStack || p.Interface != "" || p.Address.Is4() == a.Is4()
}
