package lb

import (
	"cmp"
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// PeerName is the name of a BGPPeer.
type PeerName string

// Peer is a configured router, compiled: with whom the nodes hold a session, and how.
type Peer struct {
	Name PeerName
	// Nodes are those that hold a session with it, sorted.
	Nodes []NodeName

	// MyASN is our autonomous system.
	MyASN uint32
	// LocalASN, unless 0, is what the router is shown in place of MyASN, also in paths.
	LocalASN uint32
	// ASN is the router's autonomous system; 0 leaves it to DynamicASN.
	ASN uint32
	// DynamicASN accepts any ASN of a kind: internal is ours, external is any other.
	DynamicASN DynamicASN

	// Address is the router's; invalid where Interface stands in its place.
	Address netip.Addr
	// Interface names the link of an unnumbered session: the router's link-local
	// address on it is learned.
	Interface string
	Port      uint16
	// SourceAddress is what the session is opened from; invalid leaves it to the kernel.
	SourceAddress netip.Addr
	// VRF names the device that the session's socket is bound to; empty is none.
	VRF string

	// HoldTime is what we offer: 0 for none, else 3 s or more, in whole seconds (RFC 4271, 4.2).
	HoldTime time.Duration
	// KeepaliveTime is at most HoldTime; 0 is a third of what is negotiated.
	KeepaliveTime time.Duration
	// ConnectTime is the pause between attempts to connect, 1 to 65535 s; 0 leaves it to
	// the implementation.
	ConnectTime time.Duration
	// RouterID is the BGP identifier; invalid leaves it to the implementation.
	RouterID netip.Addr

	// Password is the key of TCP MD5 signatures (RFC 2385); empty is none.
	Password Secret
	// BFD, unless nil, watches the path to the router.
	BFD *BFDProfile
	// GracefulRestart keeps the routes at the router over a restart (RFC 4724).
	GracefulRestart bool
	// MultiHop permits an external router to be more than one hop away.
	MultiHop bool
	// TTLSecurity accepts packets only from a router that is one hop away (RFC 5082).
	TTLSecurity bool
	// DualStack offers both families on the session, whatever family it runs over.
	DualStack bool
}

// DynamicASN is the kind of a router's autonomous system where its number is not fixed.
type DynamicASN string

// The values of spec.dynamicASN.
const (
	InternalASN DynamicASN = "internal"
	ExternalASN DynamicASN = "external"
)

// Secret is a text that no log may show.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "<secret>"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// BGPAdvertisement says that the addresses of some pools are advertised over BGP by
// some nodes to some peers, and with which attributes.
type BGPAdvertisement struct {
	Name string
	// Pools are those named and those selected that exist, valid or not, sorted; all
	// if neither was given.
	Pools []PoolName
	// Nodes are those that the selectors pick, sorted; all if there are none.
	Nodes []NodeName
	// Peers are the names of the routers, sorted; nil is every one.
	Peers []PeerName
	// ServiceSelectors restrict by the labels of the Service; none accepts all.
	ServiceSelectors Selectors
	// AggregationLength and AggregationLengthV6 are the prefix lengths that addresses
	// are masked to: 0 to 32 and 0 to 128.
	AggregationLength   int
	AggregationLengthV6 int
	Attributes          Attributes
}

// Contains reports whether the advertisement is for the peer.
func (a BGPAdvertisement) Contains(peer PeerName) bool {
	return a.Peers == nil || slices.Contains(a.Peers, peer)
}

// Prefix returns what is advertised for an address.
func (a BGPAdvertisement) Prefix(addr netip.Addr) netip.Prefix {
	length := a.AggregationLengthV6
	if addr.Is4() {
		length = a.AggregationLength
	}
	return netip.PrefixFrom(addr, length).Masked()
}

// Attributes are what a route says beyond its prefix.
type Attributes struct {
	// LocalPref is sent over internal sessions only; 0 sends 100, as they must carry some
	// value (RFC 4271, section 5.1.5).
	LocalPref uint32
	// MED is the multi-exit discriminator; nil sends none.
	MED *uint32
	// Prepend is how many more times than once our ASN stands in the path: 0 to 255.
	Prepend int
	// Communities are sorted and distinct (RFC 1997).
	Communities []Community
	// LargeCommunities are sorted and distinct (RFC 8092).
	LargeCommunities []LargeCommunity
}

// Equal reports whether both say the same.
func (a Attributes) Equal(o Attributes) bool {
	return a.LocalPref == o.LocalPref && (a.MED == nil) == (o.MED == nil) && (a.MED == nil || *a.MED == *o.MED) && a.Prepend == o.Prepend &&
		slices.Equal(a.Communities, o.Communities) && slices.Equal(a.LargeCommunities, o.LargeCommunities)
}

// Community is a standard community: the ASN in the upper half (RFC 1997).
type Community uint32

// LargeCommunity is a large community (RFC 8092, section 3).
type LargeCommunity struct{ Global, Local1, Local2 uint32 }

// Compare orders large communities by their parts.
func (c LargeCommunity) Compare(o LargeCommunity) int {
	return cmp.Or(cmp.Compare(c.Global, o.Global), cmp.Compare(c.Local1, o.Local1), cmp.Compare(c.Local2, o.Local2))
}

// Route is a prefix that a peer is offered, with its attributes. The next hop is the
// session's own address.
type Route struct {
	Prefix netip.Prefix
	Attributes
}

// Equal reports whether both offer the same prefix with the same attributes.
func (r Route) Equal(o Route) bool { return r.Prefix == o.Prefix && r.Attributes.Equal(o.Attributes) }

// Session is one BGP conversation that this node is to hold, with all that it offers.
type Session struct {
	Peer Peer
	// Routes are sorted by prefix, each prefix once.
	Routes []Route
}

// Equal reports whether both hold the same conversation.
func (s Session) Equal(o Session) bool {
	return reflect.DeepEqual(s.Peer, o.Peer) && slices.EqualFunc(s.Routes, o.Routes, Route.Equal)
}

// SessionState is what this node knows of one of its sessions at one moment.
type SessionState struct {
	Peer PeerName
	// Address is the router's; on unnumbered sessions what was learned, or invalid.
	Address netip.Addr
	// Interface is the link of an unnumbered session; else empty.
	Interface string
	Port      uint16
	VRF       string
	// Status is the state of RFC 4271, section 8.2.2.
	Status SessionStatus
	// Since is when Status was last entered.
	Since time.Time
	// Down says why the session is not established; empty while it is.
	Down Reason
	// LastError says to a person what ended, or hindered, the session last: it stays
	// after the session is up again.
	LastError string
	// Problem says to a person what is wrong with the peer as it is configured now: the
	// session is that of its last valid version, if there is one. Else empty.
	Problem string
	// Advertised is how many prefixes the router holds of us; Pending how many it is
	// still to be offered.
	Advertised, Pending int
	// BFD is the state of the session that watches the path; nil if none does.
	BFD *BFDState
	// Messages counts what was exchanged since the session was configured.
	Messages SessionMessages
}

// SessionMessages counts BGP messages since the session was configured.
type SessionMessages struct {
	OpensSent, OpensReceived                 uint64
	NotificationsSent, NotificationsReceived uint64
	UpdatesSent, UpdatesReceived             uint64
	KeepalivesSent, KeepalivesReceived       uint64
	RouteRefreshSent                         uint64
	TotalSent, TotalReceived                 uint64
}

// SessionStatus is a state of a BGP session, spelled as routers do.
type SessionStatus string

// The states of RFC 4271, section 8.2.2.
const (
	Idle        SessionStatus = "Idle"
	Connect     SessionStatus = "Connect"
	Active      SessionStatus = "Active"
	OpenSent    SessionStatus = "OpenSent"
	OpenConfirm SessionStatus = "OpenConfirm"
	Established SessionStatus = "Established"
)
