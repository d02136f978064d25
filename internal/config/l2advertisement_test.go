package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

func TestL2Advertisements(t *testing.T) {
	pools := []v1beta1.IPAddressPool{
		with(pool("blue", "192.0.2.0/24"), labelled("net=office")),
		with(pool("green", "198.51.100.0/24"), labelled("net=dmz")),
	}
	nodes := []lb.Node{node("c", "zone=z2"), node("a", "zone=z1,rack=r1"), node("b", "zone=z1")}
	both, all := []lb.PoolName{"blue", "green"}, []lb.NodeName{"a", "b", "c"}
	anyNode := metav1.LabelSelector{}

	for name, tc := range map[string]struct {
		spec v1beta1.L2AdvertisementSpec
		want lb.L2Advertisement
	}{
		"an empty one is about all pools, from all nodes, on all links": {
			v1beta1.L2AdvertisementSpec{},
			lb.L2Advertisement{Pools: both, Nodes: all},
		},
		"pools are named; a name that no pool has is ignored": {
			v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"later", "green"}},
			lb.L2Advertisement{Pools: []lb.PoolName{"green"}, Nodes: all},
		},
		"only names that no pool has are about none": {
			v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"later"}},
			lb.L2Advertisement{Nodes: all},
		},
		"pools are selected by their labels": {
			v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: selecting("net=dmz", "net=gone")},
			lb.L2Advertisement{Pools: []lb.PoolName{"green"}, Nodes: all},
		},
		"a pool that is named and selected counts once": {
			v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"green", "blue"}, IPAddressPoolSelectors: selecting("net=dmz")},
			lb.L2Advertisement{Pools: both, Nodes: all},
		},
		"nodes are those that any selector selects": {
			v1beta1.L2AdvertisementSpec{NodeSelectors: selecting("rack=r1", "zone=z2")},
			lb.L2Advertisement{Pools: both, Nodes: []lb.NodeName{"a", "c"}},
		},
		"selectors that select no node leave none": {
			v1beta1.L2AdvertisementSpec{NodeSelectors: selecting("zone=gone")},
			lb.L2Advertisement{Pools: both},
		},
		"links are sorted, and naming one twice does no harm": {
			v1beta1.L2AdvertisementSpec{Interfaces: []string{"eth1", "eth0", "eth1"}},
			lb.L2Advertisement{Pools: both, Nodes: all, Links: []string{"eth0", "eth1"}},
		},
		"a preference knows the nodes that it picks, an empty one all": {
			v1beta1.L2AdvertisementSpec{PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{
				{Weight: 100, Preference: selecting("zone=z1")[0]}, {Weight: 1, Preference: anyNode},
			}},
			lb.L2Advertisement{Pools: both, Nodes: all, Preferences: []lb.Preference{
				{Weight: 100, Nodes: []lb.NodeName{"a", "b"}}, {Weight: 1, Nodes: all},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, problems := config.Parse(config.Objects{
				Pools: pools, Nodes: nodes, L2Advertisements: []v1beta1.L2Advertisement{l2("lan", tc.spec)},
			})
			tc.want.Name = "lan"
			if diff := cmp.Diff([]lb.L2Advertisement{tc.want}, c.L2Advertisements, byValue); diff != "" || len(problems) > 0 {
				t.Errorf("advertisements (-want +got):\n%sproblems: %v", diff, problems)
			}
		})
	}
}

func TestAnAdvertisementRestrictsByTheLabelsOfServices(t *testing.T) {
	c, _ := config.Parse(config.Objects{L2Advertisements: []v1beta1.L2Advertisement{
		l2("all", v1beta1.L2AdvertisementSpec{}),
		l2("some", v1beta1.L2AdvertisementSpec{ServiceSelectors: selecting("tier=front", "tier=edge")}),
	}})
	for i, want := range []map[string]bool{
		{"tier=front": true, "tier=edge": true, "tier=back": true},
		{"tier=front": true, "tier=edge": true, "tier=back": false},
	} {
		for text, want := range want {
			ad := c.L2Advertisements[i]
			if got := ad.ServiceSelectors.ContainsOrEmpty(labels(text)); got != want {
				t.Errorf("advertisement %q is about a service with %s: %t, want %t", ad.Name, text, got, want)
			}
		}
	}
}

func TestProblemsOfL2Advertisements(t *testing.T) {
	preferring := func(weight int32, s metav1.LabelSelector) v1beta1.L2AdvertisementSpec {
		return v1beta1.L2AdvertisementSpec{PreferredNodeSelectors: []v1beta1.PreferredNodeSelector{{Weight: weight, Preference: s}}}
	}
	invalid := `invalid label selector: "Resembles" is not a valid label selector operator`
	for name, tc := range map[string]struct {
		spec           v1beta1.L2AdvertisementSpec
		field, message string
	}{
		"a pool named twice":                   {v1beta1.L2AdvertisementSpec{IPAddressPools: []string{"a", "a"}}, "spec.ipAddressPools[1]", `duplicate definition of "a"`},
		"a pool selector given twice":          {v1beta1.L2AdvertisementSpec{IPAddressPoolSelectors: selecting("a=b", "a=b")}, "spec.ipAddressPoolSelectors[1]", `duplicate definition of selector "a=b"`},
		"a node selector given twice":          {v1beta1.L2AdvertisementSpec{NodeSelectors: selecting("a=b", "a=b")}, "spec.nodeSelectors[1]", `duplicate definition of selector "a=b"`},
		"a service selector given twice":       {v1beta1.L2AdvertisementSpec{ServiceSelectors: selecting("a=b", "a=b")}, "spec.serviceSelectors[1]", `duplicate definition of selector "a=b"`},
		"a selector that cannot be compiled":   {v1beta1.L2AdvertisementSpec{NodeSelectors: nonsense()}, "spec.nodeSelectors[0]", invalid},
		"a preference that cannot be compiled": {preferring(1, nonsense()[0]), "spec.preferredNodeSelectors[0].preference", invalid},
		"a weight below 1":                     {preferring(0, metav1.LabelSelector{}), "spec.preferredNodeSelectors[0].weight", "weight 0 is not between 1 and 100"},
		"a weight above 100":                   {preferring(101, metav1.LabelSelector{}), "spec.preferredNodeSelectors[0].weight", "weight 101 is not between 1 and 100"},
	} {
		t.Run(name, func(t *testing.T) {
			wantConfig(t,
				config.Objects{L2Advertisements: []v1beta1.L2Advertisement{l2("bad", tc.spec), l2("good", v1beta1.L2AdvertisementSpec{})}},
				lb.Config{L2Advertisements: []lb.L2Advertisement{{Name: "good"}}},
				problem("L2Advertisement bad", tc.field, tc.message))
		})
	}
}
