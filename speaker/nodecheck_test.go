package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

// healthy is a node with a link to the LAN, over which it reaches the world, a second link
// to another network, and kube-proxy's dummy link.
func healthy() (nodeFacts, []lb.Link) {
	good := linkFacts{arpIgnore: 1, arpAnnounce: 2, forwarding: true}
	facts := nodeFacts{links: map[string]linkFacts{"eth0": good, "eth1": good}, forwarding6: true, defaultRoutes: []string{"eth0"}}
	return facts, []lb.Link{
		{Name: "eth0", ARP: true, NDP: true, Addrs: prefixes("192.0.2.10/24", "2001:db8::10/64")},
		{Name: "eth1", ARP: true, Addrs: prefixes("198.51.100.10/24")},
		{Name: "kube-ipvs0", Unusable: "excluded", Addrs: prefixes("10.96.0.1/32")},
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

// holds is a service with an address, announced from here on the links.
func holds(name, addr string, links ...string) holding {
	return holding{service: key(name), addr: netip.MustParseAddr(addr), links: links}
}

func TestWhatIsWrongWithANode(t *testing.T) {
	set := func(f nodeFacts, link string, change func(*linkFacts)) {
		l := f.links[link]
		change(&l)
		f.links[link] = l
	}
	onDummy := func(links []lb.Link) { links[2].Addrs = prefixes("10.96.0.1/32", "192.0.2.200/32") }
	for name, c := range map[string]struct {
		change   func(*nodeFacts, []lb.Link)
		holdings []holding
		want     []string // about: service: a part of the message
	}{
		"nothing": {
			func(*nodeFacts, []lb.Link) {},
			[]holding{holds("web", "192.0.2.200", "eth0", "eth1"), holds("six", "2001:db8::200", "eth0"), holds("away", "192.0.2.201")},
			nil,
		},
		"kube-proxy without strictARP, on every node": {
			func(f *nodeFacts, links []lb.Link) {
				onDummy(links)
				set(*f, "eth1", func(l *linkFacts) { l.arpIgnore = 0 })
			},
			[]holding{holds("zoo", "192.0.2.200"), holds("web", "192.0.2.200"), holds("api", "192.0.2.201", "eth0")},
			[]string{"strictARP: default/web: kube-proxy in IPVS mode has put it on kube-ipvs0, and net.ipv4.conf.eth1.arp_ignore is 0. Set ipvs.strictARP to true"},
		},
		"kube-proxy with half of strictARP": {
			func(f *nodeFacts, links []lb.Link) {
				onDummy(links)
				set(*f, "eth0", func(l *linkFacts) { l.arpAnnounce = 1 })
			},
			[]holding{holds("web", "192.0.2.200", "eth0")},
			[]string{"strictARP: default/web: net.ipv4.conf.eth0.arp_announce is 1"},
		},
		"kube-proxy with strictARP is right": {
			func(_ *nodeFacts, links []lb.Link) { onDummy(links) },
			[]holding{holds("web", "192.0.2.200", "eth0")},
			nil,
		},
		"IPv6 needs no strictARP": {
			func(f *nodeFacts, links []lb.Link) {
				links[2].Addrs = prefixes("2001:db8::200/128")
				set(*f, "eth0", func(l *linkFacts) { l.arpIgnore = 0 })
			},
			[]holding{holds("web", "2001:db8::200", "eth0")},
			nil,
		},
		"an address that is the node's own": {
			func(*nodeFacts, []lb.Link) {},
			[]holding{holds("web", "192.0.2.10"), holds("six", "2001:db8::10", "eth0")},
			[]string{"address on eth0: default/six: address 2001:db8::10 is also that of link eth0"},
		},
		"an address on a link that keeps it to itself": {
			func(_ *nodeFacts, links []lb.Link) {
				links[2] = lb.Link{Name: "dummy0", Addrs: prefixes("192.0.2.200/32")}
			},
			[]holding{holds("web", "192.0.2.200", "eth0")},
			nil,
		},
		"an address on a link that does not": {
			func(f *nodeFacts, links []lb.Link) {
				links[2] = lb.Link{Name: "dummy0", Addrs: prefixes("192.0.2.200/32")}
				set(*f, "eth0", func(l *linkFacts) { l.arpIgnore = 0 })
			},
			[]holding{holds("web", "192.0.2.200", "eth0")},
			[]string{"address on dummy0: default/web: Remove it from the link, or from its pool"},
		},
		"a wireless link": {
			func(f *nodeFacts, _ []lb.Link) { set(*f, "eth1", func(l *linkFacts) { l.wireless = true }) },
			[]holding{holds("api", "192.0.2.201"), holds("web", "192.0.2.200", "eth0", "eth1")},
			[]string{"wireless eth1: default/web: ip link set eth1 promisc on"},
		},
		"a wireless link in promiscuous mode is right": {
			func(f *nodeFacts, _ []lb.Link) {
				set(*f, "eth0", func(l *linkFacts) { l.wireless, l.promiscuous = true, true })
			},
			[]holding{holds("web", "192.0.2.200", "eth0")},
			nil,
		},
		"no forwarding": {
			func(f *nodeFacts, _ []lb.Link) {
				f.forwarding6 = false
				set(*f, "eth0", func(l *linkFacts) { l.forwarding = false })
			},
			[]holding{holds("six", "2001:db8::200", "eth0"), holds("web", "192.0.2.200", "eth0")},
			[]string{"forwarding IPv6: default/six: net.ipv6.conf.all.forwarding is 0", "forwarding eth0: default/web: net.ipv4.conf.eth0.forwarding is 0"},
		},
		"a strict filter on the link that the world is not behind": {
			func(f *nodeFacts, _ []lb.Link) { set(*f, "eth1", func(l *linkFacts) { l.rpFilter = 1 }) },
			[]holding{holds("web", "198.51.100.200", "eth0", "eth1")},
			[]string{"rp_filter eth1: default/web: the default route is on eth0"},
		},
		"a strict filter hurts nobody on the only way": {
			func(f *nodeFacts, _ []lb.Link) { set(*f, "eth0", func(l *linkFacts) { l.rpFilter = 1 }) },
			[]holding{holds("web", "192.0.2.200", "eth0", "eth1")},
			nil,
		},
		"nor where the address is of another network": {
			func(f *nodeFacts, _ []lb.Link) { set(*f, "eth1", func(l *linkFacts) { l.rpFilter = 1 }) },
			[]holding{holds("web", "192.0.2.200", "eth0", "eth1")},
			nil,
		},
		"nor where there is no world": {
			func(f *nodeFacts, _ []lb.Link) {
				f.defaultRoutes = nil
				set(*f, "eth1", func(l *linkFacts) { l.rpFilter = 1 })
			},
			[]holding{holds("web", "198.51.100.200", "eth1")},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			facts, links := healthy()
			c.change(&facts, links)
			got := nodeProblems(facts, links, c.holdings)
			if len(got) != len(c.want) {
				t.Fatalf("problems %+v, want %q", got, c.want)
			}
			for i, p := range got {
				about, message, _ := strings.Cut(c.want[i], ": default/")
				service, message, _ := strings.Cut(message, ": ")
				if p.about != about || p.service != key(service) || !strings.Contains(p.message, message) {
					t.Errorf("problem %+v, want %q", p, c.want[i])
				}
			}
		})
	}
}

func TestAProblemOfANodeIsToldOnceWhileItLasts(t *testing.T) {
	root := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, links := healthy()
	c := nodeCheck{root: root}
	for _, step := range []struct {
		forwarding string
		want       int
	}{{"1\n", 0}, {"0\n", 1}, {"0\n", 0}, {"1\n", 0}, {"0\n", 1}} {
		write("proc/sys/net/ipv4/conf/eth0/forwarding", step.forwarding)
		if got := c.check(links, []holding{holds("web", "192.0.2.200", "eth0")}); len(got) != step.want {
			t.Errorf("forwarding is %q: told %+v, want %d", step.forwarding, got, step.want)
		}
	}
}

func TestFactsAreReadFromProcAndSys(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"proc/sys/net/ipv6/conf/all/forwarding":    "0\n",
		"proc/sys/net/ipv4/conf/all/arp_ignore":    "0\n",
		"proc/sys/net/ipv4/conf/eth0/arp_ignore":   "0\n",
		"proc/sys/net/ipv4/conf/all/arp_announce":  "2\n",
		"proc/sys/net/ipv4/conf/eth0/arp_announce": "0\n",
		"proc/sys/net/ipv4/conf/all/rp_filter":     "0\n",
		"proc/sys/net/ipv4/conf/eth0/rp_filter":    "1\n",
		"proc/sys/net/ipv4/conf/all/forwarding":    "1\n",
		"proc/sys/net/ipv4/conf/eth0/forwarding":   "0\n",
		"sys/class/net/eth0/flags":                 "0x1103\n",
		"sys/class/net/eth0/phy80211/name":         "phy0\n",
		"proc/net/route": "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
			"eth0\t00000000\t010AA8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
			"eth1\t000AA8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
			"eth2\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := nodeFacts{
		links: map[string]linkFacts{
			"eth0": {arpAnnounce: 2, rpFilter: 1, wireless: true, promiscuous: true},
			// Of eth1 nothing can be read but what counts for all links.
			"eth1": {arpIgnore: 1, arpAnnounce: 2, forwarding: true},
		},
		defaultRoutes: []string{"eth0"},
	}
	_, links := healthy()
	got := readNodeFacts(root, links)
	if diff := gocmp.Diff(want, got, gocmp.AllowUnexported(nodeFacts{}, linkFacts{})); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
}
