package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

// advertised is the ordinary world seen by node-a, with two routers and an advertisement
// of the pool to both: tor over IPv4, spine over IPv6.
func advertised() *world {
	w := ordinary()
	w.view.Node = "node-a"
	w.view.Config.Peers = []lb.Peer{
		{Name: "spine", Nodes: abc, Address: netip.MustParseAddr("fd00::1")},
		{Name: "tor", Nodes: abc, Address: netip.MustParseAddr("192.0.2.1")},
	}
	w.advertiseRoutes(lb.BGPAdvertisement{})
	return w
}

// advertiseRoutes replaces the BGP advertisements; of lengths that are not given, those
// of single addresses count.
func (w *world) advertiseRoutes(ads ...lb.BGPAdvertisement) {
	for i := range ads {
		ad := &ads[i]
		ad.Name = fmt.Sprintf("ad-%d", i)
		if ad.Pools == nil {
			ad.Pools = []lb.PoolName{"blue"}
		}
		if ad.Nodes == nil {
			ad.Nodes = abc
		}
		if ad.AggregationLength == 0 {
			ad.AggregationLength = 32
		}
		if ad.AggregationLengthV6 == 0 {
			ad.AggregationLengthV6 = 128
		}
	}
	w.view.Config.BGPAdvertisements = ads
}

func (w *world) bgp() lb.BGPVerdict { return plan.New(w.view).BGP(w.svc, w.endpoints) }

func bgpInWords(v lb.BGPVerdict) string {
	var out []string
	for _, o := range v.Offers {
		var peers []string
		for _, p := range o.Peers {
			peers = append(peers, string(p))
		}
		out = append(out, routeInWords(o.Route)+" to "+strings.Join(peers, ","))
	}
	if v.Reason != lb.Announced {
		out = append([]string{string(v.Reason) + ": " + v.Why}, out...)
	}
	return strings.Join(out, "; ")
}

func routeInWords(r lb.Route) string {
	out := r.Prefix.String()
	if r.LocalPref != 0 {
		out += fmt.Sprintf(" pref %d", r.LocalPref)
	}
	if r.MED != nil {
		out += fmt.Sprintf(" med %d", *r.MED)
	}
	if r.Prepend != 0 {
		out += fmt.Sprintf(" prepend %d", r.Prepend)
	}
	for _, c := range r.Communities {
		out += fmt.Sprintf(" %d:%d", c>>16, c&0xffff)
	}
	for _, c := range r.LargeCommunities {
		out += fmt.Sprintf(" large:%d:%d:%d", c.Global, c.Local1, c.Local2)
	}
	return out
}

func TestWhatIsOfferedAndWhyNot(t *testing.T) {
	pref := func(n uint32) lb.Attributes { return lb.Attributes{LocalPref: n} }
	front, back := selecting("tier=front"), selecting("tier=back")
	for _, tc := range []struct {
		name   string
		change func(*world)
		want   string
	}{
		{"an address is offered to the peers whose session carries its family", func(*world) {}, "10.0.0.1/32 to tor"},
		{"both addresses are, each to its own", func(w *world) { w.svc.Held = addrs("10.0.0.1", "2001:db8::1") }, "10.0.0.1/32 to tor; 2001:db8::1/128 to spine"},
		{"a dual-stack session carries both", func(w *world) { w.view.Config.Peers[0].DualStack = true }, "10.0.0.1/32 to spine,tor"},
		{"so does an unnumbered one", func(w *world) {
			w.view.Config.Peers[1].Address, w.view.Config.Peers[1].Interface = netip.Addr{}, "eth1"
			w.svc.Held = addrs("2001:db8::1")
		}, "2001:db8::1/128 to spine,tor"},
		{"aggregates are offered in the place of addresses", func(w *world) {
			w.svc.Held = addrs("10.0.0.1", "2001:db8::1")
			w.advertiseRoutes(lb.BGPAdvertisement{AggregationLength: 24, AggregationLengthV6: 64})
		}, "10.0.0.0/24 to tor; 2001:db8::/64 to spine"},
		{"several advertisements offer several routes", func(w *world) {
			w.advertiseRoutes(lb.BGPAdvertisement{Attributes: pref(100)}, lb.BGPAdvertisement{AggregationLength: 24, Attributes: pref(50)})
		}, "10.0.0.0/24 pref 50 to tor; 10.0.0.1/32 pref 100 to tor"},
		{"only the peers that are named are offered it", func(w *world) {
			w.view.Config.Peers[0].DualStack = true
			w.advertiseRoutes(lb.BGPAdvertisement{Peers: []lb.PeerName{"spine"}})
		}, "10.0.0.1/32 to spine"},
		{"no node is elected: another with an endpoint changes nothing", func(w *world) { w.endpoints = []lb.Endpoint{{Node: "node-c", Serving: true}} }, "10.0.0.1/32 to tor"},

		{"without an address", func(w *world) { w.svc.Held = nil }, "noIPAllocated: the service holds no address"},
		{"with an address in no pool", func(w *world) { w.svc.Held = addrs("192.0.2.1") }, "noMatchingPool: 192.0.2.1 is in no pool"},
		{
			"without an advertisement", func(w *world) { w.advertiseRoutes() },
			"notOwner: no BGPAdvertisement selects the pool and this node",
		},
		{
			"with one of another pool", func(w *world) { w.advertiseRoutes(lb.BGPAdvertisement{Pools: []lb.PoolName{"green"}}) },
			"notOwner: no BGPAdvertisement selects the pool and this node",
		},
		{
			"with one for other nodes", func(w *world) { w.advertiseRoutes(lb.BGPAdvertisement{Nodes: abc[1:]}) },
			"notOwner: no BGPAdvertisement selects the pool and this node",
		},
		{
			"with one for other services", func(w *world) { w.advertiseRoutes(lb.BGPAdvertisement{ServiceSelectors: back}) },
			"noMatchingAdvertisement: no BGPAdvertisement selects pool, service and this node",
		},
		{"with two of which one is for this service", func(w *world) {
			w.advertiseRoutes(lb.BGPAdvertisement{ServiceSelectors: back, Attributes: pref(1)}, lb.BGPAdvertisement{ServiceSelectors: front, Attributes: pref(2)})
		}, "10.0.0.1/32 pref 2 to tor"},
		{"with two that contradict each other", func(w *world) {
			w.advertiseRoutes(lb.BGPAdvertisement{Attributes: pref(1)}, lb.BGPAdvertisement{ServiceSelectors: front, Attributes: pref(2)})
		}, "conflictingAdvertisements: BGPAdvertisements ad-0 and ad-1 give 10.0.0.1/32 different localPrefs"},
		{"with two that differ in communities alone", func(w *world) {
			w.advertiseRoutes(lb.BGPAdvertisement{Attributes: pref(1)}, lb.BGPAdvertisement{Attributes: lb.Attributes{LocalPref: 1, Communities: []lb.Community{65536}}})
		}, "10.0.0.1/32 pref 1 to tor; 10.0.0.1/32 pref 1 1:0 to tor"},
		{"with two that contradict each other for other peers", func(w *world) {
			w.view.Config.Peers[0].DualStack = true
			w.advertiseRoutes(lb.BGPAdvertisement{Attributes: pref(1), Peers: []lb.PeerName{"spine"}}, lb.BGPAdvertisement{Attributes: pref(2), Peers: []lb.PeerName{"tor"}})
		}, "10.0.0.1/32 pref 1 to spine; 10.0.0.1/32 pref 2 to tor"},
		{
			"while the node's network is unavailable", func(w *world) { w.node("node-a").NetworkUnavailable = true },
			"nodeNetworkUnavailable: the node's condition NetworkUnavailable is true",
		},
		{
			"while the node is excluded", func(w *world) { w.node("node-a").Excluded = true },
			"nodeLabeledExcludeBalancers: the node's label excludes it",
		},
		{"while another node is excluded", func(w *world) { w.node("node-b").Excluded = true }, "10.0.0.1/32 to tor"},
		{"while the node is excluded and that is to be ignored", func(w *world) {
			w.node("node-a").Excluded, w.view.IgnoreExcludeLabel = true, true
		}, "10.0.0.1/32 to tor"},
		{"where traffic stays local, without an endpoint here", func(w *world) { w.svc.LocalTraffic = true }, "noLocalEndpoints: traffic must stay local, and no endpoint on this node can serve"},
		{"where traffic stays local, with one here that cannot serve", func(w *world) {
			w.svc.LocalTraffic, w.endpoints = true, []lb.Endpoint{{Node: "node-a"}}
		}, "noLocalEndpoints: traffic must stay local, and no endpoint on this node can serve"},
		{"where traffic stays local, with one here", func(w *world) {
			w.svc.LocalTraffic, w.endpoints = true, []lb.Endpoint{{Node: "node-a", Serving: true}}
		}, "10.0.0.1/32 to tor"},
		{"without an endpoint that can serve", func(w *world) { w.endpoints[0].Serving = false }, "noEndpoints: no endpoint can serve"},
		{"without a peer", func(w *world) { w.view.Config.Peers = nil }, noPeer},
		{"without a session on this node", func(w *world) { w.view.Config.Peers[1].Nodes = abc[1:] }, noPeer},
		{"with a peer that does not exist", func(w *world) { w.advertiseRoutes(lb.BGPAdvertisement{Peers: []lb.PeerName{"none"}}) }, noPeer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := advertised()
			tc.change(w)
			if got := bgpInWords(w.bgp()); got != tc.want {
				t.Errorf("verdict %q, want %q", got, tc.want)
			}
		})
	}
}

const noPeer = "noMatchingPeer: no BGPPeer that is meant has a session on this node for the address's family"

func TestANodeThatDrainsOffersItsRoutesAsWaysToLeave(t *testing.T) {
	w := advertised()
	w.view.Draining = true
	w.advertiseRoutes(lb.BGPAdvertisement{Attributes: lb.Attributes{Communities: []lb.Community{1<<16 | 2}}})
	if got, want := bgpInWords(w.bgp()), "10.0.0.1/32 1:2 to tor"; got != want {
		t.Errorf("before it is excluded: %q, want %q", got, want)
	}
	w.node("node-a").Excluded = true
	why := "nodeLabeledExcludeBalancers: the node's label excludes it: its routes are withdrawn when routers had time to turn to others"
	if got, want := bgpInWords(w.bgp()), why+"; 10.0.0.1/32 1:2 65535:0 to tor"; got != want {
		t.Errorf("while it drains: %q, want %q", got, want)
	}
	if got := w.view.Config.BGPAdvertisements[0].Attributes.Communities; !slices.Equal(got, []lb.Community{1<<16 | 2}) {
		t.Errorf("the advertisement now has the communities %v", got)
	}
	w.node("node-a").NetworkUnavailable = true
	if got, want := bgpInWords(w.bgp()), "nodeNetworkUnavailable: the node's condition NetworkUnavailable is true"; got != want {
		t.Errorf("once its network is gone: %q, want %q", got, want)
	}
}

func TestTheVerdictNamesAllPeersThatAreOfferedSomething(t *testing.T) {
	w := advertised()
	w.svc.Held = addrs("10.0.0.1", "2001:db8::1")
	if diff := cmp.Diff([]lb.PeerName{"spine", "tor"}, w.bgp().Peers()); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
}

func TestSessionsAreThoseOfThePeersThatSelectTheNode(t *testing.T) {
	w := advertised()
	w.view.Config.Peers[0].Nodes = abc[1:]
	peers := plan.New(w.view).Peers()
	if len(peers) != 1 || peers[0].Name != "tor" {
		t.Errorf("peers %v, want tor alone", peers)
	}
	sessions := plan.NewRoutes().Sessions(peers)
	if len(sessions) != 1 || sessions[0].Peer.Name != "tor" || len(sessions[0].Routes) != 0 {
		t.Errorf("sessions %v, want one with tor that offers nothing", sessions)
	}
}
