package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// GracefulShutdown is the community of routes that are about to be withdrawn: routers
// move to other ways while this one still works (RFC 8326, section 4).
const GracefulShutdown lb.Community = 65535 << 16

// advertiser decides about BGP on one node.
type advertiser struct {
	// byPool are the advertisements that cover this node, of each pool.
	byPool map[lb.PoolName][]bgpAdvertisement
	// hindrance is the verdict about whatever is advertised while something about the
	// node itself stands in the way; its reason is empty if nothing does.
	hindrance lb.BGPVerdict
	// draining says that a hindered node offers its routes still, as ways to leave.
	draining bool
}

// bgpAdvertisement is an advertisement with the peers that have a session on this node.
type bgpAdvertisement struct {
	lb.BGPAdvertisement
	ipv4, ipv6 []lb.PeerName
	// attributes are those of the advertisement, and those that draining adds.
	attributes lb.Attributes
}

func newAdvertiser(v View) advertiser {
	a := advertiser{byPool: map[lb.PoolName][]bgpAdvertisement{}, hindrance: hindrance(v)}
	a.draining = v.Draining && a.hindrance.Reason == lb.NodeLabeledExcludeBalancers
	for _, ad := range v.Config.BGPAdvertisements {
		if !contains(ad.Nodes, v.Node) {
			continue
		}
		here := bgpAdvertisement{BGPAdvertisement: ad, attributes: ad.Attributes}
		here.ipv4 = peersOf(ad, v, netip.IPv4Unspecified())
		here.ipv6 = peersOf(ad, v, netip.IPv6Unspecified())
		if a.draining {
			here.attributes = shuttingDown(ad.Attributes)
		}
		for _, pool := range ad.Pools {
			a.byPool[pool] = append(a.byPool[pool], here)
		}
	}
	return a
}

// hindrance says what about the node itself keeps it from advertising.
func hindrance(v View) lb.BGPVerdict {
	i := slices.IndexFunc(v.Nodes, func(n lb.Node) bool { return n.Name == v.Node })
	switch {
	case i < 0:
		return lb.BGPVerdict{}
	case v.Nodes[i].NetworkUnavailable:
		return doNot(lb.NodeNetworkUnavailable, "the node's condition NetworkUnavailable is true")
	case v.Nodes[i].Excluded && !v.IgnoreExcludeLabel && v.Draining:
		return doNot(lb.NodeLabeledExcludeBalancers, "the node's label excludes it: its routes are withdrawn when routers had time to turn to others")
	case v.Nodes[i].Excluded && !v.IgnoreExcludeLabel:
		return doNot(lb.NodeLabeledExcludeBalancers, "the node's label excludes it")
	}
	return lb.BGPVerdict{}
}

// peersOf are those that the advertisement is for and that have a session on this node
// for routes of the address's family, sorted.
func peersOf(ad lb.BGPAdvertisement, v View, family netip.Addr) []lb.PeerName {
	var out []lb.PeerName
	for _, p := range v.Config.Peers {
		if ad.Contains(p.Name) && contains(p.Nodes, v.Node) && p.Carries(family) {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (a bgpAdvertisement) peers(addr netip.Addr) []lb.PeerName {
	if addr.Is4() {
		return a.ipv4
	}
	return a.ipv6
}

func shuttingDown(a lb.Attributes) lb.Attributes {
	a.Communities = union(a.Communities, []lb.Community{GracefulShutdown}, cmp.Compare)
	return a
}

// Peers are the routers that this node holds a session with, whether or not there is
// anything to offer, sorted by name.
func (p *Planner) Peers() []lb.Peer {
	var out []lb.Peer
	for _, peer := range p.view.Config.Peers {
		if contains(peer.Nodes, p.view.Node) {
			out = append(out, peer)
		}
	}
	return out
}

// BGP decides which routes this node offers for the service, and to whom. There is no
// election: every node that may offers them, and the routers spread the traffic.
func (p *Planner) BGP(svc lb.Service, endpoints []lb.Endpoint) lb.BGPVerdict {
	if len(svc.Held) == 0 {
		return doNot(lb.NoAddress, "the service holds no address")
	}
	pool, ok := p.poolOf(svc)
	if !ok {
		return doNot(lb.NoPool, fmt.Sprintf("%s is in no pool", svc.Held[0]))
	}
	here := p.advertiser.byPool[pool]
	if len(here) == 0 {
		return doNot(lb.NotOwner, "no BGPAdvertisement selects the pool and this node")
	}
	ads := forService(here, svc)
	if len(ads) == 0 {
		return doNot(lb.NoMatchingAdvertisement, "no BGPAdvertisement selects pool, service and this node")
	}
	if why := conflict(ads, svc); why != "" {
		return doNot(lb.ConflictingAdvertisements, why)
	}
	if h := p.advertiser.hindrance; h.Reason != "" && !p.advertiser.draining {
		return h
	}
	if svc.LocalTraffic && !contains(servingNodes(endpoints), p.view.Node) {
		return doNot(lb.NoLocalEndpoints, "traffic must stay local, and no endpoint on this node can serve")
	}
	if !anyServing(endpoints) {
		return doNot(lb.NoEndpoints, "no endpoint can serve")
	}
	return p.advertiser.offer(ads, svc)
}

func doNot(reason lb.Reason, why string) lb.BGPVerdict {
	return lb.BGPVerdict{Reason: reason, Why: why}
}

func forService(ads []bgpAdvertisement, svc lb.Service) []bgpAdvertisement {
	var out []bgpAdvertisement
	for _, ad := range ads {
		if ad.ServiceSelectors.ContainsOrEmpty(svc.Labels) {
			out = append(out, ad)
		}
	}
	return out
}

// conflict says which two advertisements want different localPrefs for the same route
// to the same peer: there is no telling which is meant. The configuration refuses those
// that always contradict each other; service selectors may bring others together.
func conflict(ads []bgpAdvertisement, svc lb.Service) string {
	for i, a := range ads {
		for _, b := range ads[i+1:] {
			if a.attributes.LocalPref == b.attributes.LocalPref || !sharePeer(a, b) {
				continue
			}
			for _, addr := range svc.Held {
				if a.Prefix(addr) == b.Prefix(addr) {
					return fmt.Sprintf("BGPAdvertisements %s and %s give %s different localPrefs", a.Name, b.Name, a.Prefix(addr))
				}
			}
		}
	}
	return ""
}

func sharePeer(a, b bgpAdvertisement) bool {
	return a.Peers == nil || slices.ContainsFunc(a.Peers, b.Contains)
}

// offer builds the verdict of a node that may advertise.
func (a advertiser) offer(ads []bgpAdvertisement, svc lb.Service) lb.BGPVerdict {
	v := lb.BGPVerdict{Reason: lb.Announced}
	if a.draining {
		v = a.hindrance
	}
	for _, addr := range svc.Held {
		for _, ad := range ads {
			if peers := ad.peers(addr); len(peers) > 0 {
				v.Offers = append(v.Offers, lb.Offer{Peers: peers, Route: lb.Route{Prefix: ad.Prefix(addr), Attributes: ad.attributes}})
			}
		}
	}
	if len(v.Offers) == 0 {
		return doNot(lb.NoMatchingPeer, "no BGPPeer that is meant has a session on this node for the address's family")
	}
	slices.SortStableFunc(v.Offers, func(x, y lb.Offer) int { return x.Prefix.Compare(y.Prefix) })
	return v
}
