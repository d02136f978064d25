package bfd

import (
	"net/netip"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// Transport is the network as a Speaker sees it. Wake may be called by anybody at any time, all
// else is called from the goroutine of Start.
type Transport interface {
	// Open is called before all else, Close at the end.
	Open() error
	Close()
	// OpenPath makes ready to send the packets of a session, and to receive those of its kind.
	OpenPath(lb.BFDSession) (Path, error)
	// OpenEcho does the same for echo packets, of a session of one hop over IPv4.
	OpenEcho(lb.BFDSession, Path) (EchoPath, error)
	// Receive hands over what had arrived by a time, without waiting for more. What it hands
	// over is valid during the call.
	Receive(until time.Time, handle func(*Arrival))
	// Wait returns when something has arrived, when the time has come, or after a call of Wake,
	// be it one from before. The zero time never comes.
	Wait(until time.Time)
	Wake()
}

// Path sends the control packets of one session.
type Path interface {
	// Send sends a packet with a TTL of 255. It does not wait, nor keep the packet.
	Send([]byte) error
	// Link is the index of the link that packets of the session arrive on; 0 is any.
	Link() int
	Close()
}

// EchoPath sends the echo packets of one session.
type EchoPath interface {
	// Send sends a packet to the peer's link layer that the peer forwards back to us.
	Send([]byte) error
	// Reflect sends a packet of the peer's back to it.
	Reflect(payload []byte, to netip.AddrPort) error
	Close()
}

// Arrival is a packet that arrived.
type Arrival struct {
	Kind                Kind
	Payload             []byte
	Source, Destination netip.Addr // without zones
	SourcePort          uint16
	Link                int    // the index of the link it arrived on
	VRF                 string // the device of the VRF it arrived in
	TTL                 int
	// At is when the kernel had the packet, however late we are to look at it.
	At time.Time
}

// Kind is what a packet is for, as the port and the socket tell.
type Kind uint8

// The kinds of packets.
const (
	SingleHop  Kind = iota // control, to port 3784 (RFC 5881 section 4)
	MultiHop               // control, to port 4784 (RFC 5883 section 5)
	EchoReturn             // an echo packet of ours that the peer forwarded back
	EchoLoop               // an echo packet of the peer's, addressed to us
)
