package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// moment is one state of the objects, and what is then in force.
type moment struct {
	pools []v1beta1.IPAddressPool
	// inForce is the first address of each pool by name.
	inForce    map[lb.PoolName]string
	incomplete bool
	// invalid are the objects that have a problem.
	invalid []string
}

func TestTheLastValidVersionOfAPoolStaysInForce(t *testing.T) {
	blue, green := pool("blue", "192.0.2.0/24"), pool("green", "198.51.100.0/24")
	typo := pool("blue", "192.0.2.0/33")
	both := map[lb.PoolName]string{"blue": "192.0.2.0", "green": "198.51.100.0"}
	younger := func(p v1beta1.IPAddressPool) v1beta1.IPAddressPool { return with(p, created(time.Hour)) }

	for name, moments := range map[string][]moment{
		"while its current one is invalid, and the others change": {
			{pools: []v1beta1.IPAddressPool{blue, green}, inForce: both},
			{pools: []v1beta1.IPAddressPool{typo, green}, inForce: both, invalid: []string{"blue"}},
			{pools: []v1beta1.IPAddressPool{typo, pool("green", "203.0.113.0/24")}, inForce: map[lb.PoolName]string{"blue": "192.0.2.0", "green": "203.0.113.0"}, invalid: []string{"blue"}},
		},
		"until it is mended": {
			{pools: []v1beta1.IPAddressPool{blue}, inForce: map[lb.PoolName]string{"blue": "192.0.2.0"}},
			{pools: []v1beta1.IPAddressPool{typo}, inForce: map[lb.PoolName]string{"blue": "192.0.2.0"}, invalid: []string{"blue"}},
			{pools: []v1beta1.IPAddressPool{pool("blue", "203.0.113.0/24")}, inForce: map[lb.PoolName]string{"blue": "203.0.113.0"}},
			{pools: []v1beta1.IPAddressPool{typo}, inForce: map[lb.PoolName]string{"blue": "203.0.113.0"}, invalid: []string{"blue"}},
		},
		"until it is deleted, and one of its name that comes later does not inherit it": {
			{pools: []v1beta1.IPAddressPool{blue, green}, inForce: both},
			{pools: []v1beta1.IPAddressPool{typo, green}, inForce: both, invalid: []string{"blue"}},
			{pools: []v1beta1.IPAddressPool{green}, inForce: map[lb.PoolName]string{"green": "198.51.100.0"}},
			{pools: []v1beta1.IPAddressPool{typo, green}, inForce: map[lb.PoolName]string{"green": "198.51.100.0"}, invalid: []string{"blue"}, incomplete: true},
		},
		"but not over a restart, after which it is known that something is missing": {
			{pools: []v1beta1.IPAddressPool{typo, green}, inForce: map[lb.PoolName]string{"green": "198.51.100.0"}, invalid: []string{"blue"}, incomplete: true},
			{pools: []v1beta1.IPAddressPool{blue, green}, inForce: both},
		},
		"when it grows into another": {
			{pools: []v1beta1.IPAddressPool{blue, younger(green)}, inForce: both},
			{pools: []v1beta1.IPAddressPool{blue, younger(pool("green", "198.51.100.0/24", "192.0.2.128/25"))}, inForce: both, invalid: []string{"green"}},
		},
		"when it grows into a younger one": {
			{pools: []v1beta1.IPAddressPool{blue, younger(green)}, inForce: both},
			{pools: []v1beta1.IPAddressPool{pool("blue", "192.0.2.0/24", "198.51.100.128/25"), younger(green)}, inForce: both, invalid: []string{"blue"}},
			{pools: []v1beta1.IPAddressPool{pool("blue", "192.0.2.0/24", "198.51.100.128/25")}, inForce: map[lb.PoolName]string{"blue": "192.0.2.0"}},
		},
		"and keeps others out of its ranges": {
			{pools: []v1beta1.IPAddressPool{blue}, inForce: map[lb.PoolName]string{"blue": "192.0.2.0"}},
			{
				pools:   []v1beta1.IPAddressPool{typo, younger(pool("red", "192.0.2.0/28"))},
				inForce: map[lb.PoolName]string{"blue": "192.0.2.0"}, invalid: []string{"blue", "red"}, incomplete: true,
			},
		},
		"also that of one which changes into what is kept for another": {
			{pools: []v1beta1.IPAddressPool{blue, younger(green)}, inForce: both},
			{pools: []v1beta1.IPAddressPool{typo, younger(pool("green", "192.0.2.0/28"))}, inForce: both, invalid: []string{"blue", "green"}},
			{pools: []v1beta1.IPAddressPool{younger(pool("green", "192.0.2.0/28"))}, inForce: map[lb.PoolName]string{"green": "192.0.2.0"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var keeper config.Keeper
			for i, m := range moments {
				c, problems := keeper.Parse(config.Objects{Pools: m.pools})
				m.check(t, i, c, problems)
			}
		})
	}
}

func (m moment) check(t *testing.T, i int, c lb.Config, problems []lb.Problem) {
	t.Helper()
	inForce := map[lb.PoolName]string{}
	for _, p := range c.Pools {
		inForce[p.Name] = p.Ranges[0].First.String()
	}
	var invalid []string
	for _, p := range problems {
		invalid = append(invalid, p.Object.Name)
	}
	if diff := cmp.Diff(m.inForce, inForce); diff != "" {
		t.Errorf("moment %d: in force (-want +got):\n%s", i, diff)
	}
	if diff := cmp.Diff(m.invalid, invalid, byValue); diff != "" {
		t.Errorf("moment %d: with problems (-want +got):\n%s%v", i, diff, problems)
	}
	if c.PoolsIncomplete != m.incomplete {
		t.Errorf("moment %d: pools incomplete: %t, want %t", i, c.PoolsIncomplete, m.incomplete)
	}
}

func TestTheLastValidVersionOfAnAdvertisementStaysInForce(t *testing.T) {
	nodes := []lb.Node{node("a", "zone=z1"), node("b", "zone=z2")}
	good := l2("lan", v1beta1.L2AdvertisementSpec{NodeSelectors: selecting("zone=z1")})
	bad := l2("lan", v1beta1.L2AdvertisementSpec{NodeSelectors: nonsense()})

	var keeper config.Keeper
	keeper.Parse(config.Objects{Nodes: nodes, L2Advertisements: []v1beta1.L2Advertisement{good}})
	nodes = append(nodes, node("c", "zone=z1"))
	c, problems := keeper.Parse(config.Objects{Nodes: nodes, L2Advertisements: []v1beta1.L2Advertisement{bad}})

	want := []lb.L2Advertisement{{Name: "lan", Nodes: []lb.NodeName{"a", "c"}}}
	if diff := cmp.Diff(want, c.L2Advertisements, byValue); diff != "" {
		t.Errorf("the old version, applied to the nodes as they are now (-want +got):\n%s", diff)
	}
	if len(problems) != 1 || problems[0].Field != "spec.nodeSelectors[0]" {
		t.Errorf("problems %v, want the one of spec.nodeSelectors[0]", problems)
	}
	if c, _ := keeper.Parse(config.Objects{Nodes: nodes}); len(c.L2Advertisements) != 0 {
		t.Errorf("in force after it was deleted: %v", c.L2Advertisements)
	}
}

func TestABadAdvertisementMakesNoPoolIncomplete(t *testing.T) {
	bad := l2("lan", v1beta1.L2AdvertisementSpec{NodeSelectors: nonsense()})
	c, problems := config.Parse(config.Objects{Pools: []v1beta1.IPAddressPool{pool("blue", "192.0.2.0/24")}, L2Advertisements: []v1beta1.L2Advertisement{bad}})
	if c.PoolsIncomplete || len(problems) != 1 {
		t.Errorf("pools incomplete: %t, problems: %v", c.PoolsIncomplete, problems)
	}
}
