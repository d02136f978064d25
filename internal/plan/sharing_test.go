package plan_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

// sharer is a service with a sharing key, the older the lower its age, served on the nodes.
func sharer(name string, age int, held []netip.Addr, nodes ...lb.NodeName) plan.Served {
	s := plan.Served{Service: lb.Service{
		Key:  lb.ServiceKey{Namespace: "default", Name: name},
		Held: held, HeldFrom: "blue",
		Created: time.Unix(int64(age), 0),
		Request: lb.Request{SharingKey: "key", HasSharingKey: true},
	}}
	for _, n := range nodes {
		s.Endpoints = append(s.Endpoints, lb.Endpoint{Node: n, Serving: true})
	}
	return s
}

func local(s plan.Served) plan.Served {
	s.Service.LocalTraffic = true
	return s
}

// announced says for each address which nodes announce it, and for which of the services.
func announced(view plan.View, group []plan.Served) map[string][]string {
	out := map[string][]string{}
	for _, n := range view.Nodes {
		view.Node = n.Name
		for i, v := range plan.New(view).Layer2Shared(group) {
			for _, a := range v.Announcements {
				at := a.Address.String()
				out[at] = append(out[at], fmt.Sprintf("%s for %s", n.Name, group[i].Service.Key.Name))
			}
		}
	}
	return out
}

// The nodes rank b, a, c for 10.0.0.1 and b, c, a for 10.0.0.2; node-a is the first for 2001:db8::5.
func TestSharedAddressesHaveOneOwner(t *testing.T) {
	four, six, both := addrs("10.0.0.1"), addrs("2001:db8::5"), addrs("10.0.0.1", "2001:db8::5")
	for _, c := range []struct {
		name  string
		group []plan.Served
		want  map[string][]string
	}{
		{
			"each alone, by its own first address",
			[]plan.Served{sharer("six", 1, six, "node-a")},
			map[string][]string{"2001:db8::5": {"node-a for six"}},
		},
		{
			"the first address of the oldest decides for all",
			[]plan.Served{sharer("both", 1, both, "node-a"), sharer("six", 2, six, "node-a")},
			map[string][]string{"10.0.0.1": {"node-b for both"}, "2001:db8::5": {"node-b for both", "node-b for six"}},
		},
		{
			"so that who joins moves nobody",
			[]plan.Served{sharer("both", 2, both, "node-a"), sharer("six", 1, six, "node-a")},
			map[string][]string{"10.0.0.1": {"node-a for both"}, "2001:db8::5": {"node-a for both", "node-a for six"}},
		},
		{
			"be the order of the addresses another",
			[]plan.Served{sharer("both", 1, both, "node-a"), sharer("htob", 1, addrs("2001:db8::5", "10.0.0.1"), "node-a")},
			map[string][]string{"10.0.0.1": {"node-b for both", "node-b for htob"}, "2001:db8::5": {"node-b for both", "node-b for htob"}},
		},
		{
			"who shares with one that shares is one of them",
			[]plan.Served{sharer("x", 1, addrs("10.0.0.2", "2001:db8::5"), "node-a"), sharer("y", 2, both, "node-a"), sharer("z", 3, four, "node-a")},
			map[string][]string{"10.0.0.2": {"node-b for x"}, "2001:db8::5": {"node-b for x", "node-b for y"}, "10.0.0.1": {"node-b for y", "node-b for z"}},
		},
		{
			"one that nobody serves is not announced, and still the oldest",
			[]plan.Served{sharer("both", 1, both), sharer("six", 2, six, "node-a")},
			map[string][]string{"2001:db8::5": {"node-b for six"}},
		},
		{
			"where traffic stays local, on a node that serves all of them",
			[]plan.Served{local(sharer("tcp", 1, four, "node-b", "node-c")), local(sharer("udp", 2, four, "node-a", "node-c"))},
			map[string][]string{"10.0.0.1": {"node-c for tcp", "node-c for udp"}},
		},
		{
			"or the most of them",
			[]plan.Served{local(sharer("tcp", 1, four, "node-a")), local(sharer("udp", 2, four, "node-a")), local(sharer("web", 3, four, "node-b"))},
			map[string][]string{"10.0.0.1": {"node-a for tcp", "node-a for udp"}},
		},
		{
			"and else on the one that ranks first",
			[]plan.Served{local(sharer("tcp", 1, four, "node-a")), local(sharer("udp", 2, four, "node-b"))},
			map[string][]string{"10.0.0.1": {"node-b for udp"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, announced(ordinary().view, c.group)); diff != "" {
				t.Errorf("announced (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAServiceThatTheOwnerCannotServeSaysSo(t *testing.T) {
	w := ordinary()
	group := []plan.Served{local(sharer("tcp", 1, addrs("10.0.0.1"), "node-a")), local(sharer("udp", 2, addrs("10.0.0.1"), "node-b"))}
	want := "notOwner: node node-b announces the address for services that share it, and is no candidate for this one"
	for _, n := range abc {
		v := w.view
		v.Node = n
		if got := inWords(plan.New(v).Layer2Shared(group)[0]); got != want {
			t.Errorf("%s: %q, want %q", n, got, want)
		}
	}
}

// randomGroup is a group of services that share few addresses in a random cluster.
func randomGroup(r *rand.Rand, c cluster) []plan.Served {
	pool := addrs("10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2")
	var group []plan.Served
	for i := range 1 + r.IntN(4) {
		svc := randomService(r, i)
		svc.Held, svc.Created = nil, time.Unix(int64(r.IntN(3)), 0)
		for _, p := range r.Perm(len(pool))[:1+r.IntN(2)] {
			svc.Held = append(svc.Held, pool[p])
		}
		s := plan.Served{Service: svc}
		for range r.IntN(4) {
			s.Endpoints = append(s.Endpoints, lb.Endpoint{Node: pick(r, c.view.Nodes...).Name, Serving: r.IntN(3) > 0})
		}
		group = append(group, s)
	}
	return group
}

func TestNoTwoNodesAnnounceAnAddress(t *testing.T) {
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 4))
		c := randomCluster(r)
		c.view.Config.Pools[0].Ranges = append(c.view.Config.Pools[0].Ranges, ranged("2001:db8::", "2001:db8::ff"))
		group := randomGroup(r, c)
		owner := map[netip.Addr]lb.NodeName{}
		for _, n := range c.view.Nodes {
			for _, v := range c.on(n.Name).Layer2Shared(group) {
				for _, a := range v.Announcements {
					if other, taken := owner[a.Address]; taken && other != n.Name {
						t.Errorf("seed %d: %s is announced by %s and %s", seed, a.Address, other, n.Name)
					}
					owner[a.Address] = n.Name
				}
			}
		}
		shuffled := shuffle(r, group)
		for i, v := range c.on(c.view.Nodes[0].Name).Layer2Shared(shuffled) {
			before := slices.IndexFunc(group, func(s plan.Served) bool { return s.Service.Key == shuffled[i].Service.Key })
			if want := c.on(c.view.Nodes[0].Name).Layer2Shared(group)[before]; !v.Equal(want) {
				t.Errorf("seed %d: %s: %+v, in another order %+v", seed, shuffled[i].Service.Key, want, v)
			}
		}
	}
}

func TestGroups(t *testing.T) {
	h := plan.NewHolders()
	name := func(n string) lb.ServiceKey { return lb.ServiceKey{Namespace: "default", Name: n} }
	check := func(of string, want ...string) {
		t.Helper()
		var got []string
		for _, k := range h.Group(name(of)) {
			got = append(got, k.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("group of %s: %v, want %v", of, got, want)
		}
	}
	check("nobody", "nobody")
	h.Set(name("x"), addrs("10.0.0.1", "2001:db8::1"))
	h.Set(name("y"), addrs("2001:db8::1", "10.0.0.2"))
	h.Set(name("z"), addrs("10.0.0.2"))
	h.Set(name("alone"), addrs("10.0.0.3"))
	check("z", "x", "y", "z")
	check("alone", "alone")
	h.Set(name("y"), addrs("10.0.0.2"))
	check("x", "x")
	check("y", "y", "z")
	h.Set(name("z"), nil)
	check("y", "y")
	check("z", "z")
	if at := h.At(netip.MustParseAddr("10.0.0.2")); !slices.Equal(at, []lb.ServiceKey{name("y")}) {
		t.Errorf("10.0.0.2 is held by %v, want y", at)
	}
	if at := h.At(netip.MustParseAddr("10.0.0.9")); at != nil {
		t.Errorf("10.0.0.9 is held by %v", at)
	}
}

// TestGroupsAgainstAScan compares groups with what a look at all services finds.
func TestGroupsAgainstAScan(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h, held := plan.NewHolders(), map[lb.ServiceKey][]netip.Addr{}
	for range 2000 {
		key := lb.ServiceKey{Name: fmt.Sprint(r.IntN(12))}
		held[key] = nil
		for range r.IntN(3) {
			held[key] = append(held[key], netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(12))}))
		}
		h.Set(key, held[key])
		of := lb.ServiceKey{Name: fmt.Sprint(r.IntN(12))}
		if diff := cmp.Diff(scan(held, of), h.Group(of)); diff != "" {
			t.Fatalf("group of %s (-want +got):\n%s", of, diff)
		}
	}
}

func scan(held map[lb.ServiceKey][]netip.Addr, of lb.ServiceKey) []lb.ServiceKey {
	group := map[lb.ServiceKey]bool{of: true}
	for grown := true; grown; {
		grown = false
		for k, addrs := range held {
			for m := range group {
				meets := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(held[m], a) })
				if meets && !group[k] {
					group[k], grown = true, true
				}
			}
		}
	}
	var out []lb.ServiceKey
	for k := range group {
		out = append(out, k)
	}
	slices.SortFunc(out, lb.ServiceKey.Compare)
	return out
}
