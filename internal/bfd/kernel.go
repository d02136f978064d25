package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

// The ports of RFC 5881 section 4 and RFC 5883 section 5.
const (
	singleHopPort = 3784
	echoPort      = 3785
	multiHopPort  = 4784
)

// kernel is the Transport of this node's kernel. One thread waits for all sockets: what arrives
// wakes it directly, without a detour through other goroutines.
type kernel struct {
	listeners map[listenerKey]*listener
	polled    []unix.PollFd // the wake-up, then the listeners

	mu   sync.Mutex // guards wake, since anybody may call Wake
	wake int        // an eventfd; 0 while closed
}

func (k *kernel) Open() error {
	hurry()
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open BFD's eventfd: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wake = wake
	k.listeners = map[listenerKey]*listener{}
	k.rebuildPolled()
	return nil
}

// hurry makes this thread a real-time one (sched(7)) where that is permitted (CAP_SYS_NICE). On a
// node with more work than CPUs, an ordinary thread is called tens of milliseconds late, and a
// nice value does not change that, since it counts within a control group alone. Threads that the
// Go runtime makes out of this one are ordinary ones.
//
// The Go runtime may wait actively for another thread, which does not run while a real-time one
// waits for it on the same CPU; the kernel keeps a twentieth of each CPU for that case.
func hurry() {
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}, 0)
}

func (k *kernel) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = unix.Close(k.wake)
	k.wake = 0
}

func (k *kernel) Wake() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wake != 0 { // else the first round looks at everything anyway
		_, _ = unix.Write(k.wake, []byte{7: 1, 0: 1}) // not zero in any byte order
	}
}

// Wait waits with the precision of the kernel's timers, which are high-resolution ones.
func (k *kernel) Wait(until time.Time) {
	var timeout *unix.Timespec
	if !until.IsZero() {
		t := unix.NsecToTimespec(max(0, time.Until(until).Nanoseconds()))
		timeout = &t
	}
	_, _ = unix.Ppoll(k.polled, timeout, nil) // if it fails, a round too much is all that happens
	if k.polled[0].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(int(k.polled[0].Fd), count[:])
	}
}

func (k *kernel) Receive(until time.Time, handle func(*Arrival)) {
	for _, l := range k.listeners {
		l.receive(until, handle)
	}
}

// OpenPath opens the session's socket, and the one that it shares with others to listen.
func (k *kernel) OpenPath(s lb.BFDSession) (Path, error) {
	link, err := linkOf(s)
	if err != nil {
		return nil, err
	}
	key := listenerKey{kind: SingleHop, ipv6: s.Peer.Is6(), device: s.VRF}
	if s.MultiHop {
		key.kind = MultiHop
	}
	l, err := k.listen(key)
	if err != nil {
		return nil, err
	}
	fd, err := openSender(s, link)
	if err != nil {
		k.release(l)
		return nil, err
	}
	return &path{kernel: k, listener: l, fd: fd, link: link, to: sockaddr(netip.AddrPortFrom(s.Peer, key.port()), link)}, nil
}

// linkOf is the index of the link that a session is bound to; 0 if it is bound to none.
func linkOf(s lb.BFDSession) (int, error) {
	name := s.Interface
	if name == "" {
		name = s.Peer.Zone()
	}
	if name == "" {
		return 0, nil
	}
	link, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("look up the link %s of the BFD session with %s: %w", name, s.Peer, err)
	}
	return link.Index, nil
}

// path is a socket that sends the control packets of one session: from a source port of its own
// (RFC 5881 section 4).
type path struct {
	kernel   *kernel
	listener *listener
	fd, link int
	to       unix.Sockaddr
}

func (p *path) Send(b []byte) error { return sendTo(p.fd, b, p.to) }

func (p *path) Link() int { return p.link }

func (p *path) Close() {
	_ = unix.Close(p.fd)
	p.kernel.release(p.listener)
}

func sendTo(fd int, b []byte, to unix.Sockaddr) error {
	if err := unix.Sendto(fd, b, unix.MSG_DONTWAIT, to); err != nil {
		return fmt.Errorf("send BFD packet: %w", err)
	}
	return nil
}

// openSender opens a socket with a source port from 49152 to 65535 that no other session has.
func openSender(s lb.BFDSession, link int) (int, error) {
	fd, err := openUDP(s.Peer.Is6())
	if err != nil {
		return 0, fmt.Errorf("open BFD socket: %w", err)
	}
	// Nobody reads from it: what is sent to it must not pile up.
	options := append(senderOptions(s.Peer.Is6()), option{unix.SOL_SOCKET, unix.SO_RCVBUF, 0})
	device := s.VRF
	if link != 0 {
		device = linkName(s)
	}
	err = errors.Join(setOptions(fd, options), bindToDevice(fd, device))
	if err == nil {
		err = bindSource(fd, s, link)
	}
	if err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("open BFD socket towards %s: %w", s.Peer, err)
	}
	return fd, nil
}

func linkName(s lb.BFDSession) string {
	if s.Interface != "" {
		return s.Interface
	}
	return s.Peer.Zone()
}

// sourcePorts are tried one after the other from a random one on, until one is free.
const (
	firstSourcePort = 49152
	sourcePorts     = 65536 - firstSourcePort
)

func bindSource(fd int, s lb.BFDSession, link int) error {
	local := s.Local
	if !local.IsValid() {
		local = anyAddress(s.Peer.Is6())
	}
	first := int(time.Now().UnixNano() % sourcePorts)
	err := error(unix.EADDRINUSE)
	for i := 0; i < sourcePorts && errors.Is(err, unix.EADDRINUSE); i++ {
		port := firstSourcePort + (first+i)%sourcePorts
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(local, uint16(port)), link))
	}
	if err != nil {
		return fmt.Errorf("bind to %s: %w", local, err)
	}
	return nil
}

// listenerKey tells the sockets apart that listen: one for each kind, family, and device, which
// is that of a VRF or, for echo packets of ours, the link.
type listenerKey struct {
	kind   Kind
	ipv6   bool
	device string
}

func (k listenerKey) port() uint16 {
	return [...]uint16{SingleHop: singleHopPort, MultiHop: multiHopPort, EchoReturn: echoPort, EchoLoop: echoPort}[k.kind]
}

// listener is a socket that receives for all sessions of its key.
type listener struct {
	listenerKey
	fd    int
	users int
	// emptied is a time by which all that had arrived was taken in.
	emptied time.Time
	payload [128]byte
	control [256]byte
	arrival Arrival
}

// listen returns the listener for a key, with one more user.
func (k *kernel) listen(key listenerKey) (*listener, error) {
	l := k.listeners[key]
	if l == nil {
		l = &listener{listenerKey: key, emptied: time.Now()}
		if err := l.open(k.others(key)); err != nil {
			return nil, err
		}
		k.listeners[key] = l
		k.rebuildPolled()
	}
	l.users++
	return l, nil
}

// release closes a listener when nobody uses it any more.
func (k *kernel) release(l *listener) {
	if l.users--; l.users > 0 {
		return
	}
	_ = unix.Close(l.fd)
	delete(k.listeners, l.listenerKey)
	k.rebuildPolled()
}

// others are our sockets on the same port with other devices.
func (k *kernel) others(key listenerKey) []int {
	var out []int
	for _, l := range k.listeners {
		if l.kind == key.kind && l.ipv6 == key.ipv6 {
			out = append(out, l.fd)
		}
	}
	return out
}

func (k *kernel) rebuildPolled() {
	k.polled = append(k.polled[:0], unix.PollFd{Fd: int32(k.wake), Events: unix.POLLIN})
	for _, l := range k.listeners {
		k.polled = append(k.polled, unix.PollFd{Fd: int32(l.fd), Events: unix.POLLIN})
	}
}

// receiveBuffer, in bytes, holds what thousands of sessions send while we do not run.
const receiveBuffer = 4 << 20

func (l *listener) open(others []int) (err error) {
	if l.kind == EchoReturn {
		l.fd, err = openTap(l.device)
		return err
	}
	l.fd, err = openUDP(l.ipv6)
	if err != nil {
		return fmt.Errorf("open BFD socket: %w", err)
	}
	err = errors.Join(
		setOptions(l.fd, receiverOptions(l.ipv6)),
		bindToDevice(l.fd, l.device),
		sharing(append(others, l.fd), func() error {
			return unix.Bind(l.fd, sockaddr(netip.AddrPortFrom(anyAddress(l.ipv6), l.port()), 0))
		}))
	if err == nil {
		return nil
	}
	_ = unix.Close(l.fd)
	if errors.Is(err, unix.EADDRINUSE) {
		err = errors.New("it is taken: another BFD daemon seems to run on this node")
	}
	return fmt.Errorf("listen on UDP port %d: %w", l.port(), err)
}

// sharing lets our own sockets with several devices have one port, which Linux permits only to
// sockets that all want to share it. They want to no longer than it takes to bind one, so that
// another daemon that shares its port cannot take our packets from us unnoticed.
func sharing(fds []int, bind func() error) error {
	if len(fds) == 1 {
		return bind()
	}
	var errs []error
	share := func(v int) {
		for _, fd := range fds {
			errs = append(errs, setOptions(fd, []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, v}}))
		}
	}
	share(1)
	errs = append(errs, bind())
	share(0)
	return errors.Join(errs...)
}

// receive hands over what arrived by a time. Packets lie in the order in which they arrived, so
// that the first that came later ends it: a flood cannot keep us from sending.
func (l *listener) receive(until time.Time, handle func(*Arrival)) {
	for {
		n, controls, _, from, err := unix.Recvmsg(l.fd, l.payload[:], l.control[:], unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			l.emptied = until
			return
		}
		a := &l.arrival
		*a = Arrival{Kind: l.kind, VRF: l.device, Payload: l.payload[:n], At: time.Now()}
		a.setSource(from)
		l.readControls(l.control[:controls])
		if l.kind != EchoReturn || a.unwrapEcho() {
			handle(a)
		}
		if !a.At.Before(until) {
			return
		}
	}
}

func (a *Arrival) setSource(from unix.Sockaddr) {
	switch from := from.(type) {
	case *unix.SockaddrInet4:
		a.Source, a.SourcePort = netip.AddrFrom4(from.Addr), uint16(from.Port)
	case *unix.SockaddrInet6:
		a.Source, a.SourcePort = netip.AddrFrom16(from.Addr), uint16(from.Port)
	}
}

// readControls reads what the kernel says of a packet beside its payload: see ip(7), ipv6(7) and
// socket(7).
func (l *listener) readControls(b []byte) {
	a := &l.arrival
	for len(b) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return
		}
		b = rest
		switch {
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_TTL,
			header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_HOPLIMIT:
			a.TTL = int(binary.NativeEndian.Uint32(data))
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO:
			a.Link = int(binary.NativeEndian.Uint32(data))
			a.Destination = netip.AddrFrom4([4]byte(data[8:12]))
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO:
			a.Destination = netip.AddrFrom16([16]byte(data[:16]))
			a.Link = int(binary.NativeEndian.Uint32(data[16:]))
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SCM_TIMESTAMPNS && len(data) == 16:
			stamp := time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
			a.At = arrivedAt(stamp, l.emptied, a.At)
		}
	}
}

// arrivedAt puts a time stamp of the kernel's, which is of the clock on the wall, on the monotonic
// clock of now. The clock on the wall may have been set meanwhile: but no packet arrives later
// than now, or before its queue was seen empty.
func arrivedAt(stamp, emptied, now time.Time) time.Time {
	at := now.Add(-now.Round(0).Sub(stamp))
	switch {
	case at.After(now):
		return now
	case at.Before(emptied):
		return emptied
	}
	return at
}

// option is a socket option with its value.
type option struct{ level, name, value int }

// internetworkControl is the class of service of routing protocols (RFC 4594 section 3.1).
const internetworkControl = 6 << 5

// senderOptions: packets leave with a TTL of 255 (RFC 5881 section 5).
func senderOptions(ipv6 bool) []option {
	if ipv6 {
		return []option{
			{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255},
			{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, internetworkControl},
		}
	}
	return []option{
		{unix.IPPROTO_IP, unix.IP_TTL, 255},
		{unix.IPPROTO_IP, unix.IP_TOS, internetworkControl},
	}
}

func receiverOptions(ipv6 bool) []option {
	if ipv6 {
		return []option{
			{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
		}
	}
	return []option{
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1},
		{unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
		{unix.IPPROTO_IP, unix.IP_RECVTTL, 1},
		{unix.IPPROTO_IP, unix.IP_TTL, reflectedTTL}, // of echo packets; nothing else is sent from here
	}
}

func openUDP(ipv6 bool) (int, error) {
	family := unix.AF_INET
	if ipv6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	// Beyond what net.core.rmem_max permits where we may (CAP_NET_ADMIN), else as far as it does.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	return fd, nil
}

func setOptions(fd int, options []option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("set socket option %d of level %d: %w", o.name, o.level, err)
		}
	}
	return nil
}

func bindToDevice(fd int, device string) error {
	if device == "" {
		return nil
	}
	if err := unix.BindToDevice(fd, device); err != nil {
		return fmt.Errorf("bind to link %s: %w", device, err)
	}
	return nil
}

func anyAddress(ipv6 bool) netip.Addr {
	if ipv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// sockaddr is an address for the kernel; the link gives link-local addresses their scope.
func sockaddr(a netip.AddrPort, link int) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	out := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if a.Addr().IsLinkLocalUnicast() {
		out.ZoneId = uint32(link)
	}
	return out
}
