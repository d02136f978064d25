package plan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

const rounds = 300

// cluster is a random world of several services.
type cluster struct {
	view      plan.View
	services  []lb.Service
	endpoints map[lb.ServiceKey][]lb.Endpoint
}

func randomCluster(r *rand.Rand) cluster {
	c := cluster{endpoints: map[lb.ServiceKey][]lb.Endpoint{}}
	for i := range 1 + r.IntN(6) {
		n := lb.Node{Name: lb.NodeName(fmt.Sprintf("node-%d", i)), Excluded: r.IntN(8) == 0, NetworkUnavailable: r.IntN(8) == 0}
		c.view.Nodes = append(c.view.Nodes, n)
	}
	if r.IntN(4) > 0 {
		c.view.Speakers = randomNodes(r, c.view.Nodes)
	}
	c.view.IgnoreExcludeLabel = r.IntN(4) == 0
	c.view.Links = pick(r, nil, []lb.Link{{Name: "eth0", ARP: true}}, []lb.Link{{Name: "eth0", ARP: true, NDP: true}, {Name: "eth1", NDP: true}})
	c.view.Config = randomConfig(r, c.view.Nodes)
	c.view.Unlinked = map[lb.NodeName][]string{}
	for _, n := range c.view.Nodes {
		c.view.Unlinked[n.Name] = pick(r, nil, nil, []string{"eth0"}, []string{"eth1"}, []string{"eth0", "eth1"})
	}
	for i := range 8 {
		svc := randomService(r, i)
		c.services = append(c.services, svc)
		for range r.IntN(4) {
			e := lb.Endpoint{Node: pick(r, c.view.Nodes...).Name, Serving: r.IntN(3) > 0}
			c.endpoints[svc.Key] = append(c.endpoints[svc.Key], e)
		}
	}
	return c
}

func randomConfig(r *rand.Rand, nodes []lb.Node) lb.Config {
	c := lb.Config{PoolsIncomplete: r.IntN(8) == 0}
	for i := range 3 {
		net := fmt.Sprintf("10.0.%d.", i)
		c.Pools = append(c.Pools, lb.Pool{Name: lb.PoolName(fmt.Sprintf("pool-%d", i)), Ranges: []lb.Range{ranged(net+"0", net+"255")}})
	}
	for i := range r.IntN(5) {
		ad := lb.L2Advertisement{
			Name:             fmt.Sprintf("ad-%d", i),
			Pools:            pick(r, []lb.PoolName{"pool-0"}, []lb.PoolName{"pool-0", "pool-1"}, []lb.PoolName{"pool-0", "pool-1", "pool-2"}),
			Nodes:            randomNodes(r, nodes),
			Links:            pick(r, nil, nil, []string{"eth0"}, []string{"eth1"}),
			ServiceSelectors: pick(r, nil, nil, selecting("tier=front"), selecting("tier=back")),
		}
		for range r.IntN(3) {
			ad.Preferences = append(ad.Preferences, lb.Preference{Weight: 1 + r.IntN(3), Nodes: randomNodes(r, nodes)})
		}
		c.L2Advertisements = append(c.L2Advertisements, ad)
	}
	return c
}

func randomService(r *rand.Rand, i int) lb.Service {
	svc := lb.Service{
		Key:          lb.ServiceKey{Namespace: "default", Name: fmt.Sprintf("service-%d", i)},
		Labels:       pick(r, nil, map[string]string{"tier": "front"}, map[string]string{"tier": "back"}),
		LocalTraffic: r.IntN(3) == 0,
		Request:      lb.Request{HasSharingKey: r.IntN(5) == 0},
		HeldFrom:     pick[lb.PoolName](r, "", "pool-0", "pool-9"),
	}
	for range r.IntN(3) {
		svc.Held = append(svc.Held, netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(4)), byte(r.IntN(256))}))
	}
	return svc
}

func randomNodes(r *rand.Rand, nodes []lb.Node) []lb.NodeName {
	out := []lb.NodeName{}
	for _, n := range nodes {
		if r.IntN(3) > 0 {
			out = append(out, n.Name)
		}
	}
	return out
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// on returns the planner of one of the nodes.
func (c cluster) on(node lb.NodeName) *plan.Planner {
	v := c.view
	v.Node = node
	return plan.New(v)
}

// verdicts are those of all nodes about one service.
func (c cluster) verdicts(svc lb.Service) map[lb.NodeName]lb.Verdict {
	out := map[lb.NodeName]lb.Verdict{}
	for _, n := range c.view.Nodes {
		out[n.Name] = c.on(n.Name).Layer2(svc, c.endpoints[svc.Key])
	}
	return out
}

// owners are the nodes that take a service for theirs, be it that their links fail them.
func owners(verdicts map[lb.NodeName]lb.Verdict) []lb.NodeName {
	var out []lb.NodeName
	for n, v := range verdicts {
		if v.Announces() || v.Reason == lb.AnnounceFailed {
			out = append(out, n)
		}
	}
	return out
}

func TestOneNodeOwnsAServiceOrAllSayWhyNoneDoes(t *testing.T) {
	for seed := range uint64(rounds) {
		c := randomCluster(rand.New(rand.NewPCG(seed, 0)))
		for _, svc := range c.services {
			verdicts := c.verdicts(svc)
			who := owners(verdicts)
			if len(who) > 1 {
				t.Fatalf("seed %d: %s is announced by %v", seed, svc.Key, who)
			}
			for n, v := range verdicts {
				checkVerdict(t, fmt.Sprintf("seed %d: %s on %s", seed, svc.Key, n), n, v, who)
			}
		}
	}
}

// checkVerdict checks that a verdict agrees with itself, and with who owns the service.
func checkVerdict(t *testing.T, at string, node lb.NodeName, v lb.Verdict, who []lb.NodeName) {
	t.Helper()
	if v.Announces() != (len(v.Announcements) > 0) || v.Announces() != (v.Why == "") {
		t.Errorf("%s: verdict %+v contradicts itself", at, v)
	}
	if v.Owner != "" && !slices.Equal(who, []lb.NodeName{v.Owner}) {
		t.Errorf("%s: %s is said to own it, but %v do", at, v.Owner, who)
	}
	if slices.Contains(who, node) && v.Owner != node {
		t.Errorf("%s: owner %q", at, v.Owner)
	}
}

func TestTheOrderOfWhatIsKnownNeverMatters(t *testing.T) {
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := randomCluster(r)
		node := pick(r, c.view.Nodes...).Name
		before := c.on(node)
		shuffled := c.shuffled(r)
		after := shuffled.on(node)
		for _, svc := range c.services {
			want, got := before.Layer2(svc, c.endpoints[svc.Key]), after.Layer2(svc, shuffled.endpoints[svc.Key])
			if !want.Equal(got) {
				t.Errorf("seed %d: %s on %s: %+v, in another order %+v", seed, svc.Key, node, want, got)
			}
		}
	}
}

// shuffled says the same in another order.
func (c cluster) shuffled(r *rand.Rand) cluster {
	c.view.Nodes, c.view.Speakers, c.view.Links = shuffle(r, c.view.Nodes), shuffle(r, c.view.Speakers), shuffle(r, c.view.Links)
	c.view.Config.Pools = shuffle(r, c.view.Config.Pools)
	c.view.Config.L2Advertisements = shuffle(r, c.view.Config.L2Advertisements)
	endpoints := map[lb.ServiceKey][]lb.Endpoint{}
	for key, e := range c.endpoints {
		endpoints[key] = shuffle(r, e)
	}
	c.endpoints = endpoints
	return c
}

func shuffle[T any](r *rand.Rand, items []T) []T {
	out := slices.Clone(items)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func TestLosingANodeMovesOnlyWhatItAnnounced(t *testing.T) {
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 2))
		c := randomCluster(r)
		if c.view.Speakers == nil {
			c.view.Speakers = randomNodes(r, c.view.Nodes)
		}
		lost := pick(r, c.view.Nodes...).Name
		without := c
		without.view.Speakers = slices.DeleteFunc(slices.Clone(c.view.Speakers), func(n lb.NodeName) bool { return n == lost })
		for _, svc := range c.services {
			before, after := owners(c.verdicts(svc)), owners(without.verdicts(svc))
			if !slices.Contains(before, lost) && !slices.Equal(before, after) {
				t.Errorf("seed %d: %s went from %v to %v when %s was lost", seed, svc.Key, before, after, lost)
			}
			if slices.Contains(after, lost) {
				t.Errorf("seed %d: %s is announced by %s, which was lost", seed, svc.Key, lost)
			}
		}
	}
}

func TestPlanningChangesNothingThatItReads(t *testing.T) {
	for seed := range uint64(rounds) {
		c, same := randomCluster(rand.New(rand.NewPCG(seed, 3))), randomCluster(rand.New(rand.NewPCG(seed, 3)))
		for _, svc := range c.services {
			c.verdicts(svc)
		}
		byValue := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
		if diff := cmp.Diff(same.view.Nodes, c.view.Nodes); diff != "" {
			t.Errorf("seed %d: nodes (-before +after):\n%s", seed, diff)
		}
		if diff := cmp.Diff(same.services, c.services, byValue); diff != "" {
			t.Errorf("seed %d: services (-before +after):\n%s", seed, diff)
		}
		if diff := cmp.Diff(same.endpoints, c.endpoints); diff != "" || !same.view.Config.Equal(c.view.Config) {
			t.Errorf("seed %d: endpoints (-before +after):\n%s\nconfiguration: %v, before %v", seed, diff, c.view.Config, same.view.Config)
		}
	}
}
