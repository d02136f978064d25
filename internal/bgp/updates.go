package bgp

import (
	"cmp"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/herald-lb/herald/internal/lb"
)

// encoder turns routes into UPDATE messages for one session.
type encoder struct {
	asn uint32 // ours, as the router sees it
	terms
	// nextHop4 and nextHop6 are our addresses as seen from the router, for routes of each
	// family; invalid where there is none. nextHop4 is an IPv6 address under RFC 8950.
	nextHop4, nextHop6 netip.Addr
}

// defaultLocalPref is what internal sessions get where nothing is configured. RFC 4271,
// section 5.1.5, wants a value in all UPDATEs between internal peers, and FRR treats
// routes without one as withdrawn.
const defaultLocalPref = 100

// carries reports whether the session can offer a route for the prefix.
func (e encoder) carries(p netip.Prefix) bool {
	f := family(p)
	return e.agreed(f) && e.nextHop(f).IsValid()
}

// fits reports whether a message has room for the attributes: the communities of many
// advertisements, which come together in one route, may be too many.
func fits(a lb.Attributes) bool {
	const rest = 512 // for the header, a prefix, and all other attributes
	return 4*len(a.Communities)+12*len(a.LargeCommunities) <= maximumLength-rest
}

func (e encoder) nextHop(f bgp.Family) netip.Addr {
	if f == bgp.RF_IPv4_UC {
		return e.nextHop4
	}
	return e.nextHop6
}

var bothFamilies = []bgp.Family{bgp.RF_IPv4_UC, bgp.RF_IPv6_UC}

func family(p netip.Prefix) bgp.Family {
	if p.Addr().Is4() {
		return bgp.RF_IPv4_UC
	}
	return bgp.RF_IPv6_UC
}

// changes compares routes that are sorted by prefix: which prefixes are gone, and which
// routes are new or different.
func changes(before, after []lb.Route) (gone []netip.Prefix, changed []lb.Route) {
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Prefix.Compare(after[0].Prefix) < 0:
			gone = append(gone, before[0].Prefix)
			before = before[1:]
		case len(before) == 0 || before[0].Prefix.Compare(after[0].Prefix) > 0:
			changed = append(changed, after[0])
			after = after[1:]
		default:
			if !before[0].Equal(after[0]) {
				changed = append(changed, after[0])
			}
			before, after = before[1:], after[1:]
		}
	}
	return gone, changed
}

// messages returns the UPDATEs that withdraw and announce, serialized, in order. Routes
// with equal attributes share messages.
func (e encoder) messages(gone []netip.Prefix, changed []lb.Route) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, f := range bothFamilies {
			prefixes := slices.DeleteFunc(slices.Clone(gone), func(p netip.Prefix) bool { return family(p) != f })
			if !e.packed(len(prefixes), f, 0, func(i, j int) (*bgp.BGPMessage, error) { return withdrawal(f, prefixes[i:j]) }, yield) {
				return
			}
		}
		for _, g := range groups(changed) {
			attributes := e.attributes(g.attributes)
			announce := func(i, j int) (*bgp.BGPMessage, error) { return e.announcement(g.family, attributes, g.prefixes[i:j]) }
			if !e.packed(len(g.prefixes), g.family, length(attributes), announce, yield) {
				return
			}
		}
	}
}

// packed cuts n prefixes into as many messages as are needed, of at most [maximumLength].
func (e encoder) packed(n int, f bgp.Family, attributes int, build func(i, j int) (*bgp.BGPMessage, error), yield func([]byte, error) bool) bool {
	// 64 bytes are enough for the header, the length fields, and what stands before
	// the prefixes of the longest next hop.
	prefix := 5
	if f == bgp.RF_IPv6_UC {
		prefix = 17
	}
	step := (maximumLength - 64 - attributes) / prefix
	if step < 1 {
		return yield(nil, fmt.Errorf("attributes of %d bytes leave no room for a prefix", attributes))
	}
	for i := 0; i < n; i += step {
		m, err := build(i, min(i+step, n))
		if err != nil {
			return yield(nil, err)
		}
		if !yield(m.Serialize()) {
			return false
		}
	}
	return true
}

// group is routes that differ in the prefix alone.
type group struct {
	family     bgp.Family
	attributes lb.Attributes
	prefixes   []netip.Prefix
}

// groups brings together what one message can carry, in the order of the first prefixes.
func groups(routes []lb.Route) []*group {
	var all []*group
	byKey := map[string]*group{}
	var last *group
	for _, r := range routes {
		if last == nil || last.family != family(r.Prefix) || !last.attributes.Equal(r.Attributes) {
			key := groupKey(r)
			if last = byKey[key]; last == nil {
				last = &group{family: family(r.Prefix), attributes: r.Attributes}
				byKey[key] = last
				all = append(all, last)
			}
		}
		last.prefixes = append(last.prefixes, r.Prefix)
	}
	return all
}

func groupKey(r lb.Route) string {
	med := int64(-1)
	if r.MED != nil {
		med = int64(*r.MED)
	}
	return fmt.Sprint(family(r.Prefix), r.LocalPref, med, r.Prepend, r.Communities, r.LargeCommunities)
}

// attributes are those of a route but for its next hop.
func (e encoder) attributes(a lb.Attributes) []bgp.PathAttributeInterface {
	out := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP)}
	out = append(out, e.path(a.Prepend)...)
	if a.MED != nil {
		out = append(out, bgp.NewPathAttributeMultiExitDisc(*a.MED))
	}
	if e.internal {
		pref := a.LocalPref
		if pref == 0 {
			pref = defaultLocalPref
		}
		out = append(out, bgp.NewPathAttributeLocalPref(pref))
	}
	if len(a.Communities) > 0 {
		values := make([]uint32, len(a.Communities))
		for i, c := range a.Communities {
			values[i] = uint32(c)
		}
		out = append(out, bgp.NewPathAttributeCommunities(values))
	}
	if len(a.LargeCommunities) > 0 {
		values := make([]*bgp.LargeCommunity, len(a.LargeCommunities))
		for i, c := range a.LargeCommunities {
			values[i] = bgp.NewLargeCommunity(c.Global, c.Local1, c.Local2)
		}
		out = append(out, bgp.NewPathAttributeLargeCommunities(values))
	}
	return out
}

// path is AS_PATH, and AS4_PATH where the router needs it (RFC 6793, section 4.2.2).
// Inside an autonomous system it is empty, and nothing is prepended: the router would
// take its own number for a loop.
func (e encoder) path(prepend int) []bgp.PathAttributeInterface {
	if e.internal {
		return []bgp.PathAttributeInterface{bgp.NewPathAttributeAsPath(nil)}
	}
	asns := make([]uint32, 1+prepend)
	for i := range asns {
		asns[i] = e.asn
	}
	// A segment holds up to 255 (RFC 4271, section 4.3).
	const most = 255
	var long []*bgp.As4PathParam
	for i := 0; i < len(asns); i += most {
		long = append(long, bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, asns[i:min(i+most, len(asns))]))
	}
	if e.fourOctets {
		return []bgp.PathAttributeInterface{bgp.NewPathAttributeAsPath(params(long))}
	}
	out := []bgp.PathAttributeInterface{bgp.NewPathAttributeAsPath(shortened(long))}
	if e.asn > 0xffff {
		out = append(out, bgp.NewPathAttributeAs4Path(long))
	}
	return out
}

func params(path []*bgp.As4PathParam) []bgp.AsPathParamInterface {
	out := make([]bgp.AsPathParamInterface, len(path))
	for i, p := range path {
		out[i] = p
	}
	return out
}

// shortened is the path for routers that know 2-octet numbers only.
func shortened(path []*bgp.As4PathParam) []bgp.AsPathParamInterface {
	out := make([]bgp.AsPathParamInterface, len(path))
	for i, p := range path {
		short := make([]uint16, len(p.AS))
		for j, asn := range p.AS {
			short[j] = bgp.AS_TRANS
			if asn <= 0xffff {
				short[j] = uint16(asn)
			}
		}
		out[i] = bgp.NewAsPathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, short)
	}
	return out
}

// announcement is one UPDATE. IPv4 prefixes with an IPv4 next hop go where RFC 4271 put
// them, all others into MP_REACH_NLRI (RFC 4760, RFC 8950).
func (e encoder) announcement(f bgp.Family, attributes []bgp.PathAttributeInterface, prefixes []netip.Prefix) (*bgp.BGPMessage, error) {
	routes, err := nlri(prefixes)
	if err != nil {
		return nil, err
	}
	hop := e.nextHop(f)
	if hop.Is4() && f == bgp.RF_IPv4_UC {
		next, err := bgp.NewPathAttributeNextHop(hop)
		if err != nil {
			return nil, err
		}
		return bgp.NewBGPUpdateMessage(nil, byType(append([]bgp.PathAttributeInterface{next}, attributes...)), routes), nil
	}
	reach, err := bgp.NewPathAttributeMpReachNLRI(f, routes, hop.WithZone(""))
	if err != nil {
		return nil, err
	}
	// RFC 7606, section 5.1: it is to be the first.
	return bgp.NewBGPUpdateMessage(nil, append([]bgp.PathAttributeInterface{reach}, byType(attributes)...), nil), nil
}

// byType sorts attributes as RFC 4271, section 5, likes them.
func byType(attributes []bgp.PathAttributeInterface) []bgp.PathAttributeInterface {
	slices.SortFunc(attributes, func(a, b bgp.PathAttributeInterface) int { return cmp.Compare(a.GetType(), b.GetType()) })
	return attributes
}

func withdrawal(f bgp.Family, prefixes []netip.Prefix) (*bgp.BGPMessage, error) {
	routes, err := nlri(prefixes)
	if err != nil {
		return nil, err
	}
	if f == bgp.RF_IPv4_UC {
		return bgp.NewBGPUpdateMessage(routes, nil, nil), nil
	}
	unreach, err := bgp.NewPathAttributeMpUnreachNLRI(f, routes)
	if err != nil {
		return nil, err
	}
	return bgp.NewBGPUpdateMessage(nil, []bgp.PathAttributeInterface{unreach}, nil), nil
}

func nlri(prefixes []netip.Prefix) ([]bgp.PathNLRI, error) {
	out := make([]bgp.PathNLRI, len(prefixes))
	for i, p := range prefixes {
		n, err := bgp.NewIPAddrPrefix(p)
		if err != nil {
			return nil, fmt.Errorf("prefix %s: %w", p, err)
		}
		out[i] = bgp.PathNLRI{NLRI: n}
	}
	return out, nil
}

func length(attributes []bgp.PathAttributeInterface) int {
	n := 0
	for _, a := range attributes {
		n += a.Len()
	}
	return n
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
