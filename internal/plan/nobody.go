package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/herald-lb/herald/internal/election"
	"github.com/herald-lb/herald/internal/lb"
)

// Absence is why no node announces a service.
type Absence struct {
	// Reason is empty if nothing is known to be in the way.
	Reason lb.Reason
	// Why says it to a person.
	Why string
}

// Precluded says why no node can announce a service that holds an address, whatever
// endpoints it has: as who sees all nodes can tell, so that neither node nor links of the
// View matter.
func (p *Planner) Precluded(svc lb.Service) Absence {
	layer2, bgp, ok := p.ways(svc)
	switch {
	case !ok:
		return noPool(svc)
	case layer2.Reason == "" || bgp.Reason == "":
		return Absence{}
	}
	return both(layer2, bgp)
}

// Nobody says why no node announces a service that holds an address, given that none does.
func (p *Planner) Nobody(svc lb.Service, endpoints []lb.Endpoint) Absence {
	layer2, bgp, ok := p.ways(svc)
	if !ok {
		return noPool(svc)
	}
	return both(layer2.serving(svc, endpoints), bgp.serving(svc, endpoints))
}

func noPool(svc lb.Service) Absence {
	return Absence{lb.NoPool, fmt.Sprintf("%s is in no pool", svc.Held[0])}
}

// way is how far a service gets over one protocol.
type way struct {
	Absence
	// meant says that some advertisement is for the pool.
	meant bool
	// nodes are those that nothing keeps from announcing, sorted, but perhaps endpoints.
	nodes []lb.NodeName
	// fails says what is left to assume where nothing keeps any of these nodes, of which it
	// is given at least one.
	fails func([]lb.NodeName) string
}

func unmeant(pool lb.PoolName) way {
	return way{Absence: Absence{lb.NoMatchingAdvertisement, fmt.Sprintf("neither an L2Advertisement nor a BGPAdvertisement selects pool %q", pool)}}
}

func refused(reason lb.Reason, format string, args ...any) way {
	return way{meant: true, Absence: Absence{reason, fmt.Sprintf(format, args...)}}
}

func (p *Planner) ways(svc lb.Service) (layer2, bgp way, ok bool) {
	pool, ok := p.poolOf(svc)
	if !ok {
		return way{}, way{}, false
	}
	return p.wayOverLayer2(svc, pool), p.wayOverBGP(svc, pool), true
}

// both tells of that protocol which is meant, or of both.
func both(layer2, bgp way) Absence {
	switch {
	case !bgp.meant || layer2.Absence == bgp.Absence:
		return layer2.Absence
	case !layer2.meant:
		return bgp.Absence
	}
	return Absence{layer2.Reason, "layer 2: " + layer2.Why + "; BGP: " + bgp.Why}
}

// serving goes on with the endpoints.
func (w way) serving(svc lb.Service, endpoints []lb.Endpoint) way {
	if w.Reason != "" {
		return w
	}
	if !anyServing(endpoints) {
		return refused(lb.NoEndpoints, "no endpoint can serve")
	}
	nodes := w.nodes
	if svc.LocalTraffic {
		serving := servingNodes(endpoints)
		nodes = slices.DeleteFunc(slices.Clone(nodes), func(n lb.NodeName) bool { return !contains(serving, n) })
	}
	if len(nodes) == 0 {
		return refused(lb.NoLocalEndpoints, "traffic must stay local, and no endpoint on %s can serve", Names(w.nodes))
	}
	return refused(lb.AnnounceFailed, "%s", w.fails(nodes))
}

func (p *Planner) wayOverLayer2(svc lb.Service, pool lb.PoolName) way {
	if len(p.byPool[pool]) == 0 {
		return unmeant(pool)
	}
	ads := p.matching(pool, svc)
	if len(ads) == 0 {
		return refused(lb.NoMatchingAdvertisement, "no L2Advertisement that selects pool %q selects the service by its labels", pool)
	}
	if sharesAmbiguously(svc, ads) {
		return refused(lb.SharedIPWithServiceSelector, "a service with a sharing key cannot be announced by an advertisement with serviceSelectors")
	}
	able, refusal := p.able(nodesOf(ads, func(ad lb.L2Advertisement) []lb.NodeName { return ad.Nodes }))
	if refusal.Reason != "" {
		return refusal
	}
	return way{meant: true, nodes: able, fails: func(nodes []lb.NodeName) string {
		candidates := make([]election.Candidate, len(nodes))
		for i, n := range nodes {
			candidates[i] = election.Candidate{Node: n, Score: score(ads, n)}
		}
		owner, _ := election.Owner(svc.Held[0], candidates)
		links := "no link"
		if names := permitted(covering(ads, owner)); names != nil {
			links = "none of the permitted links " + strings.Join(names, ", ")
		}
		return fmt.Sprintf("node %q is to announce it and does not: %s is usable, or its speaker is not at work", owner, links)
	}}
}

func (p *Planner) wayOverBGP(svc lb.Service, pool lb.PoolName) way {
	var ads []lb.BGPAdvertisement
	for _, ad := range p.view.Config.BGPAdvertisements {
		if slices.Contains(ad.Pools, pool) {
			ads = append(ads, ad)
		}
	}
	if len(ads) == 0 {
		return unmeant(pool)
	}
	ads = slices.DeleteFunc(ads, func(ad lb.BGPAdvertisement) bool { return !ad.ServiceSelectors.ContainsOrEmpty(svc.Labels) })
	if len(ads) == 0 {
		return refused(lb.NoMatchingAdvertisement, "no BGPAdvertisement that selects pool %q selects the service by its labels", pool)
	}
	able, refusal := p.able(nodesOf(ads, func(ad lb.BGPAdvertisement) []lb.NodeName { return ad.Nodes }))
	if refusal.Reason != "" {
		return refusal
	}
	return p.peering(svc, pool, ads, able)
}

// peering goes on with the peers that each node has.
func (p *Planner) peering(svc lb.Service, pool lb.PoolName, ads []lb.BGPAdvertisement, nodes []lb.NodeName) way {
	var offering []lb.NodeName
	refusal := refused(lb.NoMatchingPeer, "no BGPPeer that is meant has a session on %s for the address's family", Names(nodes))
	for _, node := range nodes {
		view := p.view
		view.Node, view.Config.BGPAdvertisements = node, ads
		a := newAdvertiser(view)
		if why := conflict(a.byPool[pool], svc); why != "" {
			refusal = refused(lb.ConflictingAdvertisements, "%s", why)
		} else if a.offer(a.byPool[pool], svc).Advertises() {
			offering = append(offering, node)
		}
	}
	if len(offering) == 0 {
		return refusal
	}
	return way{meant: true, nodes: offering, fails: func(nodes []lb.NodeName) string {
		return fmt.Sprintf("%s should advertise it and nobody does: the speaker is not at work", Names(nodes))
	}}
}

// nodesOf are the nodes of all advertisements, sorted.
func nodesOf[A any](ads []A, of func(A) []lb.NodeName) []lb.NodeName {
	var out []lb.NodeName
	for _, ad := range ads {
		out = append(out, of(ad)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// able returns those of the nodes that nothing keeps from announcing; or, if something
// keeps all of them, what that is.
func (p *Planner) able(nodes []lb.NodeName) ([]lb.NodeName, way) {
	if len(nodes) == 0 {
		return nil, refused(lb.NoMatchingAdvertisement, "the nodeSelectors of the advertisements select no node")
	}
	hindered := map[lb.Reason][]lb.NodeName{}
	var able []lb.NodeName
	for _, name := range nodes {
		if contains(p.eligible, name) {
			able = append(able, name)
			continue
		}
		reason := p.obstacle(name)
		hindered[reason] = append(hindered[reason], name)
	}
	if len(able) > 0 {
		return able, way{}
	}
	var whys []string
	var first lb.Reason
	for _, h := range obstacles {
		if names := hindered[h.reason]; len(names) > 0 {
			first = cmp.Or(first, h.reason)
			whys = append(whys, Names(names)+h.words)
		}
	}
	return nil, refused(first, "%s", strings.Join(whys, ", "))
}

// obstacles are what keeps a node from announcing, in the order in which they are told.
var obstacles = []struct {
	reason lb.Reason
	words  string
}{
	{lb.NodeLabeledExcludeBalancers, ": excluded by the label node.kubernetes.io/exclude-from-external-load-balancers"},
	{lb.NodeNetworkUnavailable, ": the condition NetworkUnavailable is true"},
	{lb.NoSpeaker, ": no speaker is alive"},
}

func (p *Planner) obstacle(node lb.NodeName) lb.Reason {
	i := slices.IndexFunc(p.view.Nodes, func(n lb.Node) bool { return n.Name == node })
	switch {
	case i >= 0 && p.view.Nodes[i].Excluded && !p.view.IgnoreExcludeLabel:
		return lb.NodeLabeledExcludeBalancers
	case i >= 0 && p.view.Nodes[i].NetworkUnavailable:
		return lb.NodeNetworkUnavailable
	}
	return lb.NoSpeaker
}

// named is how many are told by name where there may be many.
const named = 5

// Names lists them for a person: "node-a, node-b", and of many the first few.
func Names[N ~string](names []N) string {
	var texts []string
	for _, n := range names[:min(len(names), named)] {
		texts = append(texts, string(n))
	}
	text := strings.Join(texts, ", ")
	if more := len(names) - named; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
