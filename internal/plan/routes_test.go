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

func named(name string) lb.ServiceKey { return lb.ServiceKey{Namespace: "default", Name: name} }

func offer(prefix string, a lb.Attributes, peers ...lb.PeerName) lb.Offer {
	return lb.Offer{Peers: peers, Route: lb.Route{Prefix: netip.MustParsePrefix(prefix), Attributes: a}}
}

// inWordsByPeer are the routes of each peer.
func inWordsByPeer(sessions []lb.Session) map[lb.PeerName][]string {
	out := map[lb.PeerName][]string{}
	for _, s := range sessions {
		out[s.Peer.Name] = []string{}
		for _, r := range s.Routes {
			out[s.Peer.Name] = append(out[s.Peer.Name], routeInWords(r))
		}
	}
	return out
}

func TestRoutesOfSeveralServicesAreMerged(t *testing.T) {
	const net, one, other = "10.0.0.0/24", "10.0.0.1/32", "10.0.1.0/24"
	community := func(c ...lb.Community) lb.Attributes { return lb.Attributes{Communities: c} }
	peers := []lb.Peer{{Name: "spine"}, {Name: "tor"}}
	r := plan.NewRoutes()
	for _, step := range []struct {
		name string
		do   func()
		want map[lb.PeerName][]string
	}{
		{"nothing is offered", func() {}, map[lb.PeerName][]string{"spine": {}, "tor": {}}},
		{"one service", func() {
			r.Set(named("a"), []lb.Offer{offer(net, community(1), "spine", "tor"), offer(one, community(), "tor")})
		}, map[lb.PeerName][]string{"spine": {"10.0.0.0/24 0:1"}, "tor": {"10.0.0.0/24 0:1", "10.0.0.1/32"}}},
		{"another with the same prefix, for one of the peers", func() {
			r.Set(named("b"), []lb.Offer{offer(net, community(1, 2), "tor")})
		}, map[lb.PeerName][]string{"spine": {"10.0.0.0/24 0:1"}, "tor": {"10.0.0.0/24 0:1 0:2", "10.0.0.1/32"}}},
		{"one of them changes", func() {
			r.Set(named("a"), []lb.Offer{offer(net, community(3), "spine", "tor"), offer(other, community(), "spine")})
		}, map[lb.PeerName][]string{"spine": {"10.0.0.0/24 0:3", "10.0.1.0/24"}, "tor": {"10.0.0.0/24 0:1 0:2 0:3"}}},
		{"it goes, and what the other offers stays", func() { r.Set(named("a"), nil) }, map[lb.PeerName][]string{"spine": {}, "tor": {"10.0.0.0/24 0:1 0:2"}}},
		{"the last goes", func() { r.Set(named("b"), nil) }, map[lb.PeerName][]string{"spine": {}, "tor": {}}},
		{"two advertisements offer one prefix for one service", func() {
			r.Set(named("a"), []lb.Offer{offer(net, community(1), "tor"), offer(net, community(2), "tor")})
		}, map[lb.PeerName][]string{"spine": {}, "tor": {"10.0.0.0/24 0:1 0:2"}}},
		{"and it goes", func() { r.Set(named("a"), nil) }, map[lb.PeerName][]string{"spine": {}, "tor": {}}},
	} {
		step.do()
		if diff := cmp.Diff(step.want, inWordsByPeer(r.Sessions(peers))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestWhatAttractsTrafficMostWins(t *testing.T) {
	low, high := uint32(5), uint32(9)
	large := func(n uint32) []lb.LargeCommunity { return []lb.LargeCommunity{{Global: n}} }
	for name, tc := range map[string]struct {
		a, b lb.Attributes
		want string
	}{
		"the highest localPref":            {lb.Attributes{LocalPref: 100}, lb.Attributes{LocalPref: 200}, "pref 200"},
		"a localPref over none":            {lb.Attributes{LocalPref: 50}, lb.Attributes{}, "pref 50"},
		"the lowest MED":                   {lb.Attributes{MED: &low}, lb.Attributes{MED: &high}, "med 5"},
		"no MED over any":                  {lb.Attributes{MED: &low}, lb.Attributes{}, ""},
		"the fewest prepended ASNs":        {lb.Attributes{Prepend: 3}, lb.Attributes{Prepend: 2}, "prepend 2"},
		"and the large communities of all": {lb.Attributes{LargeCommunities: large(2)}, lb.Attributes{LargeCommunities: large(1)}, "large:1:0:0 large:2:0:0"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range [][]lb.Attributes{{tc.a, tc.b}, {tc.b, tc.a}} {
				r := plan.NewRoutes()
				r.Set(named("a"), []lb.Offer{offer("10.0.0.0/24", order[0], "tor")})
				r.Set(named("b"), []lb.Offer{offer("10.0.0.0/24", order[1], "tor")})
				got := inWordsByPeer(r.Sessions([]lb.Peer{{Name: "tor"}}))["tor"]
				want := "10.0.0.0/24"
				if tc.want != "" {
					want += " " + tc.want
				}
				if !slices.Equal(got, []string{want}) {
					t.Errorf("routes %q, want %q", got, want)
				}
			}
		})
	}
}

func randomOffers(r *rand.Rand) []lb.Offer {
	var out []lb.Offer
	for range r.IntN(4) {
		a := lb.Attributes{LocalPref: uint32(r.IntN(3)), Prepend: r.IntN(3), Communities: pick(r, nil, []lb.Community{1}, []lb.Community{1, 2}, []lb.Community{2})}
		peers := pick(r, []lb.PeerName{"spine"}, []lb.PeerName{"tor"}, []lb.PeerName{"spine", "tor"})
		out = append(out, offer(fmt.Sprintf("10.0.%d.0/24", r.IntN(6)), a, peers...))
	}
	return out
}

// Whatever came before, and in whichever order: what is offered follows from what the
// services want now. And what was handed out once never changes.
func TestRoutesDoNotDependOnHowTheyCameAbout(t *testing.T) {
	peers := []lb.Peer{{Name: "spine"}, {Name: "tor"}, {Name: "new"}}
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 2))
		kept, now := plan.NewRoutes(), map[lb.ServiceKey][]lb.Offer{}
		var handedOut [][]lb.Session
		var asItWas []map[lb.PeerName][]string
		for range 20 {
			key := named(fmt.Sprintf("service-%d", r.IntN(5)))
			now[key] = randomOffers(r)
			kept.Set(key, now[key])
			got := kept.Sessions(peers[:2+r.IntN(2)])
			handedOut, asItWas = append(handedOut, got), append(asItWas, inWordsByPeer(got))

			anew := plan.NewRoutes()
			for key, offers := range now { // in any order
				anew.Set(key, offers)
			}
			if diff := cmp.Diff(inWordsByPeer(anew.Sessions(peers)), inWordsByPeer(kept.Sessions(peers))); diff != "" {
				t.Fatalf("seed %d (-made anew +kept):\n%s", seed, diff)
			}
		}
		for i, sessions := range handedOut {
			if diff := cmp.Diff(asItWas[i], inWordsByPeer(sessions)); diff != "" {
				t.Fatalf("seed %d: what was handed out changed (-before +after):\n%s", seed, diff)
			}
		}
	}
}

func TestAPeerThatComesBackIsOfferedWhatItWas(t *testing.T) {
	r := plan.NewRoutes()
	r.Set(named("a"), []lb.Offer{offer("10.0.0.0/24", lb.Attributes{}, "tor")})
	r.Sessions(nil)
	want := map[lb.PeerName][]string{"tor": {"10.0.0.0/24"}}
	if diff := cmp.Diff(want, inWordsByPeer(r.Sessions([]lb.Peer{{Name: "tor"}}))); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func on(addr string, links ...string) lb.Announcement {
	return lb.Announcement{Address: netip.MustParseAddr(addr), Links: links}
}

func TestAnAddressThatServicesShareIsAnnouncedOnTheLinksOfAny(t *testing.T) {
	for name, tc := range map[string]struct{ a, b, want lb.Announcement }{
		"the same links":      {on("192.0.2.1", "eth0"), on("192.0.2.1", "eth0"), on("192.0.2.1", "eth0")},
		"other links":         {on("192.0.2.1", "eth1"), on("192.0.2.1", "eth0", "eth2"), on("192.0.2.1", "eth0", "eth1", "eth2")},
		"all links and some":  {on("192.0.2.1"), on("192.0.2.1", "eth0"), on("192.0.2.1")},
		"some links and all":  {on("192.0.2.1", "eth0"), on("192.0.2.1"), on("192.0.2.1")},
		"all links, and both": {on("192.0.2.1"), on("192.0.2.1"), on("192.0.2.1")},
	} {
		t.Run(name, func(t *testing.T) {
			a := plan.NewAnnouncements()
			a.Set(named("a"), []lb.Announcement{tc.a})
			a.Set(named("b"), []lb.Announcement{tc.b, on("192.0.2.2")})
			if diff := cmp.Diff([]lb.Announcement{tc.want, on("192.0.2.2")}, a.List(), cmp.Comparer(lb.Announcement.Equal)); diff != "" {
				t.Errorf("both (-want +got):\n%s", diff)
			}
			a.Set(named("b"), nil)
			if diff := cmp.Diff([]lb.Announcement{tc.a}, a.List(), cmp.Comparer(lb.Announcement.Equal)); diff != "" {
				t.Errorf("once the other went (-want +got):\n%s", diff)
			}
		})
	}
}

// offered are 10,000 services that two peers are offered.
func offered() (*plan.Routes, []lb.Peer, func(i int) lb.ServiceKey, func(i int) []lb.Offer) {
	key := func(i int) lb.ServiceKey { return named(fmt.Sprintf("service-%d", i)) }
	offers := func(i int) []lb.Offer {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		return []lb.Offer{{Peers: []lb.PeerName{"spine", "tor"}, Route: lb.Route{Prefix: prefix}}}
	}
	r := plan.NewRoutes()
	for i := range 10_000 {
		r.Set(key(i), offers(i))
	}
	return r, []lb.Peer{{Name: "spine"}, {Name: "tor"}}, key, offers
}

func BenchmarkSessionsWhenOneOf10000ServicesChanged(b *testing.B) {
	r, peers, key, offers := offered()
	r.Sessions(peers)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			r.Set(key(i%10_000), nil)
		} else {
			r.Set(key((i-1)%10_000), offers((i-1)%10_000))
		}
		r.Sessions(peers)
	}
}

func BenchmarkSessionsOf10000Services(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		r, peers, _, _ := offered()
		r.Sessions(peers)
	}
}
