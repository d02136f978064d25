package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

// Each row is a change to a world in which an L2Advertisement and a BGPAdvertisement select pool blue,
// and why nobody announces the service then: for certain, if endpoints do not matter.
func TestWhyNobodyAnnounces(t *testing.T) {
	noL2 := func(w *world) { w.view.Config.L2Advertisements = nil }
	noBGP := func(w *world) { w.view.Config.BGPAdvertisements = nil }
	for _, r := range []struct {
		name    string
		changes []func(*world)
		certain bool
		want    string
	}{
		{
			"nothing selects the pool",
			[]func(*world){noL2, noBGP},
			true,
			`noMatchingAdvertisement: neither an L2Advertisement nor a BGPAdvertisement selects pool "blue"`,
		},
		{
			"the address is in no pool",
			[]func(*world){func(w *world) { w.svc.Held = addrs("192.0.2.1") }},
			true,
			"noMatchingPool: 192.0.2.1 is in no pool",
		},
		{
			"nothing selects the service",
			[]func(*world){noBGP, func(w *world) {
				w.view.Config.L2Advertisements[0].ServiceSelectors = selecting("tier=gold")
			}},
			true,
			`noMatchingAdvertisement: no L2Advertisement that selects pool "blue" selects the service by its labels`,
		},
		{
			"no node is selected",
			[]func(*world){noBGP, func(w *world) { w.view.Config.L2Advertisements[0].Nodes = nil }},
			true,
			"noMatchingAdvertisement: the nodeSelectors of the advertisements select no node",
		},
		{
			"the service shares its address, and one advertisement selects by service",
			[]func(*world){noBGP, func(w *world) {
				w.svc.Request.HasSharingKey = true
				w.svc.Labels = map[string]string{"tier": "gold"}
				w.view.Config.L2Advertisements[0].ServiceSelectors = selecting("tier=gold")
			}},
			true,
			"sharedIPWithServiceSelector: a service with a sharing key cannot be announced by an advertisement with serviceSelectors",
		},
		{
			"every node is kept from it",
			[]func(*world){noBGP, func(w *world) {
				w.node("node-a").Excluded, w.node("node-b").NetworkUnavailable = true, true
				w.view.Speakers = []lb.NodeName{"node-a", "node-b"}
			}},
			true,
			"nodeLabeledExcludeBalancers: node-a: excluded by the label node.kubernetes.io/exclude-from-external-load-balancers, " +
				"node-b: the condition NetworkUnavailable is true, node-c: no speaker is alive",
		},
		{
			"no speaker is alive",
			[]func(*world){noL2, func(w *world) { w.view.Speakers = []lb.NodeName{} }},
			true,
			"noSpeaker: node-a, node-b, node-c: no speaker is alive",
		},
		{
			"no router is configured",
			[]func(*world){noL2, func(w *world) { w.view.Config.Peers = nil }},
			true,
			"noMatchingPeer: no BGPPeer that is meant has a session on node-a, node-b, node-c for the address's family",
		},
		{
			"advertisements contradict each other",
			[]func(*world){noL2, func(w *world) {
				w.advertiseRoutes(lb.BGPAdvertisement{Attributes: lb.Attributes{LocalPref: 1}}, lb.BGPAdvertisement{Attributes: lb.Attributes{LocalPref: 2}})
			}},
			true,
			"conflictingAdvertisements: BGPAdvertisements ad-0 and ad-1 give 10.0.0.1/32 different localPrefs",
		},
		{
			"of one protocol not even the pool is selected: it is not meant",
			[]func(*world){noBGP, func(w *world) { w.endpoints = nil }},
			false,
			"noEndpoints: no endpoint can serve",
		},
		{
			"there is no endpoint",
			[]func(*world){func(w *world) { w.endpoints = nil }},
			false,
			"noEndpoints: no endpoint can serve",
		},
		{
			"there is none where traffic has to stay",
			[]func(*world){func(w *world) {
				w.svc.LocalTraffic = true
				w.node("node-a").Excluded = true
				w.endpoints = []lb.Endpoint{{Node: "node-a", Serving: true}}
			}},
			false,
			"noLocalEndpoints: traffic must stay local, and no endpoint on node-b, node-c can serve",
		},
		{
			"nothing that can be seen from afar",
			[]func(*world){noBGP},
			false,
			`announceFailed: node "node-b" is to announce it and does not: no link is usable, or its speaker is not at work`,
		},
		{
			"perhaps the links",
			[]func(*world){noBGP, func(w *world) { w.view.Config.L2Advertisements[0].Links = []string{"eth8", "eth9"} }},
			false,
			`announceFailed: node "node-b" is to announce it and does not: none of the permitted links eth8, eth9 is usable, or its speaker is not at work`,
		},
		{
			"each protocol has its own reason",
			[]func(*world){func(w *world) { w.view.Config.Peers = nil }},
			false,
			`announceFailed: layer 2: node "node-b" is to announce it and does not: no link is usable, or its speaker is not at work; ` +
				"BGP: no BGPPeer that is meant has a session on node-a, node-b, node-c for the address's family",
		},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := advertised()
			for _, change := range r.changes {
				change(w)
			}
			p := plan.New(w.view)
			a := p.Nobody(w.svc, w.endpoints)
			if diff := cmp.Diff(r.want, string(a.Reason)+": "+a.Why); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
			want := plan.Absence{}
			if r.certain {
				want = a
			}
			if diff := cmp.Diff(want, p.Precluded(w.svc)); diff != "" {
				t.Errorf("whatever the endpoints are (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfManyNodesTheFirstAreNamed(t *testing.T) {
	got := plan.Names([]lb.NodeName{"a", "b", "c", "d", "e", "f", "g"})
	if want := "a, b, c, d, e and 2 more"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
