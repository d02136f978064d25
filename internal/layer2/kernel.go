package layer2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

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

// packetConn is a packet socket, bound to a link. Who reads it waits in the kernel,
// since it is he who must not wait for anybody: by way of Go's network poller, where
// one thread wakes another, answers take half as long again.
type packetConn struct {
	filter func([]span) []bpf.Instruction
	fd     int
	reader atomic.Int64 // the thread that reads
	closed atomic.Bool
	inUse  sync.RWMutex // held for reading by who uses fd
}

// sendPatience is how long a frame waits while the link's queue is full.
const sendPatience = time.Second

func openPacket(link lb.Link, etherType uint16, filter func([]span) []bpf.Instruction) (*packetConn, error) {
	// Without a protocol the socket hears nothing until it is bound, with its filter.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &packetConn{filter: filter, fd: fd}
	// With a timeout, be it long, a signal ends a call for good: signal(7).
	err = errors.Join(c.timeout(unix.SO_RCVTIMEO, time.Hour), c.timeout(unix.SO_SNDTIMEO, sendPatience), c.Watch(everything), c.bind(link, etherType))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *packetConn) timeout(option int, after time.Duration) error {
	value := unix.NsecToTimeval(int64(after))
	return os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, option, &value))
}

func (c *packetConn) bind(link lb.Link, etherType uint16) error {
	var protocol [2]byte
	binary.BigEndian.PutUint16(protocol[:], etherType)
	to := &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(protocol[:]), Ifindex: link.Index}
	return os.NewSyscallError("bind", unix.Bind(c.fd, to))
}

// Watch has the kernel drop requests for other targets. The filter before is in
// force until then.
func (c *packetConn) Watch(targets []span) error {
	program, err := bpf.Assemble(c.filter(targets))
	if err != nil {
		return fmt.Errorf("assemble socket filter: %w", err)
	}
	raw := make([]unix.SockFilter, len(program))
	for i, in := range program {
		raw[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return c.use(func() error {
		err := unix.SetsockoptSockFprog(c.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]})
		return os.NewSyscallError("setsockopt", err)
	})
}

// Read waits for a frame. Only one goroutine may read.
func (c *packetConn) Read(frame []byte) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.reader.Store(int64(unix.Gettid()))
	return c.transfer("read", unix.Read, frame)
}

// Write sends a frame.
func (c *packetConn) Write(frame []byte) (int, error) { return c.transfer("write", unix.Write, frame) }

// transfer makes a call, and makes it again where a signal that meant nothing ended it.
func (c *packetConn) transfer(name string, call func(int, []byte) (int, error), frame []byte) (n int, err error) {
	err = c.use(func() error {
		for !c.closed.Load() {
			if n, err = call(c.fd, frame); !errors.Is(err, unix.EINTR) {
				return os.NewSyscallError(name, err)
			}
		}
		return net.ErrClosed
	})
	return max(n, 0), err
}

// use calls f unless the socket is closed, and keeps it from being closed meanwhile.
func (c *packetConn) use(f func() error) error {
	c.inUse.RLock()
	defer c.inUse.RUnlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	return f()
}

// Close closes the socket and ends a Read that waits: by signals, which no other way of
// waking it needs fewer calls on the way of a frame, and again and again, since one that
// comes just before the reader waits is lost. To Go's runtime SIGURG means nothing.
func (c *packetConn) Close() error {
	c.closed.Store(true)
	for !c.inUse.TryLock() {
		_ = unix.Tgkill(unix.Getpid(), int(c.reader.Load()), unix.SIGURG)
		time.Sleep(time.Millisecond)
	}
	defer c.inUse.Unlock()
	return os.NewSyscallError("close", unix.Close(c.fd))
}

// groupConn is a packet socket with group memberships. Those belong to IPv6
// sockets, so that the kernel reports them to switches that snoop (RFC 3810)
// besides telling the network card. What a socket may hold is bounded
// (net.core.optmem_max): when one is full, there is another.
type groupConn struct {
	*packetConn
	index int

	mu      sync.Mutex // Close against Join and Leave
	gone    bool
	sockets []int
	joined  map[netip.Addr]int // which socket holds the membership
}

// Join joins a group on this link.
func (c *groupConn) Join(group netip.Addr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
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
	if !ok || c.gone {
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
	c.gone = true
	errs := []error{c.packetConn.Close()}
	for _, fd := range c.sockets {
		errs = append(errs, os.NewSyscallError("close", unix.Close(fd)))
	}
	return errors.Join(errs...)
}

func (c *groupConn) membership(group netip.Addr) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(c.index)}
}
