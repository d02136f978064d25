package config_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

func TestPools(t *testing.T) {
	no := false
	first := ranged("192.0.2.0", "192.0.2.255")
	second := ranged("198.51.100.1", "198.51.100.9")
	for name, tc := range map[string]struct {
		objects config.Objects
		want    []lb.Pool
	}{
		"there may be none": {config.Objects{}, nil},
		"a pool keeps the order of its ranges, and assigns automatically": {
			config.Objects{Pools: []v1beta1.IPAddressPool{pool("blue", "198.51.100.1-198.51.100.9", "192.0.2.0/24")}},
			[]lb.Pool{{Name: "blue", Ranges: []lb.Range{second, first}, AutoAssign: true}},
		},
		"a pool says what it does not want": {
			config.Objects{Pools: []v1beta1.IPAddressPool{with(pool("blue", "192.0.2.0/24"), func(p *v1beta1.IPAddressPool) {
				p.Spec.AutoAssign, p.Spec.AvoidBuggyIPs = &no, true
			})}},
			[]lb.Pool{{Name: "blue", Ranges: []lb.Range{first}, AvoidBuggyIPs: true}},
		},
		"pools come by priority, none last, and then by name": {
			config.Objects{Pools: []v1beta1.IPAddressPool{
				pool("open", "10.0.0.1/32"),
				with(pool("zero", "10.0.0.2/32"), pinned(v1beta1.ServiceAllocation{})),
				with(pool("two", "10.0.0.3/32"), pinned(v1beta1.ServiceAllocation{Priority: 2})),
				with(pool("one", "10.0.0.4/32"), pinned(v1beta1.ServiceAllocation{Priority: 1})),
				with(pool("also-two", "10.0.0.5/32"), pinned(v1beta1.ServiceAllocation{Priority: 2})),
			}},
			[]lb.Pool{
				{Name: "one", AutoAssign: true, Ranges: []lb.Range{ranged("10.0.0.4", "10.0.0.4")}, Pinning: &lb.Pinning{Priority: 1, AnyNamespace: true}},
				{Name: "also-two", AutoAssign: true, Ranges: []lb.Range{ranged("10.0.0.5", "10.0.0.5")}, Pinning: &lb.Pinning{Priority: 2, AnyNamespace: true}},
				{Name: "two", AutoAssign: true, Ranges: []lb.Range{ranged("10.0.0.3", "10.0.0.3")}, Pinning: &lb.Pinning{Priority: 2, AnyNamespace: true}},
				{Name: "open", AutoAssign: true, Ranges: []lb.Range{ranged("10.0.0.1", "10.0.0.1")}},
				{Name: "zero", AutoAssign: true, Ranges: []lb.Range{ranged("10.0.0.2", "10.0.0.2")}, Pinning: &lb.Pinning{AnyNamespace: true}},
			},
		},
		"neighbouring ranges do not overlap": {
			config.Objects{Pools: []v1beta1.IPAddressPool{pool("blue", "192.0.2.0/25"), pool("green", "192.0.2.128/25")}},
			[]lb.Pool{
				{Name: "blue", AutoAssign: true, Ranges: []lb.Range{ranged("192.0.2.0", "192.0.2.127")}},
				{Name: "green", AutoAssign: true, Ranges: []lb.Range{ranged("192.0.2.128", "192.0.2.255")}},
			},
		},
		"the families do not overlap": {
			config.Objects{Pools: []v1beta1.IPAddressPool{pool("four", "0.0.0.0/0"), pool("six", "::/0")}},
			[]lb.Pool{
				{Name: "four", AutoAssign: true, Ranges: []lb.Range{ranged("0.0.0.0", "255.255.255.255")}},
				{Name: "six", AutoAssign: true, Ranges: []lb.Range{ranged("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) { wantConfig(t, tc.objects, lb.Config{Pools: tc.want}) })
	}
}

func TestWhoMayDrawFromAPinnedPool(t *testing.T) {
	namespaces := []config.Namespace{
		{Name: "shop", Labels: labels("stage=live")},
		{Name: "blog", Labels: labels("stage=live,team=press")},
		{Name: "lab", Labels: labels("stage=test")},
	}
	front, admin := labels("tier=front"), labels("tier=admin")
	for name, tc := range map[string]struct {
		allocation v1beta1.ServiceAllocation
		namespace  string
		labels     map[string]string
		want       bool
	}{
		"all, if it pins to nothing":                  {v1beta1.ServiceAllocation{}, "anywhere", nil, true},
		"all, if it only ranks":                       {v1beta1.ServiceAllocation{Priority: 3}, "anywhere", nil, true},
		"a service of a namespace that is named":      {v1beta1.ServiceAllocation{Namespaces: []string{"shop"}}, "shop", nil, true},
		"no service of another":                       {v1beta1.ServiceAllocation{Namespaces: []string{"shop"}}, "lab", nil, false},
		"a named namespace need not exist":            {v1beta1.ServiceAllocation{Namespaces: []string{"later"}}, "later", nil, true},
		"a service of a namespace that is selected":   {v1beta1.ServiceAllocation{NamespaceSelectors: selecting("stage=live")}, "blog", nil, true},
		"no service where no selector selects":        {v1beta1.ServiceAllocation{NamespaceSelectors: selecting("stage=gone")}, "lab", nil, false},
		"any one of the selectors will do":            {v1beta1.ServiceAllocation{NamespaceSelectors: selecting("team=press", "stage=test")}, "lab", nil, true},
		"a name or a selector will do":                {v1beta1.ServiceAllocation{Namespaces: []string{"lab"}, NamespaceSelectors: selecting("stage=live")}, "lab", nil, true},
		"a service with the labels":                   {v1beta1.ServiceAllocation{ServiceSelectors: selecting("tier=front")}, "anywhere", front, true},
		"no service with others":                      {v1beta1.ServiceAllocation{ServiceSelectors: selecting("tier=front")}, "anywhere", admin, false},
		"any one of the service selectors will do":    {v1beta1.ServiceAllocation{ServiceSelectors: selecting("tier=front", "tier=admin")}, "anywhere", admin, true},
		"namespace and labels must both be right":     {v1beta1.ServiceAllocation{Namespaces: []string{"shop"}, ServiceSelectors: selecting("tier=front")}, "shop", front, true},
		"the namespace alone will not do":             {v1beta1.ServiceAllocation{Namespaces: []string{"shop"}, ServiceSelectors: selecting("tier=front")}, "shop", admin, false},
		"nor will the labels alone":                   {v1beta1.ServiceAllocation{Namespaces: []string{"shop"}, ServiceSelectors: selecting("tier=front")}, "lab", front, false},
		"an empty service selector selects everybody": {v1beta1.ServiceAllocation{ServiceSelectors: []metav1.LabelSelector{{}}}, "lab", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			c, problems := config.Parse(config.Objects{
				Pools:      []v1beta1.IPAddressPool{with(pool("blue", "192.0.2.0/24"), pinned(tc.allocation))},
				Namespaces: namespaces,
			})
			if len(problems) > 0 {
				t.Fatalf("problems %v", problems)
			}
			if got := c.Pools[0].Pinning.Contains(tc.namespace, tc.labels); got != tc.want {
				t.Errorf("a service of namespace %s with labels %v may draw: %t, want %t", tc.namespace, tc.labels, got, tc.want)
			}
		})
	}
}

func TestProblemsOfPools(t *testing.T) {
	allocation := "spec.serviceAllocation"
	for name, tc := range map[string]struct {
		pools []v1beta1.IPAddressPool
		// valid are the names of the pools that remain.
		valid []string
		want  []lb.Problem
	}{
		"a pool without addresses": {
			[]v1beta1.IPAddressPool{pool("blue")},
			nil,
			[]lb.Problem{problem("IPAddressPool blue", "spec.addresses", `pool "blue" has no prefixes defined`)},
		},
		"each bad range is named, and the good ones beside it do not count": {
			[]v1beta1.IPAddressPool{pool("blue", "192.0.2.0/24", "nonsense", "10.0.0.2-10.0.0.1"), pool("green", "192.0.2.0/24")},
			[]string{"green"},
			[]lb.Problem{
				problem("IPAddressPool blue", "spec.addresses[1]", `invalid CIDR "nonsense"`),
				problem("IPAddressPool blue", "spec.addresses[2]", `invalid IP range "10.0.0.2-10.0.0.1": start IP 10.0.0.2 is after end IP 10.0.0.1`),
			},
		},
		"ranges that overlap within a pool": {
			[]v1beta1.IPAddressPool{pool("blue", "192.0.2.0/24", "192.0.2.255-192.0.3.5")},
			nil,
			[]lb.Problem{problem("IPAddressPool blue", "spec.addresses[1]", `CIDR "192.0.2.255-192.0.3.5" in pool "blue" overlaps with already defined CIDR "192.0.2.0/24" in pool "blue"`)},
		},
		"of two pools that overlap the older holds": {
			[]v1beta1.IPAddressPool{with(pool("blue", "192.0.2.0/24"), created(time.Hour)), pool("green", "192.0.2.7/32")},
			[]string{"green"},
			[]lb.Problem{problem("IPAddressPool blue", "spec.addresses[0]", `CIDR "192.0.2.0/24" in pool "blue" overlaps with already defined CIDR "192.0.2.7/32" in pool "green"`)},
		},
		"of two pools of one second the first by name holds": {
			[]v1beta1.IPAddressPool{pool("green", "192.0.2.7/32"), pool("blue", "192.0.2.0/24")},
			[]string{"blue"},
			[]lb.Problem{problem("IPAddressPool green", "spec.addresses[0]", `CIDR "192.0.2.7/32" in pool "green" overlaps with already defined CIDR "192.0.2.0/24" in pool "blue"`)},
		},
		"a pool that holds nothing, because it is invalid, keeps nobody out": {
			[]v1beta1.IPAddressPool{pool("blue", "192.0.2.0/24", "nonsense"), with(pool("green", "192.0.2.0/25"), created(time.Hour))},
			[]string{"green"},
			[]lb.Problem{problem("IPAddressPool blue", "spec.addresses[1]", `invalid CIDR "nonsense"`)},
		},
		"a namespace named twice": {
			[]v1beta1.IPAddressPool{with(pool("blue", "192.0.2.0/24"), pinned(v1beta1.ServiceAllocation{Namespaces: []string{"a", "b", "a"}}))},
			nil,
			[]lb.Problem{problem("IPAddressPool blue", allocation+".namespaces[2]", `duplicate definition of "a"`)},
		},
		"a namespace selector given twice": {
			[]v1beta1.IPAddressPool{with(pool("blue", "192.0.2.0/24"), pinned(v1beta1.ServiceAllocation{NamespaceSelectors: selecting("a=b,c=d", "c=d,a=b")}))},
			nil,
			[]lb.Problem{problem("IPAddressPool blue", allocation+".namespaceSelectors[1]", `duplicate definition of selector "a=b,c=d"`)},
		},
		"a service selector given twice": {
			[]v1beta1.IPAddressPool{with(pool("blue", "192.0.2.0/24"), pinned(v1beta1.ServiceAllocation{ServiceSelectors: selecting("a=b", "a=b")}))},
			nil,
			[]lb.Problem{problem("IPAddressPool blue", allocation+".serviceSelectors[1]", `duplicate definition of selector "a=b"`)},
		},
		"selectors that cannot be compiled are each named once": {
			[]v1beta1.IPAddressPool{with(pool("blue", "192.0.2.0/24"), pinned(v1beta1.ServiceAllocation{ServiceSelectors: append(nonsense(), nonsense()...)}))},
			nil,
			[]lb.Problem{
				problem("IPAddressPool blue", allocation+".serviceSelectors[0]", `invalid label selector: "Resembles" is not a valid label selector operator`),
				problem("IPAddressPool blue", allocation+".serviceSelectors[1]", `invalid label selector: "Resembles" is not a valid label selector operator`),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var valid []lb.Pool
			for _, p := range tc.pools {
				c, _ := config.Parse(config.Objects{Pools: []v1beta1.IPAddressPool{p}})
				for _, name := range tc.valid {
					if p.Name == name {
						valid = append(valid, c.Pools...)
					}
				}
			}
			wantConfig(t, config.Objects{Pools: tc.pools}, lb.Config{Pools: valid, PoolsIncomplete: true}, tc.want...)
		})
	}
}
