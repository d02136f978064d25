// Package plan decides what one node announces, and why it does not announce the
// rest, from what that node knows. Every speaker decides for itself; they agree
// because they see the same things.
package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/herald-lb/herald/internal/election"
	"github.com/herald-lb/herald/internal/lb"
)

// View is what one node knows of the world, apart from the services.
type View struct {
	// Node is the node that this is the view of.
	Node   lb.NodeName
	Config lb.Config
	Nodes  []lb.Node
	// Speakers are the nodes whose speaker is alive, knows what to announce, and has a usable link. Nil means
	// that there is no gossip to tell: then every Node counts.
	Speakers []lb.NodeName
	// Unlinked are, node by node, the links that L2Advertisements name and that it cannot
	// announce on: see [Unlinked]. Of a node that is not there nothing is known.
	Unlinked map[lb.NodeName][]string
	// Links are those of this node.
	Links []lb.Link
	// IgnoreExcludeLabel lets nodes announce that carry the label
	// node.kubernetes.io/exclude-from-external-load-balancers.
	IgnoreExcludeLabel bool
	// Draining says that the exclude label is new on this node: routes are offered as
	// ways to leave before they are withdrawn.
	Draining bool
}

// Planner decides service by service within one View. It is immutable, and
// safe for concurrent use.
type Planner struct {
	view View
	// eligible are the nodes that may announce at all, sorted.
	eligible []lb.NodeName
	// byPool are the advertisements of each pool.
	byPool map[lb.PoolName][]lb.L2Advertisement
	// advertiser decides about BGP.
	advertiser advertiser
}

// New returns the Planner of a view, which it keeps and does not change.
func New(v View) *Planner {
	p := &Planner{view: v, eligible: eligible(v), byPool: map[lb.PoolName][]lb.L2Advertisement{}, advertiser: newAdvertiser(v)}
	for _, ad := range v.Config.L2Advertisements {
		for _, pool := range ad.Pools {
			p.byPool[pool] = append(p.byPool[pool], ad)
		}
	}
	return p
}

// eligible returns the nodes with a speaker and nothing that keeps them from announcing.
func eligible(v View) []lb.NodeName {
	var out []lb.NodeName
	for _, n := range v.Nodes {
		hasSpeaker := v.Speakers == nil || slices.Contains(v.Speakers, n.Name)
		excluded := n.Excluded && !v.IgnoreExcludeLabel
		if hasSpeaker && !n.NetworkUnavailable && !excluded {
			out = append(out, n.Name)
		}
	}
	slices.Sort(out)
	return out
}

// Layer2 decides whether this node answers ARP and NDP for the addresses of a service
// that shares none of them.
func (p *Planner) Layer2(svc lb.Service, endpoints []lb.Endpoint) lb.Verdict {
	return p.Layer2Shared([]Served{{Service: svc, Endpoints: endpoints}})[0]
}

// standing is how a service takes part in the election: which nodes stand for it, or why none do.
type standing struct {
	refusal    lb.Verdict // its reason is empty if nodes may stand
	ads        []lb.L2Advertisement
	candidates []election.Candidate
}

func (p *Planner) standing(svc lb.Service, endpoints []lb.Endpoint) standing {
	refuse := func(reason lb.Reason, why string) standing { return standing{refusal: no(reason, why)} }
	if len(svc.Held) == 0 {
		return refuse(lb.NoAddress, "the service holds no address")
	}
	if !anyServing(endpoints) {
		return refuse(lb.NotOwner, "no endpoint can serve")
	}
	pool, ok := p.poolOf(svc)
	if !ok {
		return refuse(lb.NoPool, fmt.Sprintf("%s is in no pool", svc.Held[0]))
	}
	ads := p.matching(pool, svc)
	if sharesAmbiguously(svc, ads) {
		return refuse(lb.SharedIPWithServiceSelector, "a service with a sharing key cannot be announced by an advertisement with serviceSelectors")
	}
	return standing{ads: ads, candidates: p.candidates(svc, ads, servingNodes(endpoints))}
}

// verdict is what the election of an owner, if there is one, means for a service.
func (p *Planner) verdict(svc lb.Service, s standing, owner lb.NodeName, found bool) lb.Verdict {
	if s.refusal.Reason != "" {
		return s.refusal
	}
	here := covering(s.ads, p.view.Node)
	switch stands := func(c election.Candidate) bool { return c.Node == owner }; {
	case len(here) == 0:
		return no(lb.NoMatchingAdvertisement, "no L2Advertisement selects pool, service and this node")
	case !found:
		return no(lb.NotOwner, "no node is a candidate")
	case !slices.ContainsFunc(s.candidates, stands):
		return no(lb.NotOwner, fmt.Sprintf("node %s announces the address for services that share it, and is no candidate for this one", owner))
	case owner != p.view.Node:
		v := no(lb.NotOwner, fmt.Sprintf("node %s announces", owner))
		v.Owner = owner
		return v
	}
	return p.announce(svc, here)
}

func no(reason lb.Reason, why string) lb.Verdict { return lb.Verdict{Reason: reason, Why: why} }

// poolOf finds the pool that the service's address is from. While some pool cannot
// be read, the pool that the assignment was recorded to come from is believed.
func (p *Planner) poolOf(svc lb.Service) (lb.PoolName, bool) {
	if len(svc.Held) == 0 {
		return "", false
	}
	for _, pool := range p.view.Config.Pools {
		if slices.ContainsFunc(pool.Ranges, func(r lb.Range) bool { return r.Contains(svc.Held[0]) }) {
			return pool.Name, true
		}
	}
	return svc.HeldFrom, p.view.Config.PoolsIncomplete && svc.HeldFrom != ""
}

func (p *Planner) matching(pool lb.PoolName, svc lb.Service) []lb.L2Advertisement {
	var out []lb.L2Advertisement
	for _, ad := range p.byPool[pool] {
		if ad.ServiceSelectors.ContainsOrEmpty(svc.Labels) {
			out = append(out, ad)
		}
	}
	return out
}

func sharesAmbiguously(svc lb.Service, ads []lb.L2Advertisement) bool {
	return svc.Request.HasSharingKey &&
		slices.ContainsFunc(ads, func(ad lb.L2Advertisement) bool { return len(ad.ServiceSelectors) > 0 })
}

func covering(ads []lb.L2Advertisement, node lb.NodeName) []lb.L2Advertisement {
	var out []lb.L2Advertisement
	for _, ad := range ads {
		if contains(ad.Nodes, node) {
			out = append(out, ad)
		}
	}
	return out
}

// candidates are the eligible nodes that some advertisement covers and, where
// traffic must stay local, that host an endpoint; each with its score. Those that have none
// of the permitted links stand back for those that do: where nobody has, the owner says so.
func (p *Planner) candidates(svc lb.Service, ads []lb.L2Advertisement, serving []lb.NodeName) []election.Candidate {
	out := make([]election.Candidate, 0, len(p.eligible))
	for _, node := range p.eligible {
		if svc.LocalTraffic && !contains(serving, node) {
			continue
		}
		if covered := slices.ContainsFunc(ads, func(ad lb.L2Advertisement) bool { return contains(ad.Nodes, node) }); covered {
			out = append(out, election.Candidate{Node: node, Score: score(ads, node)})
		}
	}
	if len(p.view.Unlinked) == 0 {
		return out
	}
	linked := slices.DeleteFunc(slices.Clone(out), func(c election.Candidate) bool { return p.unlinked(ads, c.Node) })
	if len(linked) == 0 {
		return out
	}
	return linked
}

// Unlinked reports whether a node has none of the links that a service may be announced on.
func (p *Planner) Unlinked(svc lb.Service, node lb.NodeName) bool {
	pool, ok := p.poolOf(svc)
	return ok && p.unlinked(p.matching(pool, svc), node)
}

func (p *Planner) unlinked(ads []lb.L2Advertisement, node lb.NodeName) bool {
	unlinked := p.view.Unlinked[node]
	if len(unlinked) == 0 {
		return false // as nearly always: this is asked for each candidate of each service
	}
	names := permitted(covering(ads, node))
	lacks := func(name string) bool { return slices.Contains(unlinked, name) }
	return len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !lacks(name) })
}

// Unlinked are the links that L2Advertisements name for a node and that it cannot announce on, sorted,
// given the links that it has.
func Unlinked(c lb.Config, node lb.NodeName, links []lb.Link) []string {
	var out []string
	for _, ad := range covering(c.L2Advertisements, node) {
		for _, name := range ad.Links {
			if !slices.ContainsFunc(links, func(l lb.Link) bool { return l.Name == name && (l.ARP || l.NDP) }) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// score sums the weights of all preferences that pick the node.
func score(ads []lb.L2Advertisement, node lb.NodeName) int {
	sum := 0
	for _, ad := range ads {
		for _, pref := range ad.Preferences {
			if contains(pref.Nodes, node) {
				sum += pref.Weight
			}
		}
	}
	return sum
}

// announce builds the verdict of the owner: all addresses, on the permitted links.
func (p *Planner) announce(svc lb.Service, here []lb.L2Advertisement) lb.Verdict {
	v := lb.Verdict{Reason: lb.Announced, Owner: p.view.Node, Links: permitted(here)}
	for _, a := range svc.Held {
		if p.usable(a, v.Links) {
			v.Announcements = append(v.Announcements, lb.Announcement{Address: a, Links: v.Links})
		}
	}
	if len(v.Announcements) == 0 {
		v.Reason = lb.AnnounceFailed
		v.Why = p.unusable(v.Links)
	}
	return v
}

// permitted is the union of the advertisements' link lists; nil if any has none.
func permitted(ads []lb.L2Advertisement) []string {
	var out []string
	for _, ad := range ads {
		if ad.Links == nil {
			return nil
		}
		out = append(out, ad.Links...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (p *Planner) usable(addr netip.Addr, permitted []string) bool {
	return slices.ContainsFunc(p.view.Links, func(l lb.Link) bool {
		return l.Usable(addr) && (permitted == nil || slices.Contains(permitted, l.Name))
	})
}

// unusable says of each permitted link why it cannot be announced on.
func (p *Planner) unusable(permitted []string) string {
	if permitted == nil {
		return fmt.Sprintf("node %q has no usable link", p.view.Node)
	}
	var whys []string
	for _, name := range permitted {
		i := slices.IndexFunc(p.view.Links, func(l lb.Link) bool { return l.Name == name })
		switch {
		case i < 0:
			whys = append(whys, name+" does not exist")
		case p.view.Links[i].Unusable != "":
			whys = append(whys, name+" is unusable ("+p.view.Links[i].Unusable+")")
		default:
			whys = append(whys, name+" cannot announce this IP family")
		}
	}
	return fmt.Sprintf("none of the permitted links of node %q is usable: %s", p.view.Node, strings.Join(whys, ", "))
}

func anyServing(endpoints []lb.Endpoint) bool {
	return slices.ContainsFunc(endpoints, func(e lb.Endpoint) bool { return e.Serving })
}

// servingNodes returns the nodes that host an endpoint which can serve, sorted.
func servingNodes(endpoints []lb.Endpoint) []lb.NodeName {
	var out []lb.NodeName
	for _, e := range endpoints {
		if e.Serving && e.Node != "" {
			out = append(out, e.Node)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func contains(sorted []lb.NodeName, node lb.NodeName) bool {
	_, found := slices.BinarySearch(sorted, node)
	return found
}
