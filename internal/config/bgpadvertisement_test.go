package config_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

func TestBGPAdvertisements(t *testing.T) {
	pools := []v1beta1.IPAddressPool{
		with(pool("blue", "192.0.2.0/24"), labelled("net=office")),
		with(pool("green", "198.51.100.0/24"), labelled("net=dmz")),
		with(pool("broken", "nonsense"), labelled("net=dmz")),
	}
	nodes := []lb.Node{node("b", "zone=z1"), node("a", "zone=z1"), node("c", "zone=z2")}
	everything, everywhere := []lb.PoolName{"blue", "broken", "green"}, []lb.NodeName{"a", "b", "c"}
	single := func(a lb.BGPAdvertisement) lb.BGPAdvertisement {
		a.AggregationLength, a.AggregationLengthV6 = 32, 128
		return a
	}
	for name, tc := range map[string]struct {
		spec v1beta1.BGPAdvertisementSpec
		want lb.BGPAdvertisement
	}{
		"an empty one is about all pools, from all nodes, for all peers": {
			v1beta1.BGPAdvertisementSpec{},
			single(lb.BGPAdvertisement{Pools: everything, Nodes: everywhere}),
		},
		"pools are named and selected, valid or not": {
			v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"later"}, IPAddressPoolSelectors: selecting("net=dmz")},
			single(lb.BGPAdvertisement{Pools: []lb.PoolName{"broken", "green"}, Nodes: everywhere}),
		},
		"nodes are selected": {
			v1beta1.BGPAdvertisementSpec{NodeSelectors: selecting("zone=z1")},
			single(lb.BGPAdvertisement{Pools: everything, Nodes: []lb.NodeName{"a", "b"}}),
		},
		"peers are named, whether or not they exist": {
			v1beta1.BGPAdvertisementSpec{Peers: []string{"tor-b", "tor-a"}},
			single(lb.BGPAdvertisement{Pools: everything, Nodes: everywhere, Peers: []lb.PeerName{"tor-a", "tor-b"}}),
		},
		"routes have attributes": {
			v1beta1.BGPAdvertisementSpec{LocalPref: 100, MED: new(uint32(0)), ASPathPrepend: 10},
			single(lb.BGPAdvertisement{Pools: everything, Nodes: everywhere, Attributes: lb.Attributes{LocalPref: 100, MED: new(uint32(0)), Prepend: 10}}),
		},
		"and are as long as the pools allow": {
			v1beta1.BGPAdvertisementSpec{AggregationLength: new(int32(24)), AggregationLengthV6: new(int32(0))},
			lb.BGPAdvertisement{Pools: everything, Nodes: everywhere, AggregationLength: 24, AggregationLengthV6: 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := config.Parse(config.Objects{
				Pools: pools, Nodes: nodes, BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("wan", tc.spec)},
			})
			tc.want.Name = "wan"
			if diff := cmp.Diff([]lb.BGPAdvertisement{tc.want}, c.BGPAdvertisements, byValue); diff != "" {
				t.Errorf("advertisements (-want +got):\n%s", diff)
			}
		})
	}
}

func TestABGPAdvertisementRestrictsByTheLabelsOfServices(t *testing.T) {
	c, _ := config.Parse(config.Objects{BGPAdvertisements: []v1beta1.BGPAdvertisement{
		bgp("some", v1beta1.BGPAdvertisementSpec{ServiceSelectors: selecting("tier=front", "tier=edge"), AggregationLength: new(int32(32))}),
	}})
	for text, want := range map[string]bool{"tier=front": true, "tier=edge": true, "tier=back": false} {
		if got := c.BGPAdvertisements[0].ServiceSelectors.ContainsOrEmpty(labels(text)); got != want {
			t.Errorf("it is about a service with %s: %t, want %t", text, got, want)
		}
	}
}

func TestProblemsOfBGPAdvertisements(t *testing.T) {
	exclusive := "serviceSelectors and aggregationLength are mutually exclusive: with serviceSelectors, aggregationLength must be 32 and aggregationLengthV6 128"
	var many []string
	for i := range 64 {
		many = append(many, fmt.Sprintf("64512:%d", i))
	}
	for name, tc := range map[string]struct {
		spec           v1beta1.BGPAdvertisementSpec
		field, message string
	}{
		"a pool named twice":                 {v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"a", "a"}}, "spec.ipAddressPools[1]", `duplicate definition of "a"`},
		"a pool selector given twice":        {v1beta1.BGPAdvertisementSpec{IPAddressPoolSelectors: selecting("a=b", "a=b")}, "spec.ipAddressPoolSelectors[1]", `duplicate definition of selector "a=b"`},
		"a node selector given twice":        {v1beta1.BGPAdvertisementSpec{NodeSelectors: selecting("a=b", "a=b")}, "spec.nodeSelectors[1]", `duplicate definition of selector "a=b"`},
		"a service selector given twice":     {v1beta1.BGPAdvertisementSpec{ServiceSelectors: selecting("a=b", "a=b")}, "spec.serviceSelectors[1]", `duplicate definition of selector "a=b"`},
		"a peer named twice":                 {v1beta1.BGPAdvertisementSpec{Peers: []string{"a", "b", "a"}}, "spec.peers[2]", `duplicate definition of "a"`},
		"a community given twice":            {v1beta1.BGPAdvertisementSpec{Communities: []string{"1:1", "1:1"}}, "spec.communities[1]", `duplicate definition of "1:1"`},
		"more communities than may be":       {v1beta1.BGPAdvertisementSpec{Communities: many}, "spec.communities", "64 communities are more than the 63 that an advertisement may have"},
		"routes longer than addresses":       {v1beta1.BGPAdvertisementSpec{AggregationLength: new(int32(33))}, "spec.aggregationLength", "invalid aggregation length 33 for IPv4: it must be 1 to 32"},
		"a route to everything":              {v1beta1.BGPAdvertisementSpec{AggregationLength: new(int32(0))}, "spec.aggregationLength", "invalid aggregation length 0 for IPv4: it must be 1 to 32"},
		"IPv6 routes longer than addresses":  {v1beta1.BGPAdvertisementSpec{AggregationLengthV6: new(int32(129))}, "spec.aggregationLengthV6", "invalid aggregation length 129 for IPv6: it must be 0 to 128"},
		"services and aggregation":           {v1beta1.BGPAdvertisementSpec{ServiceSelectors: selecting("a=b"), AggregationLength: new(int32(31))}, "spec.serviceSelectors", exclusive},
		"services and aggregation of IPv6":   {v1beta1.BGPAdvertisementSpec{ServiceSelectors: selecting("a=b"), AggregationLengthV6: new(int32(64))}, "spec.serviceSelectors", exclusive},
		"a path longer than routers take":    {v1beta1.BGPAdvertisementSpec{ASPathPrepend: 11}, "spec.asPathPrepend", "11 is not between 0 and 10"},
		"a path of less than nothing":        {v1beta1.BGPAdvertisementSpec{ASPathPrepend: -1}, "spec.asPathPrepend", "-1 is not between 0 and 10"},
		"a selector that cannot be compiled": {v1beta1.BGPAdvertisementSpec{NodeSelectors: nonsense()}, "spec.nodeSelectors[0]", `invalid label selector: "Resembles" is not a valid label selector operator`},
	} {
		t.Run(name, func(t *testing.T) {
			wantConfig(t,
				config.Objects{BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("bad", tc.spec), bgp("good", v1beta1.BGPAdvertisementSpec{})}},
				lb.Config{BGPAdvertisements: []lb.BGPAdvertisement{{Name: "good", AggregationLength: 32, AggregationLengthV6: 128}}},
				problem("BGPAdvertisement bad", tc.field, tc.message))
		})
	}
}

// An advertisement does without the pools that it does not go with, and keeps the others.
func TestAdvertisementsAndPools(t *testing.T) {
	const localPref = "localPref 200 contradicts localPref 100 of advertisement old, which makes the same routes of pool %s"
	wide := pool("wide", "203.0.113.0/24")
	nodes := []lb.Node{node("a", "zone=z1"), node("b", "zone=z2")}
	preferring := func(localPref uint32, change ...func(*v1beta1.BGPAdvertisementSpec)) v1beta1.BGPAdvertisementSpec {
		s := v1beta1.BGPAdvertisementSpec{LocalPref: localPref}
		for _, c := range change {
			c(&s)
		}
		return s
	}
	length := func(n int32) func(*v1beta1.BGPAdvertisementSpec) {
		return func(s *v1beta1.BGPAdvertisementSpec) { s.AggregationLength = new(n) }
	}
	lengthV6 := func(n int32) func(*v1beta1.BGPAdvertisementSpec) {
		return func(s *v1beta1.BGPAdvertisementSpec) { s.AggregationLengthV6 = new(n) }
	}
	to := func(peers ...string) func(*v1beta1.BGPAdvertisementSpec) {
		return func(s *v1beta1.BGPAdvertisementSpec) { s.Peers = peers }
	}
	of := func(nodes ...string) func(*v1beta1.BGPAdvertisementSpec) {
		return func(s *v1beta1.BGPAdvertisementSpec) { s.NodeSelectors = selecting(nodes...) }
	}
	services := func(s *v1beta1.BGPAdvertisementSpec) { s.ServiceSelectors = selecting("tier=front") }

	for name, tc := range map[string]struct {
		addresses []string
		// old is an advertisement that was there before, new the one in question.
		old, new v1beta1.BGPAdvertisementSpec
		field    string
		message  string
	}{
		"a route wider than the pool": {
			[]string{"1.1.1.0/28"},
			preferring(0), preferring(0, length(26)),
			"spec.aggregationLength", "invalid aggregation length 26: prefix 28 in this pool is more specific than the aggregation length for addresses 1.1.1.0/28",
		},
		"a route as wide as the pool":         {[]string{"1.1.1.0/28"}, preferring(0), preferring(0, length(28)), "", ""},
		"a pool whose host bits do not count": {[]string{"1.1.1.5/28"}, preferring(0), preferring(0, length(28)), "", ""},
		"the widest part of a range counts":   {[]string{"1.1.1.1-1.1.1.130"}, preferring(0), preferring(0, length(26)), "", ""},
		"and is narrower than the range": {
			[]string{"1.1.1.1-1.1.1.130"},
			preferring(0), preferring(0, length(25)),
			"spec.aggregationLength", "invalid aggregation length 25: prefix 26 in this pool is more specific than the aggregation length for addresses 1.1.1.1-1.1.1.130",
		},
		"one narrow part is enough": {
			[]string{"1.1.1.0/24", "1.1.2.0/30"},
			preferring(0), preferring(0, length(24)),
			"spec.aggregationLength", "invalid aggregation length 24: prefix 30 in this pool is more specific than the aggregation length for addresses 1.1.2.0/30",
		},
		"an IPv6 route wider than the pool": {
			[]string{"1.1.1.0/28", "2001:db8::/120"},
			preferring(0), preferring(0, lengthV6(64)),
			"spec.aggregationLengthV6", "invalid aggregation length 64: prefix 120 in this pool is more specific than the aggregation length for addresses 2001:db8::/120",
		},
		"IPv6 lengths do not matter to IPv4": {[]string{"1.1.1.0/28"}, preferring(0), preferring(0, lengthV6(0)), "", ""},

		"two preferences of one route":                      {[]string{"1.1.1.0/24"}, preferring(100), preferring(200), "spec.localPref", fmt.Sprintf(localPref, "narrow")},
		"the same preference":                               {[]string{"1.1.1.0/24"}, preferring(100), preferring(100), "", ""},
		"of routes of different lengths":                    {[]string{"1.1.1.0/24"}, preferring(100), preferring(200, length(24)), "", ""},
		"of IPv6 routes of different lengths":               {[]string{"2001:db8::/64"}, preferring(100), preferring(200, lengthV6(64)), "", ""},
		"whose IPv6 lengths do not matter":                  {[]string{"1.1.1.0/24"}, preferring(100), preferring(200, lengthV6(64)), "spec.localPref", fmt.Sprintf(localPref, "narrow")},
		"of a pool of both, in one of which they are alike": {[]string{"1.1.1.0/24", "2001:db8::/64"}, preferring(100), preferring(200, length(24)), "spec.localPref", fmt.Sprintf(localPref, "narrow")},
		"of a pool of both, in neither":                     {[]string{"1.1.1.0/24", "2001:db8::/64"}, preferring(100), preferring(200, length(24), lengthV6(64)), "", ""},
		"to different peers":                                {[]string{"1.1.1.0/24"}, preferring(100, to("tor-a")), preferring(200, to("tor-b")), "", ""},
		"to a peer of all":                                  {[]string{"1.1.1.0/24"}, preferring(100), preferring(200, to("tor-b")), "spec.localPref", fmt.Sprintf(localPref, "narrow")},
		"to some of the same":                               {[]string{"1.1.1.0/24"}, preferring(100, to("tor-a", "tor-b")), preferring(200, to("tor-b", "tor-c")), "spec.localPref", fmt.Sprintf(localPref, "narrow")},
		"from different nodes":                              {[]string{"1.1.1.0/24"}, preferring(100, of("zone=z1")), preferring(200, of("zone=z2")), "", ""},
		"from one node of all":                              {[]string{"1.1.1.0/24"}, preferring(100), preferring(200, of("zone=z2")), "spec.localPref", fmt.Sprintf(localPref, "narrow")},
		"for some services, which time will tell":           {[]string{"1.1.1.0/24"}, preferring(100), preferring(200, services), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			// The other pool is the old advertisement's no matter, and fits the new one always.
			tc.old.IPAddressPools = []string{"narrow"}
			c, problems := config.Parse(config.Objects{
				Pools: []v1beta1.IPAddressPool{pool("narrow", tc.addresses...), wide},
				Nodes: nodes,
				BGPAdvertisements: []v1beta1.BGPAdvertisement{
					later(time.Hour, bgp("new", tc.new)), bgp("old", tc.old),
				},
			})
			wantPools, wantProblems := []lb.PoolName{"narrow", "wide"}, []lb.Problem(nil)
			if tc.field != "" {
				wantPools, wantProblems = []lb.PoolName{"wide"}, []lb.Problem{problem("BGPAdvertisement new", tc.field, tc.message)}
			}
			if diff := cmp.Diff(wantProblems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if len(c.BGPAdvertisements) != 2 {
				t.Fatalf("advertisements in force: %v", c.BGPAdvertisements)
			}
			if diff := cmp.Diff(wantPools, c.BGPAdvertisements[0].Pools); diff != "" {
				t.Errorf("pools of the new one (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]lb.PoolName{"narrow"}, c.BGPAdvertisements[1].Pools); diff != "" {
				t.Errorf("pools of the old one (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPoolThatIsNotValidGoesWithEverything(t *testing.T) {
	c, problems := config.Parse(config.Objects{
		Pools: []v1beta1.IPAddressPool{pool("broken", "1.1.1.0/28", "nonsense")},
		BGPAdvertisements: []v1beta1.BGPAdvertisement{
			bgp("a", v1beta1.BGPAdvertisementSpec{AggregationLength: new(int32(8)), LocalPref: 1}),
			bgp("b", v1beta1.BGPAdvertisementSpec{LocalPref: 2}),
		},
	})
	if len(problems) != 1 || problems[0].Object.Kind != "IPAddressPool" || len(c.BGPAdvertisements[0].Pools)+len(c.BGPAdvertisements[1].Pools) != 2 {
		t.Errorf("problems %v, advertisements %v: want the pool's problem alone, and both about it", problems, c.BGPAdvertisements)
	}
}

func TestEchoModeIsForIPv4Alone(t *testing.T) {
	const told = "the echo mode of bfd profile echoing is for IPv4 alone, and peer tor is offered the IPv6 addresses of pool v6"
	both := []v1beta1.IPAddressPool{pool("v4", "192.0.2.0/24"), pool("v6", "2001:db8::/64")}
	dualStack := spec(func(s *v1beta2.BGPPeerSpec) { s.DualStackAddressFamily = true })
	for name, tc := range map[string]struct {
		peer v1beta2.BGPPeer
		ad   v1beta1.BGPAdvertisementSpec
		told bool
	}{
		"an IPv6 peer is offered an IPv6 pool":  {peer("tor", "2001:db8::1"), v1beta1.BGPAdvertisementSpec{}, true},
		"a session of both families is":         {peer("tor", "192.0.2.1", dualStack), v1beta1.BGPAdvertisementSpec{}, true},
		"a session over IPv4 carries no IPv6":   {peer("tor", "192.0.2.1"), v1beta1.BGPAdvertisementSpec{}, false},
		"no IPv6 pool is advertised":            {peer("tor", "2001:db8::1"), v1beta1.BGPAdvertisementSpec{IPAddressPools: []string{"v4"}}, false},
		"the advertisement is for another peer": {peer("tor", "2001:db8::1"), v1beta1.BGPAdvertisementSpec{Peers: []string{"other"}}, false},
		"the advertisement is of another node":  {peer("tor", "2001:db8::1", from("zone=z1")), v1beta1.BGPAdvertisementSpec{NodeSelectors: selecting("zone=z2")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			watchedBy("echoing")(&tc.peer)
			c, problems := config.Parse(config.Objects{
				Pools: both, Nodes: []lb.Node{node("a", "zone=z1"), node("b", "zone=z2")},
				Peers: []v1beta2.BGPPeer{tc.peer, peer("with-ipv4-alone", "192.0.2.9", watchedBy("echoing"))}, BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("wan", tc.ad)},
				BFDProfiles: []v1beta1.BFDProfile{profile("echoing", v1beta1.BFDProfileSpec{EchoMode: new(true)})},
			})
			var want []lb.Problem
			if tc.told {
				want = append(want, problem("BGPPeer tor", "spec.bfdProfile", told))
			}
			if diff := cmp.Diff(want, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if len(c.Peers) != 2 || c.Peers[0].BFD == nil || c.Peers[0].BFD.EchoMode == tc.told || !c.Peers[1].BFD.EchoMode {
				t.Errorf("peers %v, want both watched, the second with echoes, and the first: %t", c.Peers, !tc.told)
			}
		})
	}
}
