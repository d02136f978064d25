package bgp

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// addresses are those of one interface.
type addresses struct {
	name  string
	addrs []netip.Addr
}

func kernelAddresses() ([]addresses, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []addresses
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it is gone already
		}
		a := addresses{name: i.Name}
		for _, addr := range addrs {
			if p, err := netip.ParsePrefix(addr.String()); err == nil {
				a.addrs = append(a.addrs, p.Addr().Unmap())
			}
		}
		out = append(out, a)
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
		here := slices.Contains(i.addrs, local.WithZone("")) && (local.Zone() == "" || local.Zone() == i.name)
		at := slices.IndexFunc(i.addrs, func(a netip.Addr) bool { return wanted(a) && a.IsGlobalUnicast() })
		if here && at >= 0 {
			return i.addrs[at]
		}
	}
	return netip.Addr{}
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
