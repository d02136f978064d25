package layer2

import (
	"io"
	"net"
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
)

// Segment opens connections to the links of this node. Its methods are called
// from one goroutine, and must not wait for the wire.
type Segment interface {
	// OpenARP opens a connection that reads the ARP requests seen on the link.
	OpenARP(link lb.Link) (Conn, error)
	// OpenNDP opens a connection that reads the neighbor solicitations seen on
	// the link that are for the node itself or for a group that it joined.
	OpenNDP(link lb.Link) (GroupConn, error)
}

// Conn carries whole Ethernet frames, one with each call. One goroutine reads
// and several write; Close ends a Read or Write that waits.
type Conn interface {
	io.ReadWriteCloser
	// Watch says which targets are worth reading requests for. Until it is called all
	// are; those for others may be read still. It is called from one goroutine.
	Watch(targets []span) error
}

// GroupConn is a Conn that hears a multicast group once it has joined it. Join
// and Leave are called from one goroutine, and once for each group.
type GroupConn interface {
	Conn
	Join(group netip.Addr) error
	Leave(group netip.Addr) error
}

// mac is a hardware address in comparable form.
type mac [6]byte

var broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// String returns the usual form with colons.
func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// unicast reports whether an answer can be sent to this address.
func (m mac) unicast() bool { return m[0]&1 == 0 && m != mac{} }

// protocol is how a responder asks and answers.
type protocol int

const (
	protocolARP protocol = iota
	protocolNDP
)

// String returns the name of the protocol as it appears in logs.
func (p protocol) String() string {
	if p == protocolARP {
		return "ARP"
	}
	return "NDP"
}

// identity is who this node is on one link in one protocol. A link that comes
// to differ in any of this needs a new socket, and a new burst.
type identity struct {
	protocol protocol
	link     string
	index    int
	mac      mac
}

// identities returns who this node should be, on all links that are usable.
func identities(links []lb.Link) map[identity]lb.Link {
	out := map[identity]lb.Link{}
	for _, l := range links {
		if len(l.MAC) != len(mac{}) {
			continue
		}
		id := identity{link: l.Name, index: l.Index, mac: mac(l.MAC)}
		if l.ARP {
			out[id] = l
		}
		if l.NDP {
			id.protocol = protocolNDP
			out[id] = l
		}
	}
	return out
}

// announces reports whether an entry is of this protocol and permitted on this link.
func (id *identity) announces(e *entry) bool {
	return e.Address.Is4() == (id.protocol == protocolARP) && e.Contains(id.link)
}

// open opens the connection for this identity.
func (id *identity) open(s Segment, link lb.Link) (Conn, error) {
	if id.protocol == protocolARP {
		return s.OpenARP(link)
	}
	return s.OpenNDP(link)
}

// answer decides what a received frame is worth: the reply, written into buf,
// or why there is none. The entry is the one that was asked for, if any. It
// does not keep or change anything, and allocates nothing.
func (id *identity) answer(frame []byte, t *table, buf *frameBuffer) ([]byte, *entry, drop) {
	if id.protocol == protocolARP {
		return answerARP(frame, t, id, buf)
	}
	return answerNDP(frame, t, id, buf)
}

// frameBuffer has room for any frame that is sent.
type frameBuffer [frameLength]byte

// frameLength is the longest frame that is sent: a neighbor advertisement.
const frameLength = ethernetLength + ipv6Length + advertisementLength

const (
	ethernetLength = 14
	etherTypeARP   = 0x0806
	etherTypeIPv6  = 0x86dd
)
