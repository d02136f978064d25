package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

const peerKind = "BGPPeer"

const (
	// defaultPort is where routers listen (RFC 4271, section 3).
	defaultPort = 179
	// defaultHoldTime is what is offered where a peer says nothing of timers (RFC 4271, section 10).
	defaultHoldTime = 90 * time.Second
	// maxPassword is as many bytes as the kernel takes for a key: TCP_MD5SIG_MAXKEYLEN of linux/tcp.h.
	maxPassword = 80
)

func parsePeers(r *report, o Objects, refs references) []lb.Peer {
	var peers []lb.Peer
	for _, raw := range inPrecedence(peerKind, o.Peers, o.past.standing) {
		f := r.about(peerKind, &raw)
		nodes := selectNodes(f.selectors("spec.nodeSelectors", raw.Spec.NodeSelectors), o.Nodes)
		if !f.any && o.elsewhere(nodes) {
			continue
		}
		peer := parsePeer(f, raw, refs.or(o.past.references[f.object]))
		peer.Nodes = nodes
		o.checkUnique(f, peer, peers)
		if !f.any {
			peers = append(peers, peer)
		}
	}
	slices.SortFunc(peers, func(a, b lb.Peer) int { return cmp.Compare(a.Name, b.Name) })
	return peers
}

// checkUnique finds another peer with the same router on the same node: the two would
// take the connection from each other.
//
// Routers may well differ in our ASN and our identifier, though MetalLB's FRR allows
// one of each on a node: every session has its own here. The message is MetalLB's.
func (o Objects) checkUnique(f *findings, peer lb.Peer, others []lb.Peer) {
	for _, other := range others {
		if router(peer) == router(other) && peer.VRF == other.VRF && o.shareNode(peer.Nodes, other.Nodes) {
			f.addVerbatim("spec.peerAddress", fmt.Sprintf("peer %s already exists, FRR mode doesn't support duplicate BGPPeers selecting the same node", router(peer)))
			return
		}
	}
}

// router is how a peer names its router: by address, or by interface.
func router(p lb.Peer) string {
	if p.Interface != "" {
		return p.Interface
	}
	return p.Address.String()
}

func parsePeer(f *findings, raw v1beta2.BGPPeer, refs references) lb.Peer {
	s := raw.Spec
	p := lb.Peer{
		Name:            lb.PeerName(raw.Name),
		MyASN:           s.MyASN,
		LocalASN:        s.LocalASN,
		ASN:             s.PeerASN,
		DynamicASN:      lb.DynamicASN(s.DynamicASN),
		Interface:       s.Interface,
		Port:            cmp.Or(s.PeerPort, defaultPort),
		VRF:             s.VRF,
		GracefulRestart: s.EnableGracefulRestart,
		MultiHop:        s.EBGPMultiHop,
		TTLSecurity:     s.TTLSecurity,
		DualStack:       s.DualStackAddressFamily,
	}
	checkASNs(f, s)
	parseAddresses(f, s, &p)
	parseTimers(f, s, &p)
	checkHops(f, s)
	parsePassword(f, raw, refs, &p)
	if s.BFDProfile != "" {
		profile, err := refs.profile(raw.Name, s.BFDProfile)
		if err != nil {
			f.addVerbatim("spec.bfdProfile", err.Error())
		}
		p.BFD = profile
	}
	return p
}

func checkASNs(f *findings, s v1beta2.BGPPeerSpec) {
	if s.MyASN == 0 {
		f.add("spec.myASN", "missing local ASN: it must be 1 to 4294967295")
	}
	if (s.PeerASN == 0) == (s.DynamicASN == "") {
		f.add("spec.peerASN", "one of peerASN and dynamicASN must be set, and not both")
	}
	if s.DynamicASN != "" && s.DynamicASN != v1beta2.DynamicASNInternal && s.DynamicASN != v1beta2.DynamicASNExternal {
		f.add("spec.dynamicASN", "invalid dynamicASN %q: it must be internal or external", s.DynamicASN)
	}
}

func parseAddresses(f *findings, s v1beta2.BGPPeerSpec, p *lb.Peer) {
	if (s.PeerAddress == "") == (s.Interface == "") {
		f.add("spec.peerAddress", "one of peerAddress and interface must be set, and not both")
	}
	p.Address = f.address("spec.peerAddress", s.PeerAddress, "BGPPeer address")
	p.SourceAddress = f.address("spec.sourceAddress", s.SourceAddress, "source address")
	known := p.Address.IsValid() || p.Interface != "" // whose address is IPv6, though nobody knows it yet
	if known && p.SourceAddress.IsValid() && p.SourceAddress.Is4() != p.Address.Is4() {
		f.add("spec.sourceAddress", "source address %s and the router's address are of different families", p.SourceAddress)
	}
	p.RouterID = f.address("spec.routerID", s.RouterID, "router ID")
	if p.RouterID.Is6() {
		f.add("spec.routerID", "invalid router ID %q: it must be written as an IPv4 address", s.RouterID)
	}
}

// address reads an address of a host; none where there is no text.
func (f *findings) address(field, text, what string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	a, err := parseAddr(text)
	if err != nil || a.IsUnspecified() || a.IsMulticast() {
		f.add(field, "invalid %s %q", what, text)
		return netip.Addr{}
	}
	return a
}

// parseTimers fills in the hold time from the keepalive time where it alone is given, and
// is not 0. The other way round nothing is filled in: a third of the hold time that is
// negotiated comes by itself.
func parseTimers(f *findings, s v1beta2.BGPPeerSpec, p *lb.Peer) {
	hold, keepalive := defaultHoldTime, duration(s.KeepaliveTime)
	switch {
	case s.HoldTime != nil:
		hold = s.HoldTime.Duration
	case keepalive > 0:
		hold = 3 * keepalive
	}
	p.HoldTime = hold.Truncate(time.Second)
	p.KeepaliveTime = min(keepalive, p.HoldTime)
	switch {
	case hold < 0 || p.HoldTime != 0 && p.HoldTime < 3*time.Second || p.HoldTime > 65535*time.Second:
		f.add("spec.holdTime", "invalid hold time %s: it must be 0 or 3s to 65535s", hold)
	case keepalive < 0 || keepalive > hold:
		f.add("spec.keepaliveTime", "invalid keepalive time %s: it must be 0 to the hold time %s", keepalive, hold)
	}
	p.ConnectTime = duration(s.ConnectTime)
	if s.ConnectTime != nil && (p.ConnectTime < time.Second || p.ConnectTime > 65535*time.Second || p.ConnectTime%time.Second != 0) {
		f.add("spec.connectTime", "invalid connect time %s: it must be 1s to 65535s, in whole seconds", p.ConnectTime)
	}
}

func duration(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.Duration
}

func checkHops(f *findings, s v1beta2.BGPPeerSpec) {
	if s.EBGPMultiHop && s.PeerASN == s.MyASN {
		f.add("spec.ebgpMultiHop", "ebgpMultiHop is for external peers: peerASN must differ from myASN")
	}
	if s.EBGPMultiHop && s.TTLSecurity {
		f.add("spec.ttlSecurity", "ttlSecurity and ebgpMultiHop are mutually exclusive: ttlSecurity is for a router that is one hop away")
	}
}

// parsePassword says nothing of a password but how long it is.
func parsePassword(f *findings, raw v1beta2.BGPPeer, refs references, p *lb.Peer) {
	field := "spec.password"
	p.Password = lb.Secret(raw.Spec.Password)
	if raw.Spec.PasswordSecret.Name != "" {
		if p.Password != "" {
			f.add(field, "password and passwordSecret are mutually exclusive")
			return
		}
		field = "spec.passwordSecret"
		password, err := refs.password(raw)
		if err != nil {
			f.addVerbatim(field, err.Error())
		}
		p.Password = password
	}
	if len(p.Password) > maxPassword {
		f.add(field, "the password has %d bytes, of which TCP takes %d at most", len(p.Password), maxPassword)
	}
}

// elsewhere reports whether the configuration is that of another node than those.
func (o Objects) elsewhere(nodes []lb.NodeName) bool {
	return o.Node != "" && !slices.Contains(nodes, o.Node)
}

// shareNode reports whether both are for one node. As long as no node is known, nobody
// can tell, and they count as if they were.
func (o Objects) shareNode(a, b []lb.NodeName) bool {
	return len(o.Nodes) == 0 || slices.ContainsFunc(a, func(n lb.NodeName) bool { return slices.Contains(b, n) })
}
