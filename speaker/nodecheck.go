package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/lb"
)

// nodeCheckInterval is how often the node's settings are looked at: nothing tells of a
// change, and what is wrong with them is wrong for as long as nobody mends it.
const nodeCheckInterval = 15 * time.Second

// ipvsLink is where kube-proxy in IPVS mode puts the addresses of Services.
const ipvsLink = "kube-ipvs0"

// nodeProblem is something about this node that keeps addresses from working.
type nodeProblem struct {
	// about tells problems from each other: a setting, and the link if it is one's.
	about string
	// service is the first that it affects.
	service lb.ServiceKey
	// message says what is wrong, what comes of it, and what to do.
	message string
}

// holding is a service with one address that it holds, as this node sees it.
type holding struct {
	service lb.ServiceKey
	addr    netip.Addr
	// links are those on which this node announces it: none if it does not.
	links []string
}

// nodeProblems finds what is wrong with a node, each thing at the first service that it affects.
func nodeProblems(facts nodeFacts, links []lb.Link, holdings []holding) []nodeProblem {
	slices.SortFunc(holdings, func(a, b holding) int {
		return cmp.Or(a.service.Compare(b.service), a.addr.Compare(b.addr))
	})
	carriers := carriersOf(links)
	var found []nodeProblem
	for _, h := range holdings {
		for _, p := range slices.Concat(facts.answeredByKernel(h, links, carriers), facts.notDelivered(h, links)) {
			if !slices.ContainsFunc(found, func(o nodeProblem) bool { return o.about == p.about }) {
				p.service = h.service
				found = append(found, p)
			}
		}
	}
	return found
}

// carriersOf says on which link each address of this node is.
func carriersOf(links []lb.Link) map[netip.Addr]lb.Link {
	out := map[netip.Addr]lb.Link{}
	for _, l := range links {
		for _, p := range l.Addrs {
			out[p.Addr()] = l
		}
	}
	return out
}

// answeredByKernel are the problems of an address that is on a link of this node: then its
// kernel answers for it, be the address announced by another node or on another link. Over
// IPv4 it does so on all links unless arp_ignore is set, over IPv6 on that link alone.
func (f nodeFacts) answeredByKernel(h holding, links []lb.Link, carriers map[netip.Addr]lb.Link) []nodeProblem {
	carrier, ok := carriers[h.addr]
	if !ok {
		return nil
	}
	if carrier.Name != ipvsLink {
		if !carrier.Usable(h.addr) && f.lax(h.addr, links) == "" {
			return nil
		}
		return []nodeProblem{{
			about: "address on " + carrier.Name,
			message: fmt.Sprintf("address %s is also that of link %s: the kernel of this node answers for it, whichever node announces it. "+
				"Remove it from the link, or from its pool", h.addr, carrier.Name),
		}}
	}
	lax := f.lax(h.addr, links)
	if lax == "" {
		return nil
	}
	return []nodeProblem{{
		about: "strictARP",
		message: fmt.Sprintf("the kernel of this node answers ARP for %s, whichever node announces it: kube-proxy in IPVS mode has put it on %s, and %s. "+
			"Set ipvs.strictARP to true in the configuration of kube-proxy on all nodes", h.addr, ipvsLink, lax),
	}}
}

// lax says which setting lets the kernel answer for an address that is on another link, or
// ask in its name, which teaches neighbors as well; empty if none does.
func (f nodeFacts) lax(addr netip.Addr, links []lb.Link) string {
	for _, l := range links {
		facts, ok := f.links[l.Name]
		switch {
		case !ok || !l.ARP || !addr.Is4():
		case facts.arpIgnore == 0:
			return fmt.Sprintf("net.ipv4.conf.%s.arp_ignore is 0", l.Name)
		case facts.arpAnnounce < 2:
			return fmt.Sprintf("net.ipv4.conf.%s.arp_announce is %d", l.Name, facts.arpAnnounce)
		}
	}
	return ""
}

// notDelivered are the problems of an address that this node announces, on the links where it does.
func (f nodeFacts) notDelivered(h holding, links []lb.Link) []nodeProblem {
	var out []nodeProblem
	problem := func(about, format string, args ...any) {
		out = append(out, nodeProblem{about: about, message: fmt.Sprintf(format, args...)})
	}
	for _, l := range links {
		facts := f.links[l.Name]
		if !slices.Contains(h.links, l.Name) {
			continue
		}
		if facts.wireless && !facts.promiscuous {
			problem("wireless "+l.Name, "link %s is wireless: its card may drop requests for %s, which is not an address of its own. "+
				"Put it into promiscuous mode (ip link set %s promisc on), or announce from nodes with a wire", l.Name, h.addr, l.Name)
		}
		if h.addr.Is4() && !facts.forwarding {
			problem("forwarding "+l.Name, "net.ipv4.conf.%s.forwarding is 0: what arrives for %s is not forwarded to pods. Set net.ipv4.ip_forward to 1", l.Name, h.addr)
		}
		if h.addr.Is6() && !f.forwarding6 {
			problem("forwarding IPv6", "net.ipv6.conf.all.forwarding is 0: what arrives for %s is not forwarded to pods. Set it to 1", h.addr)
		}
		if f.strictlyFiltered(h.addr, l) {
			problem("rp_filter "+l.Name, "net.ipv4.conf.%s.rp_filter is 1 and the default route is on %s: what clients beyond the network of %s send to %s is dropped. "+
				"Set it to 2, or route to them over %s", l.Name, strings.Join(f.defaultRoutes, ", "), l.Name, h.addr, l.Name)
		}
	}
	return out
}

// strictlyFiltered reports whether the kernel drops what routers of the link's network bring
// for the address: the way back to where it comes from is by another link (RFC 3704, section 2.2).
// An address of another network arrives on links that cannot be told from here.
func (f nodeFacts) strictlyFiltered(addr netip.Addr, l lb.Link) bool {
	inNetwork := func(p netip.Prefix) bool { return p.Masked().Contains(addr) }
	return addr.Is4() && f.links[l.Name].rpFilter == 1 && slices.ContainsFunc(l.Addrs, inNetwork) &&
		len(f.defaultRoutes) > 0 && !slices.Contains(f.defaultRoutes, l.Name)
}

// nodeCheck tells of what is wrong with this node: each thing once while it lasts, on the
// first service that it affects.
type nodeCheck struct {
	root string // of /proc and /sys; "/" if empty
	told map[string]bool
}

// check looks at the node's settings, and returns what was not told of yet.
func (c *nodeCheck) check(links []lb.Link, holdings []holding) []nodeProblem {
	told := map[string]bool{}
	var news []nodeProblem
	for _, p := range nodeProblems(readNodeFacts(cmp.Or(c.root, "/"), links), links, holdings) {
		told[p.about] = true
		if !c.told[p.about] {
			news = append(news, p)
		}
	}
	c.told = told
	return news
}

// checkNode tells of what is wrong with this node since it was looked at last.
func (s *speaker) checkNode(ctx context.Context) {
	links := s.links.Links()
	for _, p := range s.node.check(links, s.holdings(links)) {
		level.Error(s.logger).Log("msg", "node misconfigured", "reason", lb.NodeMisconfigured, "service", p.service, "why", p.message)
		svc := &corev1.Service{}
		if err := s.client.Get(ctx, types.NamespacedName(p.service), svc); err != nil {
			level.Debug(s.logger).Log("msg", "no event about the node", "service", p.service, "error", err)
			continue
		}
		s.events.Warning(svc, lb.NodeMisconfigured, fmt.Sprintf("node %q: %s", s.options.node, p.message))
	}
}

// holdings are the addresses of all services, with the links on which this node announces them.
func (s *speaker) holdings(links []lb.Link) []holding {
	var out []holding
	for key, addrs := range s.holders.All() {
		for _, a := range addrs {
			h := holding{service: key, addr: a}
			for _, an := range s.verdicts[key].layer2.Announcements {
				if an.Address == a {
					h.links = usable(an, links)
				}
			}
			out = append(out, h)
		}
	}
	return out
}

// usable are the links on which an announcement takes effect.
func usable(an lb.Announcement, links []lb.Link) []string {
	var out []string
	for _, l := range links {
		if an.Contains(l.Name) && l.Usable(an.Address) {
			out = append(out, l.Name)
		}
	}
	return out
}
