package lab

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Host is a machine of the lab: node1 to nodeN, or one of those below.
type Host string

// The hosts that are no nodes.
const (
	Control Host = "control" // etcd and the control plane
	Client  Host = "client"  // a neighbour on the LAN
	Router  Host = "router"  // the LAN's way out
	Far     Host = "far"     // a client behind the router
	Router2 Host = "router2" // another router on the LAN
	Far2    Host = "far2"    // a client behind that one
)

// DefaultName is the lab that commands mean when none is named.
const DefaultName = "herald"

// A name becomes part of network namespaces, directories and control groups.
var validName = regexp.MustCompile(`^[a-z][a-z0-9]{0,19}$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("lab name %q: want up to 20 lower-case letters and digits, a letter first", name)
	}
	return nil
}

// NodeName is the name of the node with this number, counted from 1.
func NodeName(number int) Host { return Host("node" + strconv.Itoa(number)) }

// nodeNumber is the inverse of NodeName.
func (h Host) nodeNumber() (int, bool) {
	digits, ok := strings.CutPrefix(string(h), "node")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0 && NodeName(n) == h
}

// IsNode tells the Kubernetes nodes from the other hosts.
func (h Host) IsNode() bool {
	_, ok := h.nodeNumber()
	return ok
}

// IsRouter tells the two routers from the other hosts.
func (h Host) IsRouter() bool { return h == Router || h == Router2 }

// OnLAN tells the hosts on the LAN from those behind a router.
func (h Host) OnLAN() bool { return h != Far && h != Far2 }

// hosts lists everything on the LAN, then what is behind the routers.
func hosts(nodes int) []Host {
	return slices.Concat([]Host{Router, Router2, Control, Client}, nodeNames(nodes), []Host{Far, Far2})
}

func nodeNames(nodes int) []Host {
	var names []Host
	for n := 1; n <= nodes; n++ {
		names = append(names, NodeName(n))
	}
	return names
}

// HostAt is the host with this address on the LAN or behind a router: its own, or the link-local one of its link.
func (l *Lab) HostAt(address netip.Addr) (Host, bool) {
	for _, host := range l.Hosts() {
		own := AddressesOf(host)
		if address == own.V4 || address == own.V6 || (host.OnLAN() && address.WithZone("") == linkLocal(host)) {
			return host, true
		}
	}
	return "", false
}

// linkLocal is the address that the kernel makes of the link's MAC (RFC 4291, appendix A).
func linkLocal(host Host) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fe80::4c:41ff:fe42:%x", AddressesOf(host).V4.As4()[3]))
}

// namespace is the network namespace of a host of the lab with this name.
func namespace(lab string, host Host) string { return lab + "-" + string(host) }

// lanNamespace holds nothing but the bridge that is the LAN.
func lanNamespace(lab string) string { return lab + "-lan" }
