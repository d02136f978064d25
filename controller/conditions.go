package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

// addressCondition says whether a service holds an address and, if not, why: by what there
// is to tell its user.
func addressCondition(addresses []netip.Addr, pool lb.PoolName, t telling) kube.Condition {
	c := kube.Condition{Type: kube.AddressAssigned, Status: metav1.ConditionTrue, Reason: lb.IPAllocated, Message: fmt.Sprintf("from pool %q", pool)}
	if len(addresses) == 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, lb.ClearAssignment, "the address that it is given is another Service's until that has let go of it"
	}
	if t.reason != "" {
		c.Reason, c.Message = t.reason, t.message
	}
	return c
}

// notAnnounced says why nobody announces a service.
func notAnnounced(a plan.Absence) kube.Condition {
	return kube.Condition{Type: kube.Announced, Status: metav1.ConditionFalse, Reason: a.Reason, Message: a.Why}
}

// withoutAddress is why nobody announces a service that holds no address.
var withoutAddress = plan.Absence{Reason: lb.NoAddress, Why: "the Service holds no address"}

// outlook is what the controller sees of how the cluster announces.
type outlook struct {
	planner *plan.Planner
	// from is what it was made of.
	from sight
}

// sight is what matters to services of what is gathered.
type sight struct {
	config   lb.Config
	nodes    []lb.Node
	speakers []lb.NodeName // those on nodes that are ready, sorted
	ready    map[lb.NodeName]bool
	// down are the sessions that are not established, and why; those that nobody tells of
	// are not among them.
	down map[session]lb.Reason
}

// session is that of a node with a peer.
type session struct {
	node lb.NodeName
	peer lb.PeerName
}

func sightOf(g kube.Gathered, c lb.Config) sight {
	s := sight{config: c, nodes: slices.Clone(g.Objects.Nodes), speakers: []lb.NodeName{}, ready: g.Ready, down: map[session]lb.Reason{}}
	slices.SortFunc(s.nodes, func(a, b lb.Node) int { return cmp.Compare(a.Name, b.Name) })
	for node := range g.Speakers {
		if g.Ready[node] {
			s.speakers = append(s.speakers, node)
		}
	}
	slices.Sort(s.speakers)
	for peer, states := range g.Sessions {
		for node, state := range states {
			if state.BGPStatus != string(lb.Established) {
				s.down[session{node, peer}] = cmp.Or(lb.Reason(state.Reason), lb.Connecting)
			}
		}
	}
	return s
}

// newOutlook makes a planner that is no node's. Whether speakers ignore the label that excludes
// nodes is not known here: those that do announce, and nobody asks why not.
func newOutlook(s sight) *outlook {
	return &outlook{from: s, planner: plan.New(plan.View{Config: s.config, Nodes: s.nodes, Speakers: s.speakers})}
}

// announced says by whom a service is announced that somebody says to announce.
func (o *outlook) announced(by []kube.Announcer) kube.Condition {
	var alive []kube.Announcer
	for _, a := range by {
		if o.from.ready[a.Node] {
			alive = append(alive, a)
		}
	}
	c := kube.Condition{Type: kube.Announced, Status: metav1.ConditionTrue, Reason: lb.Announced, Message: wordsOf(alive)}
	switch down := o.allDown(alive); {
	case len(alive) == 0:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, lb.NodeNotReady, wordsOf(by)+", as was said last: none of these nodes is ready"
	case down != "":
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, lb.SessionsDown, wordsOf(alive)+", and no session is established: "+down
	}
	return c
}

// allDown says of each session over which the service is offered why it is down; it is empty
// if one of them is not, or if the service is announced over layer 2 as well.
func (o *outlook) allDown(by []kube.Announcer) string {
	var whys []string
	for _, a := range by {
		if len(a.Peers) == 0 {
			return ""
		}
		for _, peer := range a.Peers {
			why, down := o.from.down[session{a.Node, peer}]
			if !down {
				return ""
			}
			whys = append(whys, fmt.Sprintf("%s with %s (%s)", a.Node, peer, why))
		}
	}
	return plan.Names(whys)
}

// wordsOf are who announces how: "layer 2: node-a; BGP: node-a, node-b to tor".
func wordsOf(by []kube.Announcer) string {
	var layer2, bgp []lb.NodeName
	var peers []lb.PeerName
	for _, a := range by {
		if len(a.Peers) == 0 {
			layer2 = append(layer2, a.Node)
			continue
		}
		bgp, peers = append(bgp, a.Node), append(peers, a.Peers...)
	}
	slices.Sort(peers)
	var ways []string
	if len(layer2) > 0 {
		ways = append(ways, "layer 2: "+plan.Names(layer2))
	}
	if len(bgp) > 0 {
		ways = append(ways, "BGP: "+plan.Names(bgp)+" to "+plan.Names(slices.Compact(peers)))
	}
	return strings.Join(ways, "; ")
}
