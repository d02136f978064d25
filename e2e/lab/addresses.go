package lab

import (
	"fmt"
	"net/netip"
)

// The address plan. Each lab has namespaces of its own, none of them joined to the machine's network, so that all labs
// use the same addresses without meeting.
//
//	192.168.10.0/24, fd00:10::/64    the LAN: router .1, control plane .2, router2 .3, client .5, nodes from .11
//	192.168.10.200–250               free on the LAN, for address pools (fd00:10::200–fd00:10::250)
//	192.168.20.0/24, fd00:20::/64    behind router: far .2
//	192.168.30.0/24, fd00:30::/64    behind router2: far2 .2
//	10.244.N.0/24, fd00:244:0:N::/64 the pods of node N
//	10.96.0.0/16, fd00:96::/112      cluster addresses of Services
const (
	LAN4  = "192.168.10.0/24"
	LAN6  = "fd00:10::/64"
	Far4  = "192.168.20.0/24"
	Far6  = "fd00:20::/64"
	Far24 = "192.168.30.0/24"
	Far26 = "fd00:30::/64"
	Pods4 = "10.244.0.0/16"
	Pods6 = "fd00:244::/48"

	Services4 = "10.96.0.0/16"
	Services6 = "fd00:96::/112"

	// Pool4 and Pool6 are ranges on the LAN that no host of the lab uses.
	Pool4 = "192.168.10.200-192.168.10.250"
	Pool6 = "fd00:10::200-fd00:10::250"
)

// MaxNodes is where the nodes' addresses would run into the pools.
const MaxNodes = 150

const (
	routerNumber  = 1
	controlNumber = 2
	router2Number = 3
	clientNumber  = 5
	firstNode     = 11
)

// Addresses are a host's own, one of each family.
type Addresses struct {
	V4, V6 netip.Addr
}

func lanAddresses(number int) Addresses {
	return Addresses{
		V4: netip.MustParseAddr(fmt.Sprintf("192.168.10.%d", number)),
		V6: netip.MustParseAddr(fmt.Sprintf("fd00:10::%x", number)),
	}
}

// stub is the network behind a router, with one client on it.
type stub struct {
	router, far Host
	v4, v6      string
}

var stubs = []stub{
	{Router, Far, Far4, Far6},
	{Router2, Far2, Far24, Far26},
}

// gateway is the router's address there: the first.
func (s stub) gateway() Addresses {
	return Addresses{V4: netip.MustParsePrefix(s.v4).Addr().Next(), V6: netip.MustParsePrefix(s.v6).Addr().Next()}
}

// client is the far host's: the second.
func (s stub) client() Addresses {
	return Addresses{V4: s.gateway().V4.Next(), V6: s.gateway().V6.Next()}
}

// podRanges are the addresses that the pods of the node with this number draw from.
func podRanges(node int) (v4, v6 netip.Prefix) {
	return netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", node)),
		netip.MustParsePrefix(fmt.Sprintf("fd00:244:0:%x::/64", node))
}

// AddressesOf returns the addresses of a host: its own on the LAN, but for far and far2 the ones behind their routers.
func AddressesOf(host Host) Addresses {
	for _, s := range stubs {
		if host == s.far {
			return s.client()
		}
	}
	switch host {
	case Router:
		return lanAddresses(routerNumber)
	case Control:
		return lanAddresses(controlNumber)
	case Client:
		return lanAddresses(clientNumber)
	case Router2:
		return lanAddresses(router2Number)
	}
	n, _ := host.nodeNumber()
	return lanAddresses(firstNode + n - 1)
}

// firstServiceAddresses are those of the Service kubernetes: the first of the ranges.
func firstServiceAddresses() Addresses {
	return Addresses{
		V4: netip.MustParsePrefix(Services4).Addr().Next(),
		V6: netip.MustParsePrefix(Services6).Addr().Next(),
	}
}

// macOf gives the host's link on the LAN an address that a person can read in a packet dump: the last byte is the last
// byte of its IPv4 address.
func macOf(host Host) string {
	last := AddressesOf(host).V4.As4()[3]
	return fmt.Sprintf("02:4c:41:42:00:%02x", last)
}
