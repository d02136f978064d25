package bgp

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/herald-lb/herald/internal/lb"
)

// offer is what our OPEN says.
type offer struct {
	asn      uint32
	routerID netip.Addr
	hold     time.Duration
	families []bgp.Family
	// extendedNextHop: we can give IPv4 routes an IPv6 next hop (RFC 8950).
	extendedNextHop bool
	// gracefulRestart: keep our routes while we are away; restarting: we just were (RFC 4724).
	gracefulRestart, restarting bool
}

// restartTime is how long routers keep the routes of a speaker that restarts: what FRR
// asks for as well.
const restartTime = 120 * time.Second

// terms are what the two OPENs come to.
type terms struct {
	// asn is the router's; internal says that it is ours, too.
	asn      uint32
	internal bool
	hold     time.Duration
	families []bgp.Family
	// fourOctets: the router knows 4-octet autonomous system numbers (RFC 6793).
	fourOctets      bool
	extendedNextHop bool
	// endOfRIB: the router wants to know when it has all routes (RFC 4724, section 2).
	endOfRIB bool
	// gracefulRestart: the router keeps our routes when the connection just ends.
	gracefulRestart bool
}

// families are those that the session offers. An unnumbered one carries both.
func families(p lb.Peer) []bgp.Family {
	switch {
	case p.DualStack || p.Interface != "":
		return bothFamilies
	case p.Address.Unmap().Is4():
		return []bgp.Family{bgp.RF_IPv4_UC}
	}
	return []bgp.Family{bgp.RF_IPv6_UC}
}

// bytes is the OPEN itself (RFC 4271, section 4.2).
func (o offer) bytes() ([]byte, error) {
	capabilities := []bgp.ParameterCapabilityInterface{}
	for _, f := range o.families {
		capabilities = append(capabilities, bgp.NewCapMultiProtocol(f))
	}
	capabilities = append(capabilities, bgp.NewCapRouteRefresh(), bgp.NewCapFourOctetASNumber(o.asn))
	if o.extendedNextHop {
		capabilities = append(capabilities, bgp.NewCapExtendedNexthop([]*bgp.CapExtendedNexthopTuple{
			bgp.NewCapExtendedNexthopTuple(bgp.RF_IPv4_UC, bgp.AFI_IP6),
		}))
	}
	if o.gracefulRestart {
		capabilities = append(capabilities, o.restartCapability())
	}
	asn := uint16(bgp.AS_TRANS)
	if o.asn <= 0xffff {
		asn = uint16(o.asn)
	}
	m, err := bgp.NewBGPOpenMessage(asn, uint16(o.hold/time.Second), o.routerID,
		[]bgp.OptionParameterInterface{bgp.NewOptionParameterCapability(capabilities)})
	if err != nil {
		return nil, err
	}
	return m.Serialize()
}

// restartCapability says that packets are forwarded while the speaker is away, which is
// true: the kernel of the node does that, whoever announces. It does not ask for RFC 8538:
// a NOTIFICATION ends a session for good, since that is how a node is given up.
func (o offer) restartCapability() bgp.ParameterCapabilityInterface {
	tuples := []*bgp.CapGracefulRestartTuple{}
	for _, f := range o.families {
		tuples = append(tuples, bgp.NewCapGracefulRestartTuple(f, true))
	}
	return bgp.NewCapGracefulRestart(o.restarting, false, uint16(restartTime/time.Second), tuples)
}

// settle checks the router's OPEN (RFC 4271, section 6.2), and says what both agree on.
func (o offer) settle(theirs *bgp.BGPOpen, p lb.Peer) (terms, *sessionError) {
	t := terms{
		asn:  uint32(theirs.MyAS),
		hold: min(o.hold, time.Duration(theirs.HoldTime)*time.Second),
	}
	offered := t.read(theirs)
	t.internal = t.asn == o.asn
	t.gracefulRestart = t.gracefulRestart && o.gracefulRestart
	t.extendedNextHop = t.extendedNextHop && o.extendedNextHop
	for _, f := range o.families {
		if slices.Contains(offered, f) {
			t.families = append(t.families, f)
		}
	}
	return t, o.check(t, theirs, p)
}

// read takes the capabilities out of the OPEN, and returns the families in it: IPv4 alone
// where the router says nothing (RFC 4760, section 8).
func (t *terms) read(theirs *bgp.BGPOpen) []bgp.Family {
	var families []bgp.Family
	for _, parameter := range theirs.OptParams {
		p, ok := parameter.(*bgp.OptionParameterCapability)
		if !ok {
			continue
		}
		for _, capability := range p.Capability {
			switch c := capability.(type) {
			case *bgp.CapMultiProtocol:
				families = append(families, c.CapValue)
			case *bgp.CapFourOctetASNumber:
				t.fourOctets, t.asn = true, c.CapValue
			case *bgp.CapExtendedNexthop:
				t.extendedNextHop = t.extendedNextHop || slices.ContainsFunc(c.Tuples, ipv4OverIPv6)
			case *bgp.CapGracefulRestart:
				t.endOfRIB, t.gracefulRestart = true, true
			}
		}
	}
	if families == nil {
		return []bgp.Family{bgp.RF_IPv4_UC}
	}
	return families
}

// agreed reports whether both sides want routes of the family.
func (t terms) agreed(f bgp.Family) bool { return slices.Contains(t.families, f) }

func ipv4OverIPv6(t *bgp.CapExtendedNexthopTuple) bool {
	return t.NLRIAFI == bgp.AFI_IP && t.NLRISAFI == bgp.SAFI_UNICAST && t.NexthopAFI == bgp.AFI_IP6
}

func (o offer) check(t terms, theirs *bgp.BGPOpen, p lb.Peer) *sessionError {
	const code = bgp.BGP_ERROR_OPEN_MESSAGE_ERROR
	if theirs.Version != 4 {
		return errProtocol(code, bgp.BGP_ERROR_SUB_UNSUPPORTED_VERSION_NUMBER, []byte{0, 4}, "BGP version %d", theirs.Version)
	}
	if err := checkASN(t, o, p); err != nil {
		return err
	}
	if h := theirs.HoldTime; h == 1 || h == 2 {
		return errProtocol(code, bgp.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME, nil, "a hold time of %d s", h)
	}
	// RFC 6286, section 2.2: identifiers are to differ inside an autonomous system only.
	if theirs.ID.IsUnspecified() || t.internal && theirs.ID == o.routerID {
		return errProtocol(code, bgp.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER, nil, "the BGP identifier %s; ours is %s", theirs.ID, o.routerID)
	}
	if len(t.families) == 0 {
		return errProtocol(code, bgp.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY, nil, "an OPEN without the address family of the session")
	}
	return nil
}

func checkASN(t terms, o offer, p lb.Peer) *sessionError {
	wanted := ""
	switch {
	case p.DynamicASN == lb.InternalASN && !t.internal:
		wanted = "the same as ours"
	case p.DynamicASN == lb.ExternalASN && (t.internal || t.asn == 0): // RFC 7607: 0 is nobody's
		wanted = "another than ours"
	case p.DynamicASN == "" && t.asn != p.ASN:
		wanted = decimal(p.ASN)
	}
	if wanted == "" {
		return nil
	}
	return &sessionError{
		reason: lb.WrongASN,
		text:   "the router's ASN is " + decimal(t.asn) + ", the one configured is " + wanted + " (ours is " + decimal(o.asn) + ")",
		notify: &notification{
			code: bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, subcode: bgp.BGP_ERROR_SUB_BAD_PEER_AS,
			data: binary.BigEndian.AppendUint32(nil, t.asn),
		},
	}
}
