package config

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

const l2AdvertisementKind = "L2Advertisement"

func parseL2Advertisements(r *report, o Objects) []lb.L2Advertisement {
	var ads []lb.L2Advertisement
	for _, raw := range o.L2Advertisements {
		f := r.about(l2AdvertisementKind, &raw)
		if ad := parseL2Advertisement(f, raw, o); !f.any {
			ads = append(ads, ad)
		}
	}
	slices.SortFunc(ads, func(a, b lb.L2Advertisement) int { return cmp.Compare(a.Name, b.Name) })
	return ads
}

func parseL2Advertisement(f *findings, raw v1beta1.L2Advertisement, o Objects) lb.L2Advertisement {
	ad := lb.L2Advertisement{
		Name:             raw.Name,
		Pools:            selectPools(f, raw.Spec.IPAddressPools, raw.Spec.IPAddressPoolSelectors, o.Pools),
		Nodes:            selectNodes(f.selectors("spec.nodeSelectors", raw.Spec.NodeSelectors), o.Nodes),
		ServiceSelectors: f.selectors("spec.serviceSelectors", raw.Spec.ServiceSelectors),
		Preferences:      parsePreferences(f, raw.Spec.PreferredNodeSelectors, o.Nodes),
	}
	if len(raw.Spec.Interfaces) > 0 {
		ad.Links = sortedSet(slices.Clone(raw.Spec.Interfaces))
	}
	return ad
}

// selectPools resolves which pools an advertisement is about. A name that no pool
// has is no problem: the pool may come later.
func selectPools(f *findings, names []string, raw []metav1.LabelSelector, pools []v1beta1.IPAddressPool) []lb.PoolName {
	f.distinct("spec.ipAddressPools", names)
	selectors := f.selectors("spec.ipAddressPoolSelectors", raw)
	all := len(names) == 0 && len(selectors) == 0
	var out []lb.PoolName
	for _, p := range pools {
		if all || slices.Contains(names, p.Name) || selectors.Contains(p.Labels) {
			out = append(out, lb.PoolName(p.Name))
		}
	}
	return sortedSet(out)
}

func selectNodes(selectors lb.Selectors, nodes []lb.Node) []lb.NodeName {
	var out []lb.NodeName
	for _, n := range nodes {
		if selectors.ContainsOrEmpty(n.Labels) {
			out = append(out, n.Name)
		}
	}
	return sortedSet(out)
}

func parsePreferences(f *findings, raw []v1beta1.PreferredNodeSelector, nodes []lb.Node) []lb.Preference {
	var out []lb.Preference
	for i := range raw {
		at := fmt.Sprintf("spec.preferredNodeSelectors[%d]", i)
		if raw[i].Weight < 1 || raw[i].Weight > 100 {
			f.add(at+".weight", "weight %d is not between 1 and 100", raw[i].Weight)
		}
		s, _ := f.selector(at+".preference", &raw[i].Preference)
		out = append(out, lb.Preference{Weight: int(raw[i].Weight), Nodes: selectNodes(lb.Selectors{s}, nodes)})
	}
	return out
}
