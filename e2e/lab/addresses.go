package lab

import (
	"fmt"
	"net/netip"
)

// The address plan. Each lab has namespaces of its own, none of them joined to the machine's network, so that all labs
// use the same addresses without meeting.
//
//	192.168.10.0/24, fd00:10::/64    the LAN: router .1, control plane .2, client .5, nodes from .11
//	192.168.10.200–250               free on the LAN, for address pools (fd00:10::200–fd00:10::250)
//	192.168.20.0/24, fd00:20::/64    behind the router: far .2
//	10.244.N.0/24, fd00:244:0:N::/64 the pods of node N
//	10.96.0.0/16, fd00:96::/112      cluster addresses of Services
const (
	LAN4  = "192.168.10.0/24"
	LAN6  = "fd00:10::/64"
	Far4  = "192.168.20.0/24"
	Far6  = "fd00:20::/64"
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
	clientNumber  = 5
	farNumber     = 2
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

func farAddresses(number int) Addresses {
	return Addresses{
		V4: netip.MustParseAddr(fmt.Sprintf("192.168.20.%d", number)),
		V6: netip.MustParseAddr(fmt.Sprintf("fd00:20::%x", number)),
	}
}

// podRanges are the addresses that the pods of the node with this number draw from.
func podRanges(node int) (v4, v6 netip.Prefix) {
	return netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/24", node)),
		netip.MustParsePrefix(fmt.Sprintf("fd00:244:0:%x::/64", node))
}

// AddressesOf returns the addresses of a host: its own on the LAN, but for far the ones behind the router.
func AddressesOf(host Host) Addresses {
	switch host {
	case Router:
		return lanAddresses(routerNumber)
	case Control:
		return lanAddresses(controlNumber)
	case Client:
		return lanAddresses(clientNumber)
	case Far:
		return farAddresses(farNumber)
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
