package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

// nodeFacts are the settings of this node's kernel that decide whether the addresses
// that it announces work. What cannot be read counts as harmless.
type nodeFacts struct {
	// links are those that announce, by name.
	links map[string]linkFacts
	// forwarding6 is net.ipv6.conf.all.forwarding.
	forwarding6 bool
	// defaultRoutes are the names of the links that IPv4 default routes lead over.
	defaultRoutes []string
}

// linkFacts are the settings of one link. The sysctls are those in force: of the link's
// own and that of all links, the higher counts (Linux, Documentation/networking/ip-sysctl.rst).
type linkFacts struct {
	arpIgnore, arpAnnounce, rpFilter int
	forwarding                       bool
	wireless, promiscuous            bool
}

// readNodeFacts reads what there is to know of the usable links below root, which is "/"
// but for tests.
func readNodeFacts(root string, links []lb.Link) nodeFacts {
	facts := nodeFacts{
		links:         map[string]linkFacts{},
		forwarding6:   readSysctl(root, "net/ipv6/conf/all/forwarding", 1) != 0,
		defaultRoutes: readDefaultRoutes(root),
	}
	for _, l := range links {
		if l.ARP || l.NDP {
			facts.links[l.Name] = readLinkFacts(root, l.Name)
		}
	}
	return facts
}

func readLinkFacts(root, link string) linkFacts {
	ipv4 := func(of, name string, otherwise int) int {
		return readSysctl(root, "net/ipv4/conf/"+of+"/"+name, otherwise)
	}
	inForce := func(name string, otherwise int) int {
		return max(ipv4("all", name, otherwise), ipv4(link, name, otherwise))
	}
	return linkFacts{
		arpIgnore:   inForce("arp_ignore", 1),
		arpAnnounce: inForce("arp_announce", 2),
		rpFilter:    inForce("rp_filter", 0),
		forwarding:  ipv4(link, "forwarding", 1) != 0,
		wireless:    wireless(root, link),
		promiscuous: readNumber(filepath.Join(root, "sys/class/net", link, "flags"), 0)&unix.IFF_PROMISC != 0,
	}
}

// wireless: drivers of cfg80211 link to their radio, older ones have statistics.
func wireless(root, link string) bool {
	return slices.ContainsFunc([]string{"phy80211", "wireless"}, func(name string) bool {
		_, err := os.Stat(filepath.Join(root, "sys/class/net", link, name))
		return err == nil
	})
}

// readDefaultRoutes reads /proc/net/route: a heading, and for each route of the main table the
// link, destination, gateway, flags, four counters, and the mask, in hexadecimal.
func readDefaultRoutes(root string) []string {
	const link, destination, mask = 0, 1, 7
	text, _ := os.ReadFile(filepath.Join(root, "proc/net/route"))
	var names []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > mask && f[destination] == "00000000" && f[mask] == "00000000" {
			names = append(names, f[link])
		}
	}
	return names
}

func readSysctl(root, name string, otherwise int) int {
	return readNumber(filepath.Join(root, "proc/sys", name), otherwise)
}

func readNumber(path string, otherwise int) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return otherwise
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 0, 64)
	if err != nil {
		return otherwise
	}
	return int(n)
}
