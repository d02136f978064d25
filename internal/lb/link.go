package lb

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Link is a network interface of this node, as the kernel describes it at one
// moment, with what announcing on it needs to know.
type Link struct {
	Name  string
	Index int
	// MAC is the hardware address that answers on this link carry.
	MAC net.HardwareAddr
	// Addrs are the addresses of the link with their prefix lengths, sorted.
	Addrs []netip.Prefix
	// ARP says that IPv4 addresses can be announced here: the link is up, has
	// carrier, broadcasts, resolves addresses and is nobody's port.
	ARP bool
	// NDP says that IPv6 addresses can be announced here: as ARP, and the link
	// has a link-local address, without which the kernel speaks no IPv6 there.
	NDP bool
	// Unusable says in words why neither ARP nor NDP is possible, for logs and
	// events: "down", "no carrier", "port of bridge br0", "excluded by ^veth.*".
	// It is empty when either is.
	Unusable string
}

// Usable reports whether the link can announce an address of the family of addr.
func (l Link) Usable(addr netip.Addr) bool {
	if addr.Is4() {
		return l.ARP
	}
	return l.NDP
}

// LinkLocal returns the link's first link-local IPv6 address, or the zero Addr.
func (l Link) LinkLocal() netip.Addr {
	for _, p := range l.Addrs {
		if a := p.Addr(); a.Is6() && a.IsLinkLocalUnicast() {
			return a
		}
	}
	return netip.Addr{}
}

// Equal reports whether both describe the same state of the same interface.
func (l Link) Equal(o Link) bool {
	return l.Name == o.Name && l.Index == o.Index && bytes.Equal(l.MAC, o.MAC) &&
		slices.Equal(l.Addrs, o.Addrs) && l.ARP == o.ARP && l.NDP == o.NDP && l.Unusable == o.Unusable
}

// String returns a short form for logs: "eth0(2)", or "eth0(2): no carrier".
func (l Link) String() string {
	if l.Unusable != "" {
		return fmt.Sprintf("%s(%d): %s", l.Name, l.Index, l.Unusable)
	}
	return fmt.Sprintf("%s(%d)", l.Name, l.Index)
}
