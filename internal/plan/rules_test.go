package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

// rule is a change to the ordinary world, and what the three nodes then decide.
type rule struct {
	name   string
	change func(*world)
	want   []string
}

func check(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			w := ordinary()
			r.change(w)
			if diff := cmp.Diff(r.want, w.verdicts()); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
		})
	}
}

// all says that all three nodes decide the same.
func all(verdict string) []string {
	return []string{"node-a " + verdict, "node-b " + verdict, "node-c " + verdict}
}

// owned says that one node announces 10.0.0.1 and the others know it.
func owned(by string) []string {
	out := all("notOwner: node " + by + " announces")
	out[by[len(by)-1]-'a'] = by + " announces 10.0.0.1 on all links"
	return out
}

func TestWhoAnnouncesAtAll(t *testing.T) {
	check(t, []rule{
		{"the node that ranks first announces", func(*world) {}, owned("node-b")},
		{
			"a service without an address is announced by nobody", func(w *world) { w.svc.Held = nil },
			all("noIPAllocated: the service holds no address"),
		},
		{
			"a service without endpoints is announced by nobody", func(w *world) { w.endpoints = nil },
			all("notOwner: no endpoint can serve"),
		},
		{
			"endpoints that cannot serve do not count", func(w *world) { w.endpoints[0].Serving = false },
			all("notOwner: no endpoint can serve"),
		},
		{
			"one endpoint that can serve is enough", func(w *world) { w.endpoints = append(w.endpoints, lb.Endpoint{Node: "node-a"}) },
			owned("node-b"),
		},
		{
			"an endpoint may run on no node", func(w *world) { w.endpoints[0].Node = "" },
			owned("node-b"),
		},
		{
			"an address in no pool is announced by nobody", func(w *world) { w.svc.Held = addrs("192.0.2.1") },
			all("noMatchingPool: 192.0.2.1 is in no pool"),
		},
		{"an address in no pool is, while its pool cannot be read", func(w *world) {
			w.view.Config.Pools, w.view.Config.PoolsIncomplete = nil, true
		}, owned("node-b")},
		{"but not when it is not known which pool that was", func(w *world) {
			w.view.Config.Pools, w.view.Config.PoolsIncomplete, w.svc.HeldFrom = nil, true, ""
		}, all("noMatchingPool: 10.0.0.1 is in no pool")},
		{
			"the pool that has the address counts, and not the one that it came from", func(w *world) { w.svc.HeldFrom = "gone" },
			owned("node-b"),
		},
		{
			"without an advertisement nobody announces", func(w *world) { w.view.Config.L2Advertisements = nil },
			all("noMatchingAdvertisement: no L2Advertisement selects pool, service and this node"),
		},
		{"an advertisement of another pool is none", func(w *world) {
			w.view.Config.L2Advertisements[0].Pools = []lb.PoolName{"green"}
		}, all("noMatchingAdvertisement: no L2Advertisement selects pool, service and this node")},
		{
			"the first address decides for both families", func(w *world) { w.svc.Held = addrs("10.0.0.1", "2001:db8::1") },
			[]string{
				"node-a notOwner: node node-b announces",
				"node-b announces 10.0.0.1 on all links and 2001:db8::1 on all links",
				"node-c notOwner: node node-b announces",
			},
		},
	})
}

func TestCandidates(t *testing.T) {
	check(t, []rule{
		{
			"a node whose network is unavailable is none", func(w *world) { w.node("node-b").NetworkUnavailable = true },
			owned("node-a"),
		},
		{
			"a node with the exclude label is none", func(w *world) { w.node("node-b").Excluded = true },
			owned("node-a"),
		},
		{"unless the label is to be ignored", func(w *world) {
			w.node("node-b").Excluded, w.view.IgnoreExcludeLabel = true, true
		}, owned("node-b")},
		{
			"a node without a live speaker is none", func(w *world) { w.view.Speakers = []lb.NodeName{"node-a", "node-c"} },
			owned("node-a"),
		},
		{
			"without gossip every node counts as having a speaker", func(w *world) { w.view.Speakers = nil },
			owned("node-b"),
		},
		{
			"a member of the ring without a Node is none", func(w *world) { w.view.Nodes = w.view.Nodes[1:2] },
			owned("node-b"),
		},
		{
			"where gossip knows of no speaker there is none", func(w *world) { w.view.Speakers = []lb.NodeName{} },
			all("notOwner: no node is a candidate"),
		},
		{"a node that no advertisement covers is none, and says so", func(w *world) {
			w.advertise(lb.L2Advertisement{Nodes: []lb.NodeName{"node-a", "node-c"}})
		}, []string{
			"node-a announces 10.0.0.1 on all links",
			"node-b noMatchingAdvertisement: no L2Advertisement selects pool, service and this node",
			"node-c notOwner: node node-a announces",
		}},
		{"the nodes of all advertisements are", func(w *world) {
			w.advertise(lb.L2Advertisement{Nodes: []lb.NodeName{"node-c"}}, lb.L2Advertisement{Nodes: []lb.NodeName{"node-a"}})
		}, []string{
			"node-a announces 10.0.0.1 on all links",
			"node-b noMatchingAdvertisement: no L2Advertisement selects pool, service and this node",
			"node-c notOwner: node node-a announces",
		}},
		{
			"where traffic stays local, only nodes with an endpoint are", func(w *world) { w.svc.LocalTraffic = true },
			owned("node-c"),
		},
		{"where traffic stays local, an endpoint that cannot serve makes none", func(w *world) {
			w.svc.LocalTraffic = true
			w.endpoints = append(w.endpoints, lb.Endpoint{Node: "node-b"})
		}, owned("node-c")},
		{"where traffic stays local, the best of the nodes with endpoints wins", func(w *world) {
			w.svc.LocalTraffic = true
			w.endpoints = append(w.endpoints, lb.Endpoint{Node: "node-a", Serving: true})
		}, owned("node-a")},
		{"where traffic stays local and runs on no node, there is none", func(w *world) {
			w.svc.LocalTraffic = true
			w.endpoints[0].Node = ""
		}, all("notOwner: no node is a candidate")},
		{"where traffic stays local and the endpoints are not where the advertisement is, there is none", func(w *world) {
			w.svc.LocalTraffic = true
			w.advertise(lb.L2Advertisement{Nodes: []lb.NodeName{"node-a", "node-b"}})
		}, []string{
			"node-a notOwner: no node is a candidate",
			"node-b notOwner: no node is a candidate",
			"node-c noMatchingAdvertisement: no L2Advertisement selects pool, service and this node",
		}},
	})
}

func TestPreferredNodes(t *testing.T) {
	prefer := func(weight int, nodes ...lb.NodeName) lb.Preference {
		return lb.Preference{Weight: weight, Nodes: nodes}
	}
	check(t, []rule{
		{"a preferred node wins", func(w *world) {
			w.advertise(lb.L2Advertisement{Preferences: []lb.Preference{prefer(1, "node-c")}})
		}, owned("node-c")},
		{"the higher weight wins", func(w *world) {
			w.advertise(lb.L2Advertisement{Preferences: []lb.Preference{prefer(50, "node-a"), prefer(60, "node-c")}})
		}, owned("node-c")},
		{"weights add up", func(w *world) {
			w.advertise(lb.L2Advertisement{Preferences: []lb.Preference{prefer(50, "node-a"), prefer(60, "node-c"), prefer(11, "node-a", "node-b")}})
		}, owned("node-a")},
		{"weights add up over advertisements", func(w *world) {
			w.advertise(
				lb.L2Advertisement{Preferences: []lb.Preference{prefer(60, "node-c")}},
				lb.L2Advertisement{Preferences: []lb.Preference{prefer(50, "node-a")}},
				lb.L2Advertisement{Preferences: []lb.Preference{prefer(50, "node-a")}},
			)
		}, owned("node-a")},
		{"equal scores are ranked as without", func(w *world) {
			w.advertise(lb.L2Advertisement{Preferences: []lb.Preference{prefer(9, abc...)}})
		}, owned("node-b")},
		{"a preference makes no candidate", func(w *world) {
			w.node("node-c").Excluded = true
			w.advertise(lb.L2Advertisement{Preferences: []lb.Preference{prefer(100, "node-c")}})
		}, owned("node-b")},
		{"an advertisement for other services does not score", func(w *world) {
			w.advertise(lb.L2Advertisement{}, lb.L2Advertisement{ServiceSelectors: selecting("tier=back"), Preferences: []lb.Preference{prefer(100, "node-c")}})
		}, owned("node-b")},
	})
}

func TestServiceSelectors(t *testing.T) {
	nothing := "noMatchingAdvertisement: no L2Advertisement selects pool, service and this node"
	ambiguous := "sharedIPWithServiceSelector: a service with a sharing key cannot be announced by an advertisement with serviceSelectors"
	check(t, []rule{
		{"a service with the labels is announced", func(w *world) {
			w.advertise(lb.L2Advertisement{ServiceSelectors: selecting("tier=back", "tier=front")})
		}, owned("node-b")},
		{"one without is not", func(w *world) {
			w.advertise(lb.L2Advertisement{ServiceSelectors: selecting("tier=back")})
		}, all(nothing)},
		{"an advertisement for other services brings no nodes", func(w *world) {
			w.advertise(lb.L2Advertisement{ServiceSelectors: selecting("tier=back")}, lb.L2Advertisement{Nodes: []lb.NodeName{"node-a"}})
		}, []string{"node-a announces 10.0.0.1 on all links", "node-b " + nothing, "node-c " + nothing}},
		{"a service with a sharing key is not selected by its labels", func(w *world) {
			w.svc.Request.SharingKey, w.svc.Request.HasSharingKey = "key", true
			w.advertise(lb.L2Advertisement{ServiceSelectors: selecting("tier=front")})
		}, all(ambiguous)},
		{"be the key empty", func(w *world) {
			w.svc.Request.HasSharingKey = true
			w.advertise(lb.L2Advertisement{ServiceSelectors: selecting("tier=front")})
		}, all(ambiguous)},
		{"even beside an advertisement without service selectors", func(w *world) {
			w.svc.Request.HasSharingKey = true
			w.advertise(lb.L2Advertisement{}, lb.L2Advertisement{ServiceSelectors: selecting("tier=front")})
		}, all(ambiguous)},
		{"an advertisement for other services does not stand in the way of sharing", func(w *world) {
			w.svc.Request.HasSharingKey = true
			w.advertise(lb.L2Advertisement{}, lb.L2Advertisement{ServiceSelectors: selecting("tier=back")})
		}, owned("node-b")},
	})
}

func TestLinks(t *testing.T) {
	on := func(verdict string) []string {
		return []string{"node-a notOwner: node node-b announces", "node-b " + verdict, "node-c notOwner: node node-b announces"}
	}
	failed := `announceFailed: none of the permitted links of node "node-b" is usable: `
	check(t, []rule{
		{"links are restricted to those permitted", func(w *world) {
			w.advertise(lb.L2Advertisement{Links: []string{"eth1"}})
		}, on("announces 10.0.0.1 on eth1")},
		{"several advertisements permit the links of any", func(w *world) {
			w.advertise(lb.L2Advertisement{Links: []string{"eth1"}}, lb.L2Advertisement{Links: []string{"eth0", "eth1"}})
		}, on("announces 10.0.0.1 on eth0,eth1")},
		{"one that permits all permits all", func(w *world) {
			w.advertise(lb.L2Advertisement{Links: []string{"eth1"}}, lb.L2Advertisement{})
		}, on("announces 10.0.0.1 on all links")},
		{"an advertisement for other nodes permits nothing here", func(w *world) {
			w.advertise(lb.L2Advertisement{Links: []string{"eth1"}}, lb.L2Advertisement{Nodes: []lb.NodeName{"node-a"}})
		}, on("announces 10.0.0.1 on eth1")},
		{"an address is announced only where its family can be", func(w *world) {
			w.svc.Held = addrs("10.0.0.1", "2001:db8::1")
			w.advertise(lb.L2Advertisement{Links: []string{"eth1"}})
		}, on("announces 10.0.0.1 on eth1")},
		{"a permitted link that does not exist fails", func(w *world) {
			w.advertise(lb.L2Advertisement{Links: []string{"eth9"}})
		}, on(failed + "eth9 does not exist")},
		{"a permitted link that is unusable fails, and says why", func(w *world) {
			w.advertise(lb.L2Advertisement{Links: []string{"eth2", "eth9"}})
		}, on(failed + "eth2 is unusable (no carrier), eth9 does not exist")},
		{"a node without a permitted link leaves the address to one that has it", func(w *world) {
			w.view.Unlinked = map[lb.NodeName][]string{"node-b": {"eth0", "eth1"}}
			w.advertise(lb.L2Advertisement{Links: []string{"eth1"}})
		}, []string{"node-a announces 10.0.0.1 on eth1", "node-b notOwner: node node-a announces", "node-c notOwner: node node-a announces"}},
		{"one of them is enough", func(w *world) {
			w.view.Unlinked = map[lb.NodeName][]string{"node-b": {"eth1"}}
			w.advertise(lb.L2Advertisement{Links: []string{"eth0", "eth1"}})
		}, on("announces 10.0.0.1 on eth0,eth1")},
		{"and where all links are permitted, any", func(w *world) {
			w.view.Unlinked = map[lb.NodeName][]string{"node-b": {"eth1"}}
			w.advertise(lb.L2Advertisement{Links: []string{"eth1"}}, lb.L2Advertisement{})
		}, on("announces 10.0.0.1 on all links")},
		{"where no node has one, the first says so", func(w *world) {
			w.view.Unlinked = map[lb.NodeName][]string{"node-a": {"eth9"}, "node-b": {"eth9"}, "node-c": {"eth9"}}
			w.advertise(lb.L2Advertisement{Links: []string{"eth9"}})
		}, on(failed + "eth9 does not exist")},
		{
			"no link at all fails", func(w *world) { w.view.Links = nil },
			on(`announceFailed: node "node-b" has no usable link`),
		},
	})
}

func TestALinkThatCannotAnnounceTheFamilyFails(t *testing.T) {
	w := ordinary()
	w.svc.Held = addrs("2001:db8::1")
	w.view.Speakers = []lb.NodeName{"node-a"}
	w.advertise(lb.L2Advertisement{Links: []string{"eth1"}})
	want := `announceFailed: none of the permitted links of node "node-a" is usable: eth1 cannot announce this IP family`
	if got := inWords(w.seenBy("node-a")); got != want {
		t.Errorf("verdict %q, want %q", got, want)
	}
}

func TestUnlinkedAreTheLinksThatAdvertisementsNameAndThatCannotAnnounce(t *testing.T) {
	w := ordinary()
	w.advertise(lb.L2Advertisement{Links: []string{"eth9", "eth1"}}, lb.L2Advertisement{}, lb.L2Advertisement{Links: []string{"eth2", "eth9"}},
		lb.L2Advertisement{Links: []string{"eth7"}, Nodes: []lb.NodeName{"node-b"}})
	for node, want := range map[lb.NodeName][]string{"node-a": {"eth2", "eth9"}, "node-b": {"eth2", "eth7", "eth9"}} {
		if diff := cmp.Diff(want, plan.Unlinked(w.view.Config, node, w.view.Links)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", node, diff)
		}
	}
}

// The owner is reported by whoever knows it, so that it can be shown why this node is silent.
func TestAVerdictNamesTheOwnerAndTheLinks(t *testing.T) {
	w := ordinary()
	w.advertise(lb.L2Advertisement{Links: []string{"eth1", "eth9"}})
	for _, n := range abc {
		if v := w.seenBy(n); v.Owner != "node-b" {
			t.Errorf("%s names %q as the owner", n, v.Owner)
		}
	}
	if diff := cmp.Diff([]string{"eth1", "eth9"}, w.seenBy("node-b").Links); diff != "" {
		t.Errorf("permitted links (-want +got):\n%s", diff)
	}
}
