package layer2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

// kernel is the Segment of this node's kernel: packet sockets, which need
// CAP_NET_RAW. A raw ICMPv6 socket would not do for NDP: the kernel does not
// deliver there what is sent to an address that it does not hold, such as the
// unicast probes of neighbor unreachability detection (RFC 4861 section 7.3).
type kernel struct{}

// OpenARP opens a socket for ARP requests.
func (kernel) OpenARP(link lb.Link) (Conn, error) {
	c, err := openPacket(link, etherTypeARP, arpFilter)
	if err != nil {
		return nil, fmt.Errorf("open ARP socket on %s: %w", link.Name, err)
	}
	return c, nil
}

// OpenNDP opens a socket for neighbor solicitations.
func (kernel) OpenNDP(link lb.Link) (GroupConn, error) {
	c, err := openPacket(link, etherTypeIPv6, solicitationFilter)
	if err != nil {
		return nil, fmt.Errorf("open NDP socket on %s: %w", link.Name, err)
	}
	return &groupConn{packetConn: c, index: link.Index, joined: map[netip.Addr]int{}}, nil
}

// The kernel runs a filter on each frame before it reaches a socket. Frames for
// other hosts are dropped first: those are frames heard in promiscuous mode and
// those of VLANs that this node has no interface for, whose tag is gone here,
// so that an answer would go to the wrong network.
var (
	arpFilter = []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 20, Size: 2}, // operation
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpRequest, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	}
	solicitationFilter = []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: 5},
		bpf.LoadAbsolute{Off: 20, Size: 1}, // next header
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolICMPv6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: 54, Size: 1}, // type
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: typeSolicitation, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	}
)

// packetConn is a packet socket. It reads and writes without the allocation of
// an address for each frame: the socket is bound, and frames are whole.
type packetConn struct {
	conn *packet.Conn
	raw  syscall.RawConn
}

func openPacket(link lb.Link, etherType int, filter []bpf.Instruction) (*packetConn, error) {
	program, err := bpf.Assemble(filter)
	if err != nil {
		return nil, fmt.Errorf("assemble socket filter: %w", err)
	}
	ifi := &net.Interface{Index: link.Index, Name: link.Name, HardwareAddr: link.MAC}
	conn, err := packet.Listen(ifi, packet.Raw, etherType, &packet.Config{Filter: program})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &packetConn{conn: conn, raw: raw}, nil
}

// Read waits for a frame.
func (c *packetConn) Read(frame []byte) (n int, err error) {
	waitErr := c.raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), frame)
		return err != unix.EAGAIN
	})
	return max(n, 0), result("read", waitErr, err)
}

// Write sends a frame. It waits while the link's queue is full.
func (c *packetConn) Write(frame []byte) (n int, err error) {
	waitErr := c.raw.Write(func(fd uintptr) bool {
		n, err = unix.Write(int(fd), frame)
		return err != unix.EAGAIN
	})
	return max(n, 0), result("write", waitErr, err)
}

// result is the error of a call, or why it could not be made.
func result(call string, waitErr, err error) error {
	switch {
	case errors.Is(waitErr, os.ErrClosed):
		return net.ErrClosed
	case waitErr != nil:
		return waitErr
	}
	return os.NewSyscallError(call, err)
}

// Close closes the socket and ends a Read or Write that waits.
func (c *packetConn) Close() error { return c.conn.Close() }

// groupConn is a packet socket with group memberships. Those belong to IPv6
// sockets, so that the kernel reports them to switches that snoop (RFC 3810)
// besides telling the network card. What a socket may hold is bounded
// (net.core.optmem_max): when one is full, there is another.
type groupConn struct {
	*packetConn
	index int

	mu      sync.Mutex // Close against Join and Leave
	closed  bool
	sockets []int
	joined  map[netip.Addr]int // which socket holds the membership
}

// Join joins a group on this link.
func (c *groupConn) Join(group netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	err := error(unix.ENOBUFS)
	if n := len(c.sockets); n > 0 {
		err = c.join(c.sockets[n-1], group)
	}
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) {
		err = c.joinAnew(group)
	}
	if err != nil {
		return fmt.Errorf("join group %s: %w", group, err)
	}
	return nil
}

func (c *groupConn) joinAnew(group netip.Addr) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	c.sockets = append(c.sockets, fd)
	return c.join(fd, group)
}

func (c *groupConn) join(fd int, group netip.Addr) error {
	err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, c.membership(group))
	if err == nil {
		c.joined[group] = fd
	}
	return os.NewSyscallError("setsockopt", err)
}

// Leave leaves a group that was joined.
func (c *groupConn) Leave(group netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fd, ok := c.joined[group]
	if !ok || c.closed {
		return nil
	}
	delete(c.joined, group)
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, c.membership(group)); err != nil {
		return fmt.Errorf("leave group %s: %w", group, os.NewSyscallError("setsockopt", err))
	}
	return nil
}

// Close closes the socket; the kernel then leaves all groups.
func (c *groupConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	errs := []error{c.packetConn.Close()}
	for _, fd := range c.sockets {
		errs = append(errs, os.NewSyscallError("close", unix.Close(fd)))
	}
	return errors.Join(errs...)
}

func (c *groupConn) membership(group netip.Addr) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(c.index)}
}
