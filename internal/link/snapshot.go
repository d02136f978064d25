package link

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

// snapshot makes the kernel's lists of links and addresses into values.
func snapshot(links []netlink.Link, addrs []netlink.Addr, exclude []*regexp.Regexp) []lb.Link {
	masters := map[int]netlink.Link{}
	for _, l := range links {
		masters[l.Attrs().Index] = l
	}
	prefixes := usableAddrs(addrs)
	out := []lb.Link{}
	for _, l := range links {
		a := l.Attrs()
		if a.RawFlags&unix.IFF_LOOPBACK != 0 {
			continue
		}
		value := lb.Link{Name: a.Name, Index: a.Index, MAC: a.HardwareAddr, Addrs: prefixes[a.Index]}
		v := judge(facts{
			name:      a.Name,
			mac:       a.HardwareAddr,
			flags:     a.RawFlags,
			operState: a.OperState,
			ethernet:  a.EncapType == "ether",
			portOf:    portOf(a.MasterIndex, masters),
			linkLocal: value.LinkLocal().IsValid(),
		}, exclude)
		value.ARP, value.NDP, value.Unusable = v.arp, v.ndp, v.unusable
		out = append(out, value)
	}
	slices.SortFunc(out, func(a, b lb.Link) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// usableAddrs returns the addresses of each link, sorted, less those that the
// kernel may not send from (RFC 4862 section 5.4).
func usableAddrs(addrs []netlink.Addr) map[int][]netip.Prefix {
	out := map[int][]netip.Prefix{}
	for _, a := range addrs {
		tentative := a.Flags&unix.IFA_F_TENTATIVE != 0 && a.Flags&unix.IFA_F_OPTIMISTIC == 0
		addr, ok := netip.AddrFromSlice(a.IP)
		if tentative || a.Flags&unix.IFA_F_DADFAILED != 0 || !ok {
			continue
		}
		bits, _ := a.Mask.Size()
		out[a.LinkIndex] = append(out[a.LinkIndex], netip.PrefixFrom(addr.Unmap(), bits))
	}
	for _, prefixes := range out {
		slices.SortFunc(prefixes, netip.Prefix.Compare)
	}
	return out
}

// portOf returns what the link is a port of: "bridge br0", or nothing. A link
// in a VRF is no port: it has its own MAC, and receives for itself.
func portOf(index int, links map[int]netlink.Link) string {
	if index == 0 {
		return ""
	}
	master, ok := links[index]
	if !ok {
		return "another link"
	}
	if master.Type() == "vrf" {
		return ""
	}
	return master.Type() + " " + master.Attrs().Name
}

// facts are what decides whether a link can announce.
type facts struct {
	name      string
	mac       net.HardwareAddr
	flags     uint32
	operState netlink.LinkOperState
	ethernet  bool
	portOf    string
	linkLocal bool // has a usable IPv6 link-local address
}

// verdict is whether a link can announce, and if in no protocol, why not.
type verdict struct {
	arp, ndp bool
	unusable string
}

// judge decides whether a link can announce. The first reason that applies is
// the one given, so what the user has configured comes before what just is.
func judge(f facts, exclude []*regexp.Regexp) verdict {
	broadcast := f.flags&unix.IFF_BROADCAST != 0
	switch pattern := excludedBy(f.name, exclude); {
	case pattern != "":
		return verdict{unusable: "excluded by " + pattern}
	case f.flags&unix.IFF_UP == 0:
		return verdict{unusable: "down"}
	case f.portOf != "":
		return verdict{unusable: "port of " + f.portOf}
	case !f.ethernet || len(f.mac) != 6:
		return verdict{unusable: "not Ethernet"}
	case f.flags&unix.IFF_NOARP != 0:
		return verdict{unusable: "does not resolve addresses (NOARP)"}
	case !carrier(f):
		return verdict{unusable: "no carrier"}
	case !broadcast && !f.linkLocal:
		return verdict{unusable: "neither broadcast nor an IPv6 link-local address"}
	}
	return verdict{arp: broadcast, ndp: f.linkLocal}
}

// carrier reports whether frames can pass: the lower layer is up, and the link
// is in no other state than up (RFC 2863 section 3.1.12). Drivers that do not
// say are taken to be up.
func carrier(f facts) bool {
	return f.flags&unix.IFF_LOWER_UP != 0 && (f.operState == netlink.OperUp || f.operState == netlink.OperUnknown)
}

func excludedBy(name string, exclude []*regexp.Regexp) string {
	for _, pattern := range exclude {
		if pattern.MatchString(name) {
			return fmt.Sprint(pattern)
		}
	}
	return ""
}
