// Package router runs BGP routers on hosts of a lab, FRR and BIRD as Debian has them, and reads what they see: sessions,
// routes with their attributes, BFD, and what their kernels forward by. Both take one Config and answer with the same
// values. Peer, besides, is a BGP speaker that does what a test tells it, well-behaved or not.
package router

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// Config is what a router is told. It opens no session by itself: its neighbours do.
type Config struct {
	ASN        uint32
	Port       uint16 // that it listens on; default: 179
	Neighbours []Neighbour
	Extra      string // at the end, in the program's own words
}

// LocalPort is where the router waits for its neighbours.
func (c Config) LocalPort() uint16 { return cmp.Or(c.Port, 179) }

// Neighbour is one that the router holds a session with.
type Neighbour struct {
	Address   netip.Addr // or
	Interface string     // whoever is at the other end of this link (unnumbered)

	ASN             uint32 // 0: any but the router's own
	Password        string // of TCP MD5 signatures (RFC 2385)
	HoldTime        time.Duration
	MultiHop        bool // may be more than one hop away
	TTLSecurity     bool // must be one hop away (RFC 5082)
	DualStack       bool // both families on the session, whatever it runs over
	ExtendedNextHop bool // IPv4 routes with IPv6 next hops (RFC 8950)
	BFD             *BFD // watches the path
}

// BFD is how a path is watched. Zero values are FRR's defaults: 300 ms, three packets.
type BFD struct {
	Interval   time.Duration // the least between packets, both ways
	Multiplier int
	Passive    bool
	Echo       bool // FRR alone
}

// Nodes are all nodes of a lab as neighbours over IPv4 that have all else in common.
func Nodes(l *lab.Lab, common Neighbour) []Neighbour {
	return neighbours(l, common, func(a lab.Addresses) netip.Addr { return a.V4 })
}

// Nodes6 are the same over IPv6.
func Nodes6(l *lab.Lab, common Neighbour) []Neighbour {
	return neighbours(l, common, func(a lab.Addresses) netip.Addr { return a.V6 })
}

func neighbours(l *lab.Lab, common Neighbour, address func(lab.Addresses) netip.Addr) (all []Neighbour) {
	for _, node := range l.NodeNames() {
		n := common
		n.Address = address(lab.AddressesOf(node))
		all = append(all, n)
	}
	return all
}

// Session is what a router knows of one of its sessions.
type Session struct {
	Neighbour       string // its address; FRR names unnumbered ones by the link
	State           string // as RFC 4271 spells it
	Established     bool
	Uptime          time.Duration // since it was established
	ASN             uint32        // of the neighbour, as configured or learned
	RouterID        netip.Addr    // of the neighbour; invalid before it was told
	HoldTime        time.Duration // as negotiated
	Keepalive       time.Duration
	LastError       string   // why it last ended, in the router's words
	Capabilities    []string // that the neighbour offers and a test may ask for: graceful-restart, extended-nexthop
	RestartTime     time.Duration
	Ups, Downs      int // FRR alone
	Received        int // prefixes that were accepted
	UpdatesReceived int
}

// Offers says whether the neighbour has this capability.
func (s Session) Offers(capability string) bool { return slices.Contains(s.Capabilities, capability) }

// The capabilities that sessions tell of.
const (
	GracefulRestart = "graceful-restart"
	ExtendedNextHop = "extended-nexthop"
)

// Route is one path to a prefix, as one neighbour offers it.
type Route struct {
	Prefix           netip.Prefix
	From             string       // the neighbour, as Session has it
	NextHops         []netip.Addr // an IPv6 path may have a global and a link-local one
	Path             []uint32     // of ASNs
	LocalPref        *uint32      // nil: none
	MED              *uint32      // nil: none
	Communities      []string     // as 64512:100, sorted; well-known ones too
	LargeCommunities []string     // as 64512:1:2, sorted
	Best             bool         // preferred, or as good as the preferred one
	Stale            bool         // kept for a neighbour that restarts (RFC 4724)
}

// BFDSession is what a router knows of a path that it watches.
type BFDSession struct {
	Peer     netip.Addr
	Up       bool
	State    string // up, down, init or admin-down
	MultiHop bool
	// What the other end says that it wants. FRR alone.
	RemoteTransmit, RemoteReceive time.Duration
	RemoteMultiplier              int
	Diagnostic, RemoteDiagnostic  string
}

// To are the routes to a prefix.
func To(routes []Route, prefix netip.Prefix) (found []Route) {
	for _, r := range routes {
		if r.Prefix == prefix {
			found = append(found, r)
		}
	}
	return found
}

// With is the session with a neighbour; a zero one if the router has none.
func With(sessions []Session, neighbour netip.Addr) Session {
	for _, s := range sessions {
		if s.Neighbour == neighbour.String() {
			return s
		}
	}
	return Session{}
}

func sortRoutes(routes []Route) {
	slices.SortFunc(routes, func(a, b Route) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.From, b.From))
	})
}
