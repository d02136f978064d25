package lab

import (
	"net/netip"
	"testing"
)

func TestNodeNames(t *testing.T) {
	for _, c := range []struct {
		host   Host
		number int
		isNode bool
	}{
		{"node1", 1, true},
		{"node150", 150, true},
		{"node0", 0, false},
		{"node01", 0, false},
		{"node-1", 0, false},
		{"node", 0, false},
		{"client", 0, false},
		{"", 0, false},
	} {
		n, ok := c.host.nodeNumber()
		if ok != c.isNode || (ok && n != c.number) {
			t.Errorf("%q: got number %d, node %v; want %d, %v", c.host, n, ok, c.number, c.isNode)
		}
	}
}

func TestLabNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"herald": true, "a1": true, "": false, "a-b": false, "Lab": false, "../x": false, "1a": false, "abcdefghijklmnopqrstu": false,
	} {
		if err := checkName(name); (err == nil) != valid {
			t.Errorf("%q: got %v, want valid %v", name, err, valid)
		}
	}
}

// A link's name has room for 15 characters; the bridge's ports are named like the hosts.
func TestHostNamesFitLinks(t *testing.T) {
	for _, host := range hosts(MaxNodes) {
		if len(host) > 15 {
			t.Errorf("%s: %d characters", host, len(host))
		}
	}
}

func TestAddressPlan(t *testing.T) {
	used := map[netip.Addr]Host{}
	macs := map[string]Host{}
	for _, host := range hosts(MaxNodes) {
		own := AddressesOf(host)
		for _, a := range []netip.Addr{own.V4, own.V6} {
			if other, taken := used[a]; taken {
				t.Errorf("%s and %s both have %s", host, other, a)
			}
			used[a] = host
			if in := within(a); in != wanted(host) {
				t.Errorf("%s has %s, in %q", host, a, in)
			}
		}
		if !host.OnLAN() {
			continue // on another link
		}
		if other, taken := macs[macOf(host)]; taken {
			t.Errorf("%s and %s both have %s", host, other, macOf(host))
		}
		macs[macOf(host)] = host
	}
}

func wanted(h Host) string {
	switch h {
	case Far:
		return "far"
	case Far2:
		return "far2"
	}
	return "lan"
}

// within tells the networks apart, and the part of the LAN that is for pools.
func within(a netip.Addr) string {
	in := func(prefix string) bool { return netip.MustParsePrefix(prefix).Contains(a) }
	pool := func(first, last string) bool {
		return a.Compare(netip.MustParseAddr(first)) >= 0 && a.Compare(netip.MustParseAddr(last)) <= 0
	}
	switch {
	case pool("192.168.10.200", "192.168.10.250"), pool("fd00:10::200", "fd00:10::250"):
		return "pool"
	case in(LAN4), in(LAN6):
		return "lan"
	case in(Far4), in(Far6):
		return "far"
	case in(Far24), in(Far26):
		return "far2"
	}
	return "nowhere"
}

func TestHostsAreKnownByTheirAddresses(t *testing.T) {
	l := &Lab{nodes: 3}
	for _, host := range l.Hosts() {
		own := AddressesOf(host)
		for _, a := range []netip.Addr{own.V4, own.V6} {
			if got, ok := l.HostAt(a); !ok || got != host {
				t.Errorf("%s: got %q, want %s", a, got, host)
			}
		}
	}
	for address, want := range map[string]Host{"fe80::4c:41ff:fe42:c": "node2", "fe80::4c:41ff:fe42:1%eth0": Router, "192.0.2.1": "", "fe80::1": ""} {
		if got, _ := l.HostAt(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: got %q, want %q", address, got, want)
		}
	}
}

func TestPodRangesDoNotOverlap(t *testing.T) {
	var all []netip.Prefix
	for n := 1; n <= MaxNodes; n++ {
		v4, v6 := podRanges(n)
		for _, p := range []netip.Prefix{v4, v6} {
			for _, other := range all {
				if p.Overlaps(other) {
					t.Fatalf("%s overlaps %s", p, other)
				}
			}
			if !netip.MustParsePrefix(Pods4).Overlaps(p) && !netip.MustParsePrefix(Pods6).Overlaps(p) {
				t.Errorf("%s is outside %s and %s", p, Pods4, Pods6)
			}
		}
		all = append(all, v4, v6)
	}
}
