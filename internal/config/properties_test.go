package config_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

const rounds = 300

// clusters calls f with many random configurations, each with a seed to name it by.
func clusters(t *testing.T, f func(t *testing.T, r *rand.Rand, o config.Objects)) {
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 0))
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { f(t, r, randomObjects(r)) })
	}
}

func randomObjects(r *rand.Rand) config.Objects {
	var o config.Objects
	for i := range r.IntN(6) {
		o.Pools = append(o.Pools, randomPool(r, fmt.Sprintf("pool-%d", i)))
	}
	for i := range r.IntN(4) {
		o.L2Advertisements = append(o.L2Advertisements, randomL2(r, fmt.Sprintf("l2-%d", i)))
	}
	for i := range r.IntN(4) {
		o.Nodes = append(o.Nodes, lb.Node{Name: lb.NodeName(fmt.Sprintf("node-%d", i)), Labels: randomLabels(r)})
		o.Namespaces = append(o.Namespaces, config.Namespace{Name: fmt.Sprintf("namespace-%d", i), Labels: randomLabels(r)})
	}
	addRandomBGP(r, &o)
	return o
}

// randomPool draws from few addresses, so that pools overlap now and then, and makes
// mistakes now and then.
func randomPool(r *rand.Rand, name string) v1beta1.IPAddressPool {
	var addresses []string
	for range r.IntN(3) + min(1, r.IntN(20)) {
		addresses = append(addresses, fmt.Sprintf(pick(r, "10.0.%d.0/28", "10.0.%d.8-10.0.%[1]d.20", "2001:db8:%d::/64", "10.0.%d.0/33"), r.IntN(30)))
	}
	p := with(pool(name, addresses...), created(time.Duration(r.IntN(3))*time.Hour), func(p *v1beta1.IPAddressPool) { p.Labels = randomLabels(r) })
	if r.IntN(2) == 0 {
		p.Spec.AllocateTo = &v1beta1.ServiceAllocation{
			Priority:           r.IntN(3),
			Namespaces:         pick(r, nil, []string{"namespace-0"}, []string{"namespace-1", "namespace-9"}, []string{"x", "x"}),
			NamespaceSelectors: randomSelectors(r),
			ServiceSelectors:   randomSelectors(r),
		}
	}
	return p
}

func randomL2(r *rand.Rand, name string) v1beta1.L2Advertisement {
	spec := v1beta1.L2AdvertisementSpec{
		IPAddressPools:         pick(r, nil, []string{"pool-0"}, []string{"pool-1", "pool-2"}, []string{"pool-9", "pool-9"}),
		IPAddressPoolSelectors: randomSelectors(r),
		NodeSelectors:          randomSelectors(r),
		Interfaces:             pick(r, nil, []string{"eth1", "eth0"}),
		ServiceSelectors:       randomSelectors(r),
	}
	for _, s := range randomSelectors(r) {
		spec.PreferredNodeSelectors = append(spec.PreferredNodeSelectors, v1beta1.PreferredNodeSelector{Weight: int32(r.IntN(11) * 10), Preference: s})
	}
	return l2(name, spec)
}

func randomSelectors(r *rand.Rand) []metav1.LabelSelector {
	return pick(r, nil, nil, selecting("a=1"), selecting("a=2", "b=1"), []metav1.LabelSelector{{}}, selecting("a=1", "a=1"), nonsense())
}

func randomLabels(r *rand.Rand) map[string]string {
	return pick(r, nil, labels("a=1"), labels("a=2"), labels("b=1"), labels("a=1,b=1"))
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func shuffled[T any](r *rand.Rand, items []T) []T {
	out := slices.Clone(items)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func TestTheOrderOfTheObjectsNeverMatters(t *testing.T) {
	clusters(t, func(t *testing.T, r *rand.Rand, o config.Objects) {
		c, problems := config.Parse(o)
		wantConfig(t, config.Objects{
			Pools: shuffled(r, o.Pools), L2Advertisements: shuffled(r, o.L2Advertisements),
			Nodes: shuffled(r, o.Nodes), Namespaces: shuffled(r, o.Namespaces), Node: o.Node,
			Peers: shuffled(r, o.Peers), BGPAdvertisements: shuffled(r, o.BGPAdvertisements),
			BFDProfiles: shuffled(r, o.BFDProfiles), Communities: shuffled(r, o.Communities), Secrets: shuffled(r, o.Secrets),
		}, c, problems...)
	})
}

func TestParsingChangesNothingThatItReads(t *testing.T) {
	clusters(t, func(t *testing.T, _ *rand.Rand, o config.Objects) {
		before, _ := json.Marshal(o)
		config.Parse(o)
		if after, _ := json.Marshal(o); string(after) != string(before) {
			t.Errorf("objects before and after: %s", cmp.Diff(string(before), string(after)))
		}
	})
}

// An object with a problem might as well not be there, but for what an advertisement
// says of the pool: that it is about it, so that it is announced when the pool is mended.
func TestAnObjectWithAProblemHarmsNoOther(t *testing.T) {
	clusters(t, func(t *testing.T, _ *rand.Rand, o config.Objects) {
		with, problems := config.Parse(o)
		without, _ := config.Parse(withoutBad(o, with, problems))
		if diff := cmp.Diff(parts(without), parts(with), byValue); diff != "" {
			t.Errorf("with and without the bad advertisements (-without +with):\n%s", diff)
		}
		withoutPools, more := config.Parse(config.Objects{
			Namespaces: o.Namespaces,
			Pools:      slices.DeleteFunc(slices.Clone(o.Pools), func(p v1beta1.IPAddressPool) bool { return bad(problems, "IPAddressPool", p.Name) }),
		})
		if diff := cmp.Diff(withoutPools.Pools, with.Pools, byValue); diff != "" || len(more) > 0 {
			t.Errorf("pools with and without the bad ones (-without +with):\n%s%v", diff, more)
		}
	})
}

func bad(problems []lb.Problem, kind, name string) bool {
	return slices.ContainsFunc(problems, func(p lb.Problem) bool { return p.Object.Kind == kind && p.Object.Name == name })
}

// Every object either contributes or has a problem, and never both, unless it does
// without something that it does not go with.
func TestEveryObjectContributesOrHasAProblem(t *testing.T) {
	clusters(t, func(t *testing.T, _ *rand.Rand, o config.Objects) {
		c, problems := config.Parse(o)
		for _, p := range o.Pools {
			contributes := slices.ContainsFunc(c.Pools, func(x lb.Pool) bool { return string(x.Name) == p.Name })
			if contributes == bad(problems, "IPAddressPool", p.Name) {
				t.Errorf("pool %s contributes: %t; problems: %v", p.Name, contributes, problems)
			}
		}
		for _, a := range o.L2Advertisements {
			contributes := slices.ContainsFunc(c.L2Advertisements, func(x lb.L2Advertisement) bool { return x.Name == a.Name })
			if contributes == bad(problems, "L2Advertisement", a.Name) {
				t.Errorf("advertisement %s contributes: %t; problems: %v", a.Name, contributes, problems)
			}
		}
		checkBGPContributes(t, o)
	})
}

func TestNoTwoPoolsInForceOverlap(t *testing.T) {
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 1))
		var keeper config.Keeper
		for range 8 {
			o := randomObjects(r)
			c, problems := keeper.Parse(o)
			checkDisjoint(t, seed, c.Pools)
			if _, now := config.Parse(config.Objects{Pools: o.Pools, Namespaces: o.Namespaces}); !subset(now, problems) {
				t.Fatalf("seed %d: problems %v, but those of the objects alone are %v", seed, problems, now)
			}
		}
	}
}

func checkDisjoint(t *testing.T, seed uint64, pools []lb.Pool) {
	t.Helper()
	var all []lb.Range
	for _, p := range pools {
		for _, r := range p.Ranges {
			if slices.ContainsFunc(all, r.Overlaps) {
				t.Fatalf("seed %d: range %s of pool %s overlaps with another of %v", seed, r, p.Name, all)
			}
			all = append(all, r)
		}
	}
}

func subset(some, of []lb.Problem) bool {
	return !slices.ContainsFunc(some, func(p lb.Problem) bool { return !slices.Contains(of, p) })
}

// While nobody takes from another what is older, whoever had a valid version once has
// one in force.
func TestWhatWasOnceValidStaysInForce(t *testing.T) {
	older, younger := pool("older", "192.0.2.0/24"), with(pool("younger", "198.51.100.0/24"), created(time.Hour))
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 2))
		var keeper config.Keeper
		keeper.Parse(config.Objects{Pools: []v1beta1.IPAddressPool{older, younger}})
		for range 5 {
			now := []v1beta1.IPAddressPool{
				and(older, pick(r, "203.0.113.0/28", "nonsense")),
				and(younger, pick(r, "203.0.113.16/28", "nonsense", "192.0.2.7/32")),
			}
			if c, problems := keeper.Parse(config.Objects{Pools: now}); len(c.Pools) != 2 || c.PoolsIncomplete {
				t.Fatalf("seed %d: in force are %v; problems %v", seed, c.Pools, problems)
			}
		}
	}
}

// and returns the pool with a range added.
func and(p v1beta1.IPAddressPool, addresses string) v1beta1.IPAddressPool {
	return with(p, func(p *v1beta1.IPAddressPool) { p.Spec.Addresses = append(slices.Clone(p.Spec.Addresses), addresses) })
}

// FuzzParse puts what users can write freely into the fields of a pool and of an
// advertisement, beside others that are in order.
func FuzzParse(f *testing.F) {
	f.Add("192.0.2.0/24", "blue", "tier", "In", "front", "eth0", 1, int32(50))
	f.Add("10.0.0.1-10.0.0.9", "green", "example.com/tier", "DoesNotExist", "", "", -1, int32(0))
	f.Add("::/0", "", "-", "Resembles", "fr ont", "eth0", 0, int32(101))
	f.Fuzz(func(t *testing.T, addresses, name, key, operator, value, link string, priority int, weight int32) {
		selectors := []metav1.LabelSelector{
			{MatchLabels: map[string]string{key: value}},
			{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: metav1.LabelSelectorOperator(operator), Values: []string{value}}}},
		}
		good := pool("good", "203.0.113.0/24")
		o := config.Objects{
			Pools: []v1beta1.IPAddressPool{good, with(pool("fuzzed", addresses), created(time.Hour), pinned(v1beta1.ServiceAllocation{
				Priority: priority, Namespaces: []string{name, "shop"}, NamespaceSelectors: selectors, ServiceSelectors: selectors[:1],
			}))},
			L2Advertisements: []v1beta1.L2Advertisement{l2("fuzzed", v1beta1.L2AdvertisementSpec{
				IPAddressPools: []string{name, "good"}, IPAddressPoolSelectors: selectors, NodeSelectors: selectors, Interfaces: []string{link},
				PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{{Weight: weight, Preference: selectors[1]}},
			})},
			Nodes:      []lb.Node{{Name: "a", Labels: map[string]string{key: value}}},
			Namespaces: []config.Namespace{{Name: "shop", Labels: map[string]string{key: value}}},
		}
		c, problems := config.Parse(o)
		checkFuzzed(t, c, problems)
		var keeper config.Keeper
		if kept, known := keeper.Parse(o); !kept.Equal(c) || !slices.Equal(known, problems) {
			t.Errorf("a keeper without a past makes %v %v of what parses as %v %v", kept, known, c, problems)
		}
	})
}

// checkFuzzed checks that the good pool is in force, and that both fuzzed objects
// either contribute or have a problem.
func checkFuzzed(t *testing.T, c lb.Config, problems []lb.Problem) {
	t.Helper()
	has := func(name lb.PoolName) bool {
		return slices.ContainsFunc(c.Pools, func(p lb.Pool) bool { return p.Name == name })
	}
	if !has("good") || has("fuzzed") == bad(problems, "IPAddressPool", "fuzzed") {
		t.Errorf("pools in force: %v; problems: %v", c.Pools, problems)
	}
	if (len(c.L2Advertisements) == 1) == bad(problems, "L2Advertisement", "fuzzed") {
		t.Errorf("advertisements in force: %v; problems: %v", c.L2Advertisements, problems)
	}
}
