package link

import (
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

const usualFlags = unix.IFF_UP | unix.IFF_BROADCAST | unix.IFF_LOWER_UP | unix.IFF_MULTICAST

var (
	testMAC  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	infinite = make(net.HardwareAddr, 20) // as long as InfiniBand's
)

func TestJudge(t *testing.T) {
	usual := facts{name: "eth0", mac: testMAC, flags: usualFlags, operState: netlink.OperUp, ethernet: true, linkLocal: true}
	with := func(change func(*facts)) facts {
		f := usual
		change(&f)
		return f
	}
	tests := map[string]struct {
		facts facts
		want  verdict
	}{
		"an Ethernet link that is up":              {usual, verdict{arp: true, ndp: true}},
		"a driver that does not tell its state":    {with(func(f *facts) { f.operState = netlink.OperUnknown }), verdict{arp: true, ndp: true}},
		"without IPv6 there is ARP alone":          {with(func(f *facts) { f.linkLocal = false }), verdict{arp: true}},
		"without broadcast there is NDP alone":     {with(func(f *facts) { f.flags &^= unix.IFF_BROADCAST }), verdict{ndp: true}},
		"with neither there is nothing":            {with(func(f *facts) { f.flags &^= unix.IFF_BROADCAST; f.linkLocal = false }), verdict{unusable: "neither broadcast nor an IPv6 link-local address"}},
		"a link that is down":                      {with(func(f *facts) { f.flags &^= unix.IFF_UP }), verdict{unusable: "down"}},
		"a cable that is out":                      {with(func(f *facts) { f.flags &^= unix.IFF_LOWER_UP; f.operState = netlink.OperDown }), verdict{unusable: "no carrier"}},
		"a VLAN whose parent is down":              {with(func(f *facts) { f.operState = netlink.OperLowerLayerDown }), verdict{unusable: "no carrier"}},
		"a port that waits for 802.1X":             {with(func(f *facts) { f.operState = netlink.OperDormant }), verdict{unusable: "no carrier"}},
		"a link without address resolution":        {with(func(f *facts) { f.flags |= unix.IFF_NOARP }), verdict{unusable: "does not resolve addresses (NOARP)"}},
		"a port of a bridge":                       {with(func(f *facts) { f.portOf = "bridge br0" }), verdict{unusable: "port of bridge br0"}},
		"a tunnel":                                 {with(func(f *facts) { f.ethernet = false; f.mac = nil }), verdict{unusable: "not Ethernet"}},
		"a link with longer hardware addresses":    {with(func(f *facts) { f.mac = infinite }), verdict{unusable: "not Ethernet"}},
		"an excluded name":                         {with(func(f *facts) { f.name = "veth12" }), verdict{unusable: "excluded by ^veth.*"}},
		"an excluded name, whatever else is wrong": {with(func(f *facts) { f.name = "veth12"; f.flags = 0; f.portOf = "bridge br0" }), verdict{unusable: "excluded by ^veth.*"}},
		"a pattern matches where it is anchored":   {with(func(f *facts) { f.name = "myveth" }), verdict{arp: true, ndp: true}},
	}
	exclude := []*regexp.Regexp{regexp.MustCompile("^docker.*"), regexp.MustCompile("^veth.*")}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := judge(tt.facts, exclude); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestSnapshot(t *testing.T) {
	attrs := func(index int, name string, change func(*netlink.LinkAttrs)) netlink.LinkAttrs {
		a := netlink.LinkAttrs{Index: index, Name: name, HardwareAddr: testMAC, RawFlags: usualFlags, OperState: netlink.OperUp, EncapType: "ether"}
		if change != nil {
			change(&a)
		}
		return a
	}
	port := func(master int) func(*netlink.LinkAttrs) {
		return func(a *netlink.LinkAttrs) { a.MasterIndex = master }
	}
	links := []netlink.Link{
		&netlink.Device{LinkAttrs: attrs(1, "lo", func(a *netlink.LinkAttrs) { a.RawFlags |= unix.IFF_LOOPBACK })},
		&netlink.Device{LinkAttrs: attrs(9, "eth1", port(5))},
		&netlink.Device{LinkAttrs: attrs(2, "eth0", nil)},
		&netlink.Bridge{LinkAttrs: attrs(3, "br0", nil)},
		&netlink.Device{LinkAttrs: attrs(4, "in-br0", port(3))},
		&netlink.Vrf{LinkAttrs: attrs(5, "blue", func(a *netlink.LinkAttrs) { a.RawFlags |= unix.IFF_NOARP })},
		&netlink.Device{LinkAttrs: attrs(6, "elsewhere", port(77))},
	}
	addr := func(index int, prefix string, flags int) netlink.Addr {
		ip, ipNet, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		return netlink.Addr{LinkIndex: index, IPNet: &net.IPNet{IP: ip, Mask: ipNet.Mask}, Flags: flags}
	}
	addrs := []netlink.Addr{
		addr(2, "fe80::2/64", 0),
		addr(2, "192.0.2.9/24", unix.IFA_F_PERMANENT),
		addr(2, "192.0.2.1/24", unix.IFA_F_PERMANENT),
		addr(2, "fe80::1/64", unix.IFA_F_TENTATIVE),
		addr(3, "fe80::3/64", unix.IFA_F_TENTATIVE),
		addr(3, "fe80::4/64", unix.IFA_F_PERMANENT|unix.IFA_F_DADFAILED),
		addr(9, "fe80::9/64", unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC),
	}
	prefixes := func(texts ...string) (out []netip.Prefix) {
		for _, text := range texts {
			out = append(out, netip.MustParsePrefix(text))
		}
		return out
	}
	want := []lb.Link{
		{Name: "blue", Index: 5, MAC: testMAC, Unusable: "does not resolve addresses (NOARP)"},
		{Name: "br0", Index: 3, MAC: testMAC, ARP: true}, // its link-local addresses are not usable
		{Name: "elsewhere", Index: 6, MAC: testMAC, Unusable: "port of another link"},
		{Name: "eth0", Index: 2, MAC: testMAC, ARP: true, NDP: true, Addrs: prefixes("192.0.2.1/24", "192.0.2.9/24", "fe80::2/64")},
		{Name: "eth1", Index: 9, MAC: testMAC, ARP: true, NDP: true, Addrs: prefixes("fe80::9/64")}, // in a VRF
		{Name: "in-br0", Index: 4, MAC: testMAC, Unusable: "port of bridge br0"},
	}
	got := snapshot(links, addrs, nil)
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseExcludes(t *testing.T) {
	tests := map[string]struct {
		file    string
		want    []string
		wantErr string
	}{
		"the patterns in order":         {"announcedInterfacesToExclude: ['^docker.*', 'veth']", []string{"^docker.*", "veth"}, ""},
		"an empty file excludes none":   {"", nil, ""},
		"another key excludes none":     {"somethingElse: true", nil, ""},
		"a bad pattern is named":        {"announcedInterfacesToExclude: ['^ok', 'b(d']", nil, `pattern "b(d"`},
		"a list is asked for":           {"announcedInterfacesToExclude: veth", nil, "parse links to exclude"},
		"what is not YAML is a mistake": {"\t{", nil, "parse links to exclude"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			patterns, err := ParseExcludes([]byte(tt.file))
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("got error %v, want %q", err, tt.wantErr)
			}
			var got []string
			for _, p := range patterns {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzParseExcludes checks that every pattern that was accepted is kept.
func FuzzParseExcludes(f *testing.F) {
	f.Add([]byte("announcedInterfacesToExclude: ['^docker.*']"))
	f.Add([]byte("announcedInterfacesToExclude: [1, null]"))
	f.Fuzz(func(t *testing.T, file []byte) {
		patterns, err := ParseExcludes(file)
		if err != nil && patterns != nil {
			t.Errorf("got both patterns and an error: %v", err)
		}
		for _, p := range patterns {
			p.MatchString("eth0")
		}
	})
}
