package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

// world is a cluster with one service, seen by each of its nodes.
type world struct {
	view      plan.View
	svc       lb.Service
	endpoints []lb.Endpoint
}

// The nodes rank b, a, c for 10.0.0.1 and b, c, a for 10.0.0.2.
var abc = []lb.NodeName{"node-a", "node-b", "node-c"}

// ordinary is a world in which nothing is special: three nodes with two links each, one
// pool, one advertisement of it, and a service that holds 10.0.0.1 and is served on node-c.
func ordinary() *world {
	w := &world{
		view: plan.View{
			Config: lb.Config{
				Pools:            []lb.Pool{{Name: "blue", Ranges: []lb.Range{ranged("10.0.0.0", "10.0.0.255"), ranged("2001:db8::", "2001:db8::ff")}}},
				L2Advertisements: []lb.L2Advertisement{{Name: "lan", Pools: []lb.PoolName{"blue"}, Nodes: abc}},
			},
			Speakers: abc,
			Links:    []lb.Link{{Name: "eth0", ARP: true, NDP: true}, {Name: "eth1", ARP: true}, {Name: "eth2", Unusable: "no carrier"}},
		},
		svc: lb.Service{
			Key:  lb.ServiceKey{Namespace: "default", Name: "web"},
			Held: addrs("10.0.0.1"), HeldFrom: "blue",
			Labels: map[string]string{"tier": "front"},
		},
		endpoints: []lb.Endpoint{{Node: "node-c", Serving: true}},
	}
	for _, n := range abc {
		w.view.Nodes = append(w.view.Nodes, lb.Node{Name: n})
	}
	return w
}

// seenBy returns what the node decides.
func (w *world) seenBy(node lb.NodeName) lb.Verdict {
	v := w.view
	v.Node = node
	return plan.New(v).Layer2(w.svc, w.endpoints)
}

// verdicts are those of all nodes, a line each.
func (w *world) verdicts() []string {
	var out []string
	for _, n := range abc {
		out = append(out, string(n)+" "+inWords(w.seenBy(n)))
	}
	return out
}

func inWords(v lb.Verdict) string {
	if !v.Announces() {
		return fmt.Sprintf("%s: %s", v.Reason, v.Why)
	}
	var texts []string
	for _, a := range v.Announcements {
		texts = append(texts, a.String())
	}
	return "announces " + strings.Join(texts, " and ")
}

// advertise replaces the advertisements.
func (w *world) advertise(ads ...lb.L2Advertisement) {
	for i := range ads {
		ads[i].Name = fmt.Sprintf("ad-%d", i)
		ads[i].Pools = []lb.PoolName{"blue"}
		if ads[i].Nodes == nil {
			ads[i].Nodes = abc
		}
	}
	w.view.Config.L2Advertisements = ads
}

func (w *world) node(name lb.NodeName) *lb.Node {
	i := slices.IndexFunc(w.view.Nodes, func(n lb.Node) bool { return n.Name == name })
	return &w.view.Nodes[i]
}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func ranged(first, last string) lb.Range {
	return lb.Range{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

// selecting returns a selector for each of the texts, such as "tier=front".
func selecting(texts ...string) lb.Selectors {
	var out lb.Selectors
	for _, t := range texts {
		s, err := labels.Parse(t)
		if err != nil {
			panic(err)
		}
		out = append(out, lb.NewSelector(s))
	}
	return out
}
