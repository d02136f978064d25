package config

import (
	"net/netip"
	"slices"

	"go4.org/netipx"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// extent is what the routes to a pool's addresses have to fit: its ranges, as users
// wrote them. A pool with a problem has none, and goes with everything until it is mended.
type extent []block

// block is one of them with the shortest prefix that it is made of.
type block struct {
	text     string
	shortest netip.Prefix
}

// measure returns the extents of the pools that are in force.
func measure(raw []v1beta1.IPAddressPool, pools []lb.Pool) map[lb.PoolName]extent {
	out := map[lb.PoolName]extent{}
	for _, p := range pools {
		i := slices.IndexFunc(raw, func(r v1beta1.IPAddressPool) bool { return r.Name == string(p.Name) })
		for j, r := range p.Ranges { // one for each of the texts, as the pool is valid
			out[p.Name] = append(out[p.Name], block{text: raw[i].Spec.Addresses[j], shortest: shortest(r)})
		}
	}
	return out
}

func shortest(r lb.Range) netip.Prefix {
	prefixes := netipx.IPRangeFrom(r.First, r.Last).Prefixes()
	return slices.MinFunc(prefixes, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
}

func (e extent) hasIPv4() bool {
	return slices.ContainsFunc(e, func(b block) bool { return b.shortest.Addr().Is4() })
}

func (e extent) hasIPv6() bool {
	return slices.ContainsFunc(e, func(b block) bool { return b.shortest.Addr().Is6() })
}

// goTogether finds what is wrong between an advertisement and one of its pools, given
// the advertisements that come before it.
func (o Objects) goTogether(f *findings, ad lb.BGPAdvertisement, pool lb.PoolName, e extent, before []lb.BGPAdvertisement) bool {
	for _, b := range e {
		length, field := ad.Prefix(b.shortest.Addr()).Bits(), "spec.aggregationLength"
		if b.shortest.Addr().Is6() {
			field = "spec.aggregationLengthV6"
		}
		if length < b.shortest.Bits() {
			f.add(field, "invalid aggregation length %d: prefix %d in this pool is more specific than the aggregation length for addresses %s", length, b.shortest.Bits(), b.text)
			return false
		}
	}
	for _, other := range before {
		if slices.Contains(other.Pools, pool) && ad.Attributes.LocalPref != other.Attributes.LocalPref && o.meet(ad, other, e) {
			f.add("spec.localPref", "localPref %d contradicts localPref %d of advertisement %s, which makes the same routes of pool %s", ad.Attributes.LocalPref, other.Attributes.LocalPref, other.Name, pool)
			return false
		}
	}
	return true
}

// meet reports whether both advertisements make the same routes of a pool, from the same
// node to the same peer. Where they select services, that is known per service only.
func (o Objects) meet(a, b lb.BGPAdvertisement, e extent) bool {
	sameRoutes := e.hasIPv4() && a.AggregationLength == b.AggregationLength || e.hasIPv6() && a.AggregationLengthV6 == b.AggregationLengthV6
	samePeer := a.Peers == nil || slices.ContainsFunc(a.Peers, b.Contains)
	return len(a.ServiceSelectors) == 0 && len(b.ServiceSelectors) == 0 && sameRoutes && samePeer && o.shareNode(a.Nodes, b.Nodes)
}

// checkEcho takes echo mode from peers that are offered IPv6 addresses: it is for IPv4
// alone. MetalLB refuses it as soon as there is an advertisement of such a pool for the
// peer, even if the session carries no IPv6, where nothing is wrong with it.
func (o Objects) checkEcho(r *report, c lb.Config, extents map[lb.PoolName]extent) {
	for i := range c.Peers {
		p := &c.Peers[i]
		if p.BFD == nil || !p.BFD.EchoMode || !p.Carries(netip.IPv6Unspecified()) {
			continue
		}
		if pool := o.ipv6Pool(c, *p, extents); pool != "" {
			j := slices.IndexFunc(o.Peers, func(raw v1beta2.BGPPeer) bool { return raw.Name == string(p.Name) })
			r.about(peerKind, &o.Peers[j]).add("spec.bfdProfile", "the echo mode of bfd profile %s is for IPv4 alone, and peer %s is offered the IPv6 addresses of pool %s", p.BFD.Name, p.Name, pool)
			without := *p.BFD
			without.EchoMode = false
			p.BFD = &without
		}
	}
}

// ipv6Pool returns a pool with IPv6 addresses that some advertisement offers to the peer.
func (o Objects) ipv6Pool(c lb.Config, p lb.Peer, extents map[lb.PoolName]extent) lb.PoolName {
	for _, ad := range c.BGPAdvertisements {
		if !ad.Contains(p.Name) || !o.shareNode(ad.Nodes, p.Nodes) {
			continue
		}
		if i := slices.IndexFunc(ad.Pools, func(pool lb.PoolName) bool { return extents[pool].hasIPv6() }); i >= 0 {
			return ad.Pools[i]
		}
	}
	return ""
}
