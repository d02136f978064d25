package config_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// addRandomBGP draws from few names and addresses, so that objects meet now and then,
// and makes mistakes now and then.
func addRandomBGP(r *rand.Rand, o *config.Objects) {
	for i := range r.IntN(4) {
		o.Peers = append(o.Peers, randomPeer(r, fmt.Sprintf("peer-%d", i)))
		o.BGPAdvertisements = append(o.BGPAdvertisements, randomBGP(r, fmt.Sprintf("bgp-%d", i)))
	}
	for i := range r.IntN(3) {
		c := aliases(fmt.Sprintf("community-%d", i), pick(r, "web=1:1", "web=large:1:2:3", "db=1:2", "db=nonsense"))
		c.CreationTimestamp.Time = monday.Add(time.Duration(r.IntN(3)) * time.Hour)
		o.Communities = append(o.Communities, c)
		o.BFDProfiles = append(o.BFDProfiles, profile(fmt.Sprintf("profile-%d", i), v1beta1.BFDProfileSpec{
			EchoMode: new(r.IntN(2) == 0), DetectMultiplier: new(uint32(1 + r.IntN(9))),
		}))
		o.Secrets = append(o.Secrets, config.Secret{
			Name: fmt.Sprintf("secret-%d", i), Type: pick(r, "kubernetes.io/basic-auth", "Opaque"), Password: lb.Secret(pick(r, "a", "b", "")),
		})
	}
	o.Node = pick[lb.NodeName](r, "", "", "node-0")
}

func randomPeer(r *rand.Rand, name string) v1beta2.BGPPeer {
	p := peer(name, pick(r, "192.0.2.1", "192.0.2.2", "2001:db8::1", "nonsense"), peerCreated(time.Duration(r.IntN(3))*time.Hour))
	p.Spec.NodeSelectors = randomSelectors(r)
	p.Spec.BFDProfile = pick(r, "", "", "profile-0", "profile-1")
	p.Spec.PasswordSecret.Name = pick(r, "", "", "secret-0", "secret-1")
	p.Spec.DualStackAddressFamily = r.IntN(2) == 0
	return p
}

func randomBGP(r *rand.Rand, name string) v1beta1.BGPAdvertisement {
	return later(time.Duration(r.IntN(3))*time.Hour, bgp(name, v1beta1.BGPAdvertisementSpec{
		AggregationLength:      pick(r, nil, new(int32(24)), new(int32(28)), new(int32(33))),
		AggregationLengthV6:    pick(r, nil, nil, new(int32(64))),
		LocalPref:              pick[uint32](r, 0, 100, 200),
		Communities:            pick(r, nil, []string{"web"}, []string{"1:1", "db"}, []string{"1:1", "1:1"}),
		IPAddressPools:         pick(r, nil, []string{"pool-0"}, []string{"pool-1", "pool-2"}),
		IPAddressPoolSelectors: randomSelectors(r),
		NodeSelectors:          randomSelectors(r),
		ServiceSelectors:       pick(r, nil, nil, selecting("a=1")),
		Peers:                  pick(r, nil, []string{"peer-0"}, []string{"peer-1", "peer-9"}),
	}))
}

// withoutBad leaves out what has a problem and contributes nothing, but for pools, which
// advertisements are about even then.
func withoutBad(o config.Objects, c lb.Config, problems []lb.Problem) config.Objects {
	o.L2Advertisements = slices.DeleteFunc(slices.Clone(o.L2Advertisements), func(a v1beta1.L2Advertisement) bool { return bad(problems, "L2Advertisement", a.Name) })
	o.Peers = slices.DeleteFunc(slices.Clone(o.Peers), func(p v1beta2.BGPPeer) bool {
		return bad(problems, "BGPPeer", p.Name) && !hasPeer(c, p.Name)
	})
	o.BGPAdvertisements = slices.DeleteFunc(slices.Clone(o.BGPAdvertisements), func(a v1beta1.BGPAdvertisement) bool {
		return bad(problems, "BGPAdvertisement", a.Name) && !hasBGP(c, a.Name)
	})
	o.BFDProfiles = slices.DeleteFunc(slices.Clone(o.BFDProfiles), func(p v1beta1.BFDProfile) bool { return bad(problems, "BFDProfile", p.Name) })
	o.Communities = slices.DeleteFunc(slices.Clone(o.Communities), func(c v1beta1.Community) bool { return bad(problems, "Community", c.Name) })
	return o
}

func hasPeer(c lb.Config, name string) bool {
	return slices.ContainsFunc(c.Peers, func(p lb.Peer) bool { return string(p.Name) == name })
}

func hasBGP(c lb.Config, name string) bool {
	return slices.ContainsFunc(c.BGPAdvertisements, func(a lb.BGPAdvertisement) bool { return a.Name == name })
}

// checkBGPContributes checks that every peer and advertisement contributes or has a
// problem. Both is so with problems that say so.
func checkBGPContributes(t *testing.T, o config.Objects) {
	t.Helper()
	o.Node = ""
	c, problems := config.Parse(o)
	whole := slices.DeleteFunc(slices.Clone(problems), func(p lb.Problem) bool {
		return strings.HasPrefix(p.Message, "localPref") || strings.HasPrefix(p.Message, "the echo mode") || strings.Contains(p.Message, "is more specific than")
	})
	for _, p := range o.Peers {
		if contributes := hasPeer(c, p.Name); contributes == bad(whole, "BGPPeer", p.Name) {
			t.Errorf("peer %s contributes: %t; problems: %v", p.Name, contributes, problems)
		}
	}
	for _, a := range o.BGPAdvertisements {
		if contributes := hasBGP(c, a.Name); contributes == bad(whole, "BGPAdvertisement", a.Name) {
			t.Errorf("advertisement %s contributes: %t; problems: %v", a.Name, contributes, problems)
		}
	}
}

// What a node has in force is for it, and one router has one session.
func TestSessionsInForceAreDistinct(t *testing.T) {
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 3))
		var keeper config.Keeper
		for range 4 {
			o := randomObjects(r)
			c, _ := keeper.Parse(o)
			routers := map[string]bool{}
			for _, p := range c.Peers {
				for _, n := range p.Nodes {
					router := fmt.Sprint(p.Address, " on ", n)
					if routers[router] {
						t.Fatalf("seed %d: two sessions with %s: %v", seed, router, c.Peers)
					}
					routers[router] = true
				}
				if o.Node != "" && !slices.Contains(p.Nodes, o.Node) {
					t.Fatalf("seed %d: peer %s is not for node %s, but for %v", seed, p.Name, o.Node, p.Nodes)
				}
			}
		}
	}
}

// Parsing the same again, with or without a memory of it, changes nothing.
func TestParsingTwiceChangesNothing(t *testing.T) {
	clusters(t, func(t *testing.T, _ *rand.Rand, o config.Objects) {
		var keeper config.Keeper
		first, problems := keeper.Parse(o)
		again, same := keeper.Parse(o)
		if diff := cmp.Diff(parts(first), parts(again), byValue); diff != "" {
			t.Errorf("configuration (-first +second time):\n%s", diff)
		}
		// What has a problem of its own may come to contradict what is in force by now.
		if diff := cmp.Diff(withProblems(problems), withProblems(same)); diff != "" {
			t.Errorf("objects with problems (-first +second time):\n%s", diff)
		}
	})
}

func withProblems(problems []lb.Problem) []lb.ObjectRef {
	var out []lb.ObjectRef
	for _, p := range problems {
		out = append(out, p.Object)
	}
	return slices.Compact(out)
}

// A session and its routes outlive whatever is done to their objects, but for deleting
// them.
func TestASessionOutlivesMistakes(t *testing.T) {
	good := bgpObjects()
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 4))
		var keeper config.Keeper
		keeper.Parse(good)
		for range 6 {
			o := mistaken(r, good)
			c, problems := keeper.Parse(o)
			if len(c.Peers) != 1 || c.Peers[0].BFD == nil || c.Peers[0].Password == "" {
				t.Fatalf("seed %d: peers in force: %+v; problems: %v", seed, c.Peers, problems)
			}
			if len(c.BGPAdvertisements) != 1 || len(c.BGPAdvertisements[0].Attributes.Communities) != 1 || len(c.BGPAdvertisements[0].Pools) == 0 {
				t.Fatalf("seed %d: advertisements in force: %+v; problems: %v", seed, c.BGPAdvertisements, problems)
			}
		}
	}
}

// bgpObjects is a peer and an advertisement that refer to whatever can be referred to.
func bgpObjects() config.Objects {
	return config.Objects{
		Pools:             []v1beta1.IPAddressPool{pool("blue", "192.0.2.0/24")},
		Nodes:             []lb.Node{node("a", "zone=z1")},
		Peers:             []v1beta2.BGPPeer{peer("tor", "192.0.2.1", watchedBy("fast"), passwordIn("tor-password"))},
		BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("wan", v1beta1.BGPAdvertisementSpec{Communities: []string{"web"}})},
		BFDProfiles:       []v1beta1.BFDProfile{profile("fast", v1beta1.BFDProfileSpec{})},
		Communities:       []v1beta1.Community{aliases("ours", "web=64512:100")},
		Secrets:           []config.Secret{{Name: "tor-password", Type: "kubernetes.io/basic-auth", Password: "hunter2"}},
	}
}

// mistaken makes some mistakes at once.
func mistaken(r *rand.Rand, o config.Objects) config.Objects {
	o.Peers = pick(r, o.Peers,
		[]v1beta2.BGPPeer{peer("tor", "nonsense")},
		[]v1beta2.BGPPeer{peer("tor", "192.0.2.1", passwordIn("gone"), watchedBy("fast"))},
		[]v1beta2.BGPPeer{peer("tor", "192.0.2.1", passwordIn("tor-password"), watchedBy("gone"))},
	)
	o.BGPAdvertisements = pick(r, o.BGPAdvertisements,
		[]v1beta1.BGPAdvertisement{bgp("wan", v1beta1.BGPAdvertisementSpec{Communities: []string{"gone"}})},
		[]v1beta1.BGPAdvertisement{bgp("wan", v1beta1.BGPAdvertisementSpec{Communities: []string{"web"}, AggregationLength: new(int32(8))})},
	)
	o.Pools = pick(r, o.Pools, []v1beta1.IPAddressPool{pool("blue", "nonsense")}, append(slices.Clone(o.Pools), pool("green", "198.51.100.0/30")))
	o.BFDProfiles = pick(r, o.BFDProfiles, nil, []v1beta1.BFDProfile{profile("fast", v1beta1.BFDProfileSpec{DetectMultiplier: new(uint32(0))})})
	o.Communities = pick(r, o.Communities, nil, []v1beta1.Community{aliases("ours", "web=nonsense")})
	o.Secrets = pick(r, o.Secrets, nil, []config.Secret{{Name: "tor-password", Type: "Opaque", Password: "other"}}, []config.Secret{{Name: "tor-password", Type: "kubernetes.io/basic-auth"}})
	return o
}

// FuzzPeer puts what users can write freely into the fields of a peer, beside another
// that is in order.
func FuzzPeer(f *testing.F) {
	f.Add("192.0.2.1", "", "", "", "", "", "", uint32(64512), uint32(64513), int64(0), int64(0), int64(0))
	f.Add("", "eth1", "2001:db8::2", "192.0.2.10", "internal", "hunter2", "red", uint32(1), uint32(0), int64(9e9), int64(3e9), int64(1e9))
	f.Add("fe80::1%eth0", "", "::", "0.0.0.0", "any", "", "", uint32(0), uint32(0), int64(-1), int64(1), int64(5e8))
	f.Fuzz(func(t *testing.T, address, link, source, routerID, dynamicASN, password, vrf string, myASN, peerASN uint32, hold, keepalive, connect int64) {
		good := peer("good", "203.0.113.1")
		fuzzed := peer("fuzzed", address, peerCreated(time.Hour), spec(func(s *v1beta2.BGPPeerSpec) {
			s.Interface, s.SourceAddress, s.RouterID, s.DynamicASN = link, source, routerID, v1beta2.DynamicASN(dynamicASN)
			s.Password, s.VRF, s.MyASN, s.PeerASN = password, vrf, myASN, peerASN
			s.HoldTime, s.KeepaliveTime, s.ConnectTime = lasting(time.Duration(hold)), lasting(time.Duration(keepalive)), lasting(time.Duration(connect))
		}))
		c, problems := config.Parse(config.Objects{Peers: []v1beta2.BGPPeer{fuzzed, good}})
		if !hasPeer(c, "good") || hasPeer(c, "fuzzed") == bad(problems, "BGPPeer", "fuzzed") {
			t.Fatalf("peers in force: %v; problems: %v", c.Peers, problems)
		}
		for _, p := range c.Peers {
			checkPeer(t, p)
		}
	})
}

// checkPeer checks what lb.Peer promises.
func checkPeer(t *testing.T, p lb.Peer) {
	t.Helper()
	inRange := func(d, lowest time.Duration) bool {
		return d == 0 || d >= lowest && d <= 65535*time.Second && d%time.Second == 0
	}
	if !inRange(p.HoldTime, 3*time.Second) || p.KeepaliveTime < 0 || p.KeepaliveTime > p.HoldTime || !inRange(p.ConnectTime, time.Second) {
		t.Errorf("timers of %+v", p)
	}
	if p.Address.IsValid() == (p.Interface != "") || p.Address.Is4In6() || p.Address.Zone() != "" {
		t.Errorf("address of %+v", p)
	}
	if p.MyASN == 0 || (p.ASN == 0) == (p.DynamicASN == "") || p.RouterID.IsValid() && !p.RouterID.Is4() || len(p.Password) > 80 {
		t.Errorf("identity of %+v", p)
	}
}
