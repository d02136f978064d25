package lb

import (
	"net/netip"
	"time"
)

// BFDProfile is how a path is watched with Bidirectional Forwarding Detection (RFC 5880).
// Every value is set: config fills in what users leave out.
type BFDProfile struct {
	Name string
	// ReceiveInterval is the least interval between packets that we can take: 10 ms to 60 s.
	ReceiveInterval time.Duration
	// TransmitInterval is the least interval at which we want to send: 10 ms to 60 s.
	TransmitInterval time.Duration
	// DetectMultiplier is how many packets may be missed: 2 to 255.
	DetectMultiplier int
	// EchoInterval is the least interval of echo packets, both ways: 10 ms to 60 s.
	EchoInterval time.Duration
	EchoMode     bool
	// PassiveMode sends nothing before the peer does.
	PassiveMode bool
	// MinimumTTL is what packets of a multihop session need at least: 1 to 254.
	MinimumTTL int
}

// BFDSession is one path that is to be watched.
type BFDSession struct {
	// Peer is the address of the other end; with a zone where it is link-local.
	Peer netip.Addr
	// Local is our address; invalid leaves it to the kernel.
	Local netip.Addr
	// Interface binds a single-hop session to a link; VRF to a VRF's device. Both may be empty.
	Interface, VRF string
	// MultiHop follows RFC 5883 (port 4784, minimum TTL) rather than RFC 5881 (port 3784, TTL 255).
	MultiHop bool
	Profile  BFDProfile
}

// BFDKey tells sessions apart: all of a BFDSession but its profile.
type BFDKey struct {
	Peer, Local    netip.Addr
	Interface, VRF string
	MultiHop       bool
}

// Key returns what tells the session from others.
func (s BFDSession) Key() BFDKey {
	return BFDKey{Peer: s.Peer, Local: s.Local, Interface: s.Interface, VRF: s.VRF, MultiHop: s.MultiHop}
}

// BFDStatus is a state of a BFD session, spelled as routers do.
type BFDStatus string

// The states of RFC 5880, section 6.2.
const (
	BFDAdminDown BFDStatus = "AdminDown"
	BFDDown      BFDStatus = "Down"
	BFDInit      BFDStatus = "Init"
	BFDUp        BFDStatus = "Up"
)

// BFDState is what is known of a BFD session at one moment.
type BFDState struct {
	Status BFDStatus
	// RemoteStatus is what the peer last said of its own; Down when nothing was heard.
	// AdminDown there is no sign that the path is broken (RFC 5882, section 3.2).
	RemoteStatus BFDStatus
	// Since is when Status was last entered.
	Since time.Time
	// Diagnostic is why the session last went down, in the words of RFC 5880, section 4.1,
	// and stays when it is up again; RemoteDiagnostic is what the peer says of it. Empty is
	// no diagnostic.
	Diagnostic, RemoteDiagnostic string
	// TransmitInterval and DetectionTime are what both ends settled on.
	TransmitInterval, DetectionTime time.Duration
	// Problem says why the session, or its echo function, cannot run, such as a port that is
	// taken; else empty.
	Problem string
}
