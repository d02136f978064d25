package bgp

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/herald-lb/herald/internal/lb"
)

// addresses are those of one interface, with the lengths of their networks' prefixes.
type addresses struct {
	name  string
	addrs []netip.Prefix
}

// kernelAddresses asks the kernel twice, however many interfaces there are: package net
// would ask for each, and each time go through the addresses of all.
func kernelAddresses() ([]addresses, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	all, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	byIndex := map[int][]netip.Prefix{}
	for _, a := range all {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			length, _ := a.Mask.Size()
			byIndex[a.LinkIndex] = append(byIndex[a.LinkIndex], netip.PrefixFrom(addr.Unmap(), length))
		}
	}
	var out []addresses
	for _, i := range interfaces {
		out = append(out, addresses{name: i.Name, addrs: byIndex[i.Index]})
	}
	return out, nil
}

// neighbour returns an address of the link that holds the local address, of the family
// wanted; invalid if there is none that a router could use.
func (s *Speaker) neighbour(local netip.Addr, wanted func(netip.Addr) bool) netip.Addr {
	interfaces, err := s.interfaces()
	if err != nil {
		return netip.Addr{}
	}
	for _, i := range interfaces {
		here := slices.ContainsFunc(i.addrs, func(a netip.Prefix) bool { return a.Addr() == local.WithZone("") }) && (local.Zone() == "" || local.Zone() == i.name)
		at := slices.IndexFunc(i.addrs, func(a netip.Prefix) bool { return wanted(a.Addr()) && a.Addr().IsGlobalUnicast() })
		if here && at >= 0 {
			return i.addrs[at].Addr()
		}
	}
	return netip.Addr{}
}

// holds reports whether an address is one of ours.
func (s *Speaker) holds(a netip.Addr) bool {
	interfaces, err := s.interfaces()
	return err != nil || slices.ContainsFunc(interfaces, func(i addresses) bool {
		return slices.ContainsFunc(i.addrs, func(p netip.Prefix) bool { return p.Addr() == a.WithZone("") })
	})
}

// near reports whether one of our networks holds the address, as far as is known.
func (s *Speaker) near(a netip.Addr) bool {
	interfaces, err := s.interfaces()
	a = a.Unmap().WithZone("")
	return err != nil || slices.ContainsFunc(interfaces, func(i addresses) bool {
		return slices.ContainsFunc(i.addrs, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// routerID is the BGP identifier: the one configured, else our IPv4 address, or one of the
// same link. A node without any gets a number of its own from its name: all that counts
// is that no two nodes have the same (RFC 6286).
func (s *Speaker) routerID(p lb.Peer, local netip.Addr) netip.Addr {
	if p.RouterID.Is4() {
		return p.RouterID
	}
	if local.Is4() {
		return local
	}
	if a := s.neighbour(local, netip.Addr.Is4); a.IsValid() {
		return a
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.node)) // never fails
	n := h.Sum32() | 1             // never 0
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}
