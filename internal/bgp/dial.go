package bgp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

// dialTimeout is how long a router may take to accept: three SYNs, sent after 0, 1 and 3 s.
const dialTimeout = 5 * time.Second

// dial opens a connection as the peer's options say. Everything is set before the first
// packet leaves: a SYN without its signature, or from the wrong device, would do harm.
func dial(ctx context.Context, p lb.Peer, router netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{
		Timeout:   dialTimeout,
		KeepAlive: -1, // BGP has its own
		Control: func(_, _ string, c syscall.RawConn) error {
			var failed error
			err := c.Control(func(fd uintptr) { failed = setOptions(int(fd), p, router) })
			if err != nil {
				return err
			}
			return failed
		},
	}
	if p.SourceAddress.IsValid() && p.Interface == "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.SourceAddress, 0))
	}
	if p.Interface != "" {
		link, err := net.InterfaceByName(p.Interface)
		if err != nil {
			return nil, fmt.Errorf("look for link %s: %w", p.Interface, err)
		}
		router = netip.AddrPortFrom(router.Addr().WithZone(byNumber(link).Name), router.Port())
	}
	return d.DialContext(ctx, "tcp", router.String())
}

func setOptions(fd int, p lb.Peer, router netip.AddrPort) error {
	if device := device(p); device != "" {
		if err := unix.BindToDevice(fd, device); err != nil {
			return fmt.Errorf("bind to device %s: %w", device, err)
		}
	}
	if p.Password != "" {
		if err := setPassword(fd, p.Password, router.Addr()); err != nil {
			return fmt.Errorf("set TCP MD5 password of %d bytes: %w", len(p.Password), err)
		}
	}
	if router.Addr().Is4() {
		return setOptions4(fd, p)
	}
	return setOptions6(fd, p)
}

// device is what the socket is bound to: a VRF's device puts it into the VRF.
func device(p lb.Peer) string {
	if p.VRF != "" {
		return p.VRF
	}
	return p.Interface
}

// internetworkControl is the traffic class of routing protocols (RFC 4594, section 3.2).
const internetworkControl = 0xc0

func setOptions4(fd int, p lb.Peer) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, internetworkControl); err != nil {
		return fmt.Errorf("set traffic class: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, hops(p)); err != nil {
		return fmt.Errorf("set TTL: %w", err)
	}
	if !p.TTLSecurity {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MINTTL, maxHops); err != nil {
		return fmt.Errorf("set least TTL: %w", err)
	}
	return nil
}

func setOptions6(fd int, p lb.Peer) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, internetworkControl); err != nil {
		return fmt.Errorf("set traffic class: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hops(p)); err != nil {
		return fmt.Errorf("set hop limit: %w", err)
	}
	if !p.TTLSecurity {
		return nil
	}
	const minHopCount = 73 // IPV6_MINHOPCOUNT, linux/in6.h
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, minHopCount, maxHops); err != nil {
		return fmt.Errorf("set least hop limit: %w", err)
	}
	return nil
}

const maxHops = 255

// hops is the TTL that packets leave with. External routers are neighbours unless said
// otherwise: the packets get no further. GTSM needs the greatest (RFC 5082, section 3).
func hops(p lb.Peer) int {
	if hopless(p) {
		return 1
	}
	return maxHops
}

// hopless reports whether the session's packets do not go beyond the next router.
func hopless(p lb.Peer) bool {
	return !p.Internal() && !p.MultiHop && !p.TTLSecurity
}

// setPassword signs what is exchanged with the router (RFC 2385). It binds the key to the
// router's address, so it has to be set before connect.
func setPassword(fd int, password lb.Secret, router netip.Addr) error {
	key := unix.TCPMD5Sig{Keylen: uint16(len(password))}
	if copy(key.Key[:], password) < len(password) {
		return unix.EINVAL // tcp(7): keys have at most 80 bytes
	}
	if router.Is4() {
		key.Addr.Family = unix.AF_INET
		copy(key.Addr.Data[2:], router.AsSlice()) // after the port of a sockaddr_in
	} else {
		key.Addr.Family = unix.AF_INET6
		copy(key.Addr.Data[6:], router.AsSlice()) // after port and flow label of a sockaddr_in6
	}
	return unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key)
}
