package config

import (
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// Keeper parses one state of the objects after the other, and keeps the last valid
// version of each object in force while its current one has a problem. It is not
// safe for concurrent use.
type Keeper struct {
	pools            map[string]v1beta1.IPAddressPool
	l2Advertisements map[string]v1beta1.L2Advertisement
}

// Parse is the function of that name with a memory. The problems are those of the
// objects as they are now, whether or not an earlier version stands in for them,
// and of those objects that contradict a version which stands in.
func (k *Keeper) Parse(o Objects) (lb.Config, []lb.Problem) {
	o.standing = k.standing(o.Pools)
	c, problems := Parse(o)
	// Whoever contradicts a version that stands in has one that stands in for it, too.
	for known := 0; len(problems) > known; {
		known = len(problems)
		standIns := o
		standIns.Pools = replaceInvalid(o.Pools, k.pools, poolKind, problems)
		standIns.standing = k.standing(standIns.Pools)
		standIns.L2Advertisements = replaceInvalid(o.L2Advertisements, k.l2Advertisements, l2AdvertisementKind, problems)
		var more []lb.Problem
		c, more = Parse(standIns)
		problems = union(problems, more)
	}
	k.pools = remember(o.Pools, k.pools, poolKind, problems)
	k.l2Advertisements = remember(o.L2Advertisements, k.l2Advertisements, l2AdvertisementKind, problems)
	return c, problems
}

// standing are the pools whose last valid version is the one given.
func (k *Keeper) standing(pools []v1beta1.IPAddressPool) map[string]bool {
	out := map[string]bool{}
	for _, p := range pools {
		old, ok := k.pools[p.Name]
		out[p.Name] = ok && reflect.DeepEqual(old.Spec, p.Spec)
	}
	return out
}

func union(problems, more []lb.Problem) []lb.Problem {
	all := append(slices.Clone(problems), more...)
	slices.SortFunc(all, compareProblems)
	return slices.Compact(all)
}

// replaceInvalid puts the last valid version, if there is one, in the place of each
// object that has a problem.
func replaceInvalid[T any, P interface {
	*T
	metav1.Object
}](now []T, valid map[string]T, kind string, problems []lb.Problem) []T {
	out := slices.Clone(now)
	for i := range out {
		name := P(&out[i]).GetName()
		if old, ok := valid[name]; ok && invalid(kind, name, problems) {
			out[i] = old
		}
	}
	return out
}

// remember returns the last valid version of every object that still exists.
func remember[T any, P interface {
	*T
	metav1.Object
}](now []T, valid map[string]T, kind string, problems []lb.Problem) map[string]T {
	out := make(map[string]T, len(now))
	for _, item := range now {
		name := P(&item).GetName()
		if !invalid(kind, name, problems) {
			out[name] = item
		} else if old, ok := valid[name]; ok {
			out[name] = old
		}
	}
	return out
}

func invalid(kind, name string, problems []lb.Problem) bool {
	return slices.ContainsFunc(problems, func(p lb.Problem) bool {
		return p.Object.Kind == kind && p.Object.Name == name
	})
}
