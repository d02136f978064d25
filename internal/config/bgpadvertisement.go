package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

const bgpAdvertisementKind = "BGPAdvertisement"

const (
	// maxCommunities is how many an advertisement may carry, as with MetalLB: with those
	// of others that go into the same route, they stay far below what an UPDATE holds.
	maxCommunities = 63
	// maxPrepend is as many times as other routers' configurations allow, too: longer paths
	// are what some refuse to take.
	maxPrepend = 10
)

// parseBGPAdvertisements leaves to each those of its pools that it goes with.
func parseBGPAdvertisements(r *report, o Objects, refs references, extents map[lb.PoolName]extent) []lb.BGPAdvertisement {
	var ads []lb.BGPAdvertisement
	for _, raw := range inPrecedence(bgpAdvertisementKind, o.BGPAdvertisements, o.past.standing) {
		f := r.about(bgpAdvertisementKind, &raw)
		nodes := selectNodes(f.selectors("spec.nodeSelectors", raw.Spec.NodeSelectors), o.Nodes)
		if !f.any && o.elsewhere(nodes) {
			continue
		}
		ad := parseBGPAdvertisement(f, raw, o, refs.or(o.past.references[f.object]))
		ad.Nodes = nodes
		if f.any {
			continue
		}
		ad.Pools = slices.DeleteFunc(ad.Pools, func(p lb.PoolName) bool { return !o.goTogether(f, ad, p, extents[p], ads) })
		ads = append(ads, ad)
	}
	slices.SortFunc(ads, func(a, b lb.BGPAdvertisement) int { return cmp.Compare(a.Name, b.Name) })
	return ads
}

func parseBGPAdvertisement(f *findings, raw v1beta1.BGPAdvertisement, o Objects, refs references) lb.BGPAdvertisement {
	s := raw.Spec
	ad := lb.BGPAdvertisement{
		Name:                raw.Name,
		Pools:               selectPools(f, s.IPAddressPools, s.IPAddressPoolSelectors, o.Pools),
		ServiceSelectors:    f.selectors("spec.serviceSelectors", s.ServiceSelectors),
		AggregationLength:   f.aggregation("spec.aggregationLength", s.AggregationLength, 1, 32, "IPv4"),
		AggregationLengthV6: f.aggregation("spec.aggregationLengthV6", s.AggregationLengthV6, 0, 128, "IPv6"),
		Attributes:          parseAttributes(f, s, refs),
	}
	if len(ad.ServiceSelectors) > 0 && (ad.AggregationLength != 32 || ad.AggregationLengthV6 != 128) {
		f.add("spec.serviceSelectors", "serviceSelectors and aggregationLength are mutually exclusive: with serviceSelectors, aggregationLength must be 32 and aggregationLengthV6 128")
	}
	f.distinct("spec.peers", s.Peers)
	for _, name := range s.Peers {
		ad.Peers = append(ad.Peers, lb.PeerName(name))
	}
	ad.Peers = sortedSet(ad.Peers)
	return ad
}

// aggregation reads a prefix length; unset is the longest.
func (f *findings) aggregation(field string, length *int32, shortest, longest int, family string) int {
	if length == nil {
		return longest
	}
	n := int(*length)
	if n < shortest || n > longest {
		f.add(field, "invalid aggregation length %d for %s: it must be %d to %d", n, family, shortest, longest)
	}
	return n
}

func parseAttributes(f *findings, s v1beta1.BGPAdvertisementSpec, refs references) lb.Attributes {
	a := lb.Attributes{LocalPref: s.LocalPref, MED: s.MED, Prepend: int(s.ASPathPrepend)}
	if a.Prepend < 0 || a.Prepend > maxPrepend {
		f.add("spec.asPathPrepend", "%d is not between 0 and %d", a.Prepend, maxPrepend)
	}
	if len(s.Communities) > maxCommunities {
		f.add("spec.communities", "%d communities are more than the %d that an advertisement may have", len(s.Communities), maxCommunities)
	}
	f.distinct("spec.communities", s.Communities)
	for i, text := range s.Communities {
		c, err := refs.community(text)
		switch {
		case err != nil:
			f.addVerbatim(fmt.Sprintf("spec.communities[%d]", i), fmt.Sprintf("%s\ninvalid community %q in BGP advertisement", err, text))
		case c.large != nil:
			a.LargeCommunities = append(a.LargeCommunities, *c.large)
		default:
			a.Communities = append(a.Communities, c.standard)
		}
	}
	a.Communities = sortedSet(a.Communities)
	slices.SortFunc(a.LargeCommunities, lb.LargeCommunity.Compare)
	a.LargeCommunities = slices.Compact(a.LargeCommunities)
	return a
}
