package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

// An echo packet has to be such that the peer forwards it back to us (RFC 5881 section 4): it is
// addressed to ourselves, and handed to the peer's link layer. Our own kernel would deliver it
// without a detour, and take what comes back for forged, so that a packet socket both sends it
// and, as a tap, receives it. The source is ourselves, too: RFC 5881 prefers one of another
// network, lest the peer sends ICMP redirects; but routers drop what comes from where they have
// no route to.
//
// FRR before version 9 sends its echo packets otherwise: to the peer's address, whose daemon sends
// them back with a TTL of 254. Those arrive on a UDP socket.
const reflectedTTL = 254

// echoPath sends echo packets of one session.
type echoPath struct {
	kernel    *kernel
	tap, loop *listener
	peer      netip.Addr
	frame     unix.SockaddrLinklayer // to the peer's MAC
	resolved  time.Time              // when that was looked up
	header    [ipLength + udpLength]byte
	packet    [64]byte
}

// OpenEcho opens the tap on the link that leads to the peer, and the socket on port 3785.
func (k *kernel) OpenEcho(s lb.BFDSession, p Path) (EchoPath, error) {
	link, local, err := wayTo(s, p.Link())
	if err != nil {
		return nil, fmt.Errorf("find the way of echo packets to %s: %w", s.Peer, err)
	}
	tap, err := k.listen(listenerKey{kind: EchoReturn, device: link.Name})
	if err != nil {
		return nil, err
	}
	loop, err := k.listen(listenerKey{kind: EchoLoop, device: s.VRF})
	if err != nil {
		k.release(tap)
		return nil, err
	}
	return &echoPath{
		kernel: k, tap: tap, loop: loop, peer: s.Peer,
		frame:  unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: bigEndian(unix.ETH_P_IP), Halen: 6},
		header: echoHeader(local),
	}, nil
}

// wayTo returns the link on which the peer is, and our address there.
func wayTo(s lb.BFDSession, bound int) (*net.Interface, netip.Addr, error) {
	routes, err := netlink.RouteGetWithOptions(s.Peer.AsSlice(), &netlink.RouteGetOptions{OifIndex: bound, VrfName: s.VRF})
	switch {
	case err != nil:
		return nil, netip.Addr{}, err
	case len(routes) == 0 || routes[0].Gw != nil:
		return nil, netip.Addr{}, errors.New("it is not on a link of this node")
	}
	local := s.Local
	if !local.IsValid() {
		local, _ = netip.AddrFromSlice(routes[0].Src.To4())
	}
	link, err := net.InterfaceByIndex(routes[0].LinkIndex)
	return link, local, err
}

func (p *echoPath) Send(payload []byte) error {
	if err := p.resolve(time.Now()); err != nil {
		return err
	}
	b := append(p.packet[:0], p.header[:]...)
	return sendTo(p.tap.fd, append(b, payload...), &p.frame)
}

// resolveEvery is how often the peer's MAC is looked up, since it may change.
const resolveEvery = time.Second

// resolve looks the peer's MAC up among the neighbours: control packets keep it there.
func (p *echoPath) resolve(now time.Time) error {
	if now.Sub(p.resolved) < resolveEvery {
		return nil
	}
	neighbours, err := netlink.NeighList(p.frame.Ifindex, unix.AF_INET)
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range neighbours {
		if addr, ok := netip.AddrFromSlice(n.IP.To4()); ok && addr == p.peer && len(n.HardwareAddr) == 6 {
			copy(p.frame.Addr[:], n.HardwareAddr)
			p.resolved = now
			return nil
		}
	}
	return fmt.Errorf("the MAC of %s is not known", p.peer)
}

func (p *echoPath) Reflect(payload []byte, to netip.AddrPort) error {
	return sendTo(p.loop.fd, payload, sockaddr(to, 0))
}

func (p *echoPath) Close() {
	p.kernel.release(p.tap)
	p.kernel.release(p.loop)
}

// The headers of an echo packet: IPv4 without options (RFC 791), and UDP (RFC 768) without a
// checksum, as IPv4 permits.
const (
	ipLength  = 20
	udpLength = 8
)

func echoHeader(local netip.Addr) (h [ipLength + udpLength]byte) {
	addr := local.As4()
	h[0] = 4<<4 | ipLength/4
	h[1] = internetworkControl
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+echoLength))
	h[8] = 255
	h[9] = unix.IPPROTO_UDP
	copy(h[12:], addr[:])
	copy(h[16:], addr[:])
	binary.BigEndian.PutUint16(h[10:], checksum(h[:ipLength]))
	binary.BigEndian.PutUint16(h[20:], echoPort)
	binary.BigEndian.PutUint16(h[22:], echoPort)
	binary.BigEndian.PutUint16(h[24:], udpLength+echoLength)
	return h
}

// checksum is that of the IPv4 header (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// unwrapEcho takes the headers off a packet that came through the filter of the tap.
func (a *Arrival) unwrapEcho() bool {
	if len(a.Payload) != ipLength+udpLength+echoLength {
		return false
	}
	a.TTL = int(a.Payload[8])
	a.Source = netip.AddrFrom4([4]byte(a.Payload[12:16]))
	a.Payload = a.Payload[ipLength+udpLength:]
	return true
}

// echoFilter passes what looks like an echo packet of ours: IPv4 without options, not a fragment,
// from and to the same address, to UDP port 3785.
var echoFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 0, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 4<<4 | ipLength/4, SkipTrue: 10},
	bpf.LoadAbsolute{Off: 9, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 8},
	bpf.LoadAbsolute{Off: 6, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 6},
	bpf.LoadAbsolute{Off: ipLength + 2, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: echoPort, SkipTrue: 4},
	bpf.LoadAbsolute{Off: 12, Size: 4},
	bpf.TAX{},
	bpf.LoadAbsolute{Off: 16, Size: 4},
	bpf.JumpIfX{Cond: bpf.JumpEqual, SkipTrue: 1},
	bpf.RetConstant{Val: 0},
	bpf.RetConstant{Val: 1 << 16},
}

// openTap opens a packet socket on a link for echo packets. It has the filter before it has the
// protocol, without which it receives nothing.
func openTap(link string) (int, error) {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return 0, fmt.Errorf("look up the link %s of echo packets: %w", link, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, fmt.Errorf("open echo socket on %s: %w", link, os.NewSyscallError("socket", err))
	}
	err = errors.Join(
		attachFilter(fd, echoFilter),
		setOptions(fd, []option{{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1}}),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifi.Index, Protocol: bigEndian(unix.ETH_P_IP)})))
	if err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("open echo socket on %s: %w", link, err)
	}
	return fd, nil
}

func attachFilter(fd int, filter []bpf.Instruction) error {
	program, err := bpf.Assemble(filter)
	if err != nil {
		return fmt.Errorf("assemble socket filter: %w", err)
	}
	raw := make([]unix.SockFilter, len(program))
	for i, in := range program {
		raw[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]})
	return os.NewSyscallError("setsockopt", err)
}

// bigEndian is a number of 16 bits in the order of the wire, as the kernel wants protocols.
func bigEndian(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
