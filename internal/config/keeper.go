package config

import (
	"reflect"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// Keeper parses one state of the objects after the other, and keeps the last valid
// version of each object in force while its current one has a problem: with what it
// referred to, where that is gone. It is not safe for concurrent use.
type Keeper struct {
	valid map[lb.ObjectRef]version
}

// version is an object as it was when it was valid.
type version struct {
	object     any
	references references
}

// past is what a Keeper knows of the objects from before.
type past struct {
	// standing are the objects that have been in force just so: whoever changes into what
	// contradicts them has the problem, be it older.
	standing map[lb.ObjectRef]bool
	// references are those of earlier versions that stand in.
	references map[lb.ObjectRef]references
	// replaced are the objects in whose place another version stands.
	replaced map[lb.ObjectRef]bool
}

// Parse is the function of that name with a memory. The problems are those of the
// objects as they are now, whether or not an earlier version stands in for them,
// and of those objects that contradict a version which stands in.
func (k *Keeper) Parse(o Objects) (lb.Config, []lb.Problem) {
	var problems []lb.Problem
	for {
		now := k.standIns(o, problems)
		c, found, refs := parse(now)
		more := union(problems, causes(found, problems, now.past))
		if len(more) == len(problems) {
			k.remember(o, problems, refs)
			return c, problems
		}
		// Whoever contradicts a version that stands in has one that stands in for it, too.
		problems = more
	}
}

// causes returns those of the problems that are new, of the objects as they are now, and
// not perhaps the consequence of others that are: what a peer refers to is mended first,
// by its last valid version.
func causes(found, known []lb.Problem, past past) []lb.Problem {
	fresh := slices.DeleteFunc(slices.Clone(found), func(p lb.Problem) bool { return past.replaced[p.Object] || slices.Contains(known, p) })
	if len(fresh) == 0 {
		return nil
	}
	first := slices.MinFunc(fresh, func(a, b lb.Problem) int { return dependence(a) - dependence(b) })
	return slices.DeleteFunc(fresh, func(p lb.Problem) bool { return dependence(p) > dependence(first) })
}

// dependence is 0 for kinds that refer to no other, and more for those that do.
func dependence(p lb.Problem) int {
	switch p.Object.Kind {
	case bgpAdvertisementKind:
		return 2
	case peerKind:
		return 1
	}
	return 0
}

func union(problems, more []lb.Problem) []lb.Problem {
	all := append(slices.Clone(problems), more...)
	slices.SortFunc(all, compareProblems)
	return slices.Compact(all)
}

// standIns puts the last valid version, if there is one, in the place of each object
// that has a problem.
func (k *Keeper) standIns(o Objects, problems []lb.Problem) Objects {
	o.past = past{standing: map[lb.ObjectRef]bool{}, references: map[lb.ObjectRef]references{}, replaced: map[lb.ObjectRef]bool{}}
	o.Pools = standIn(k, o.past, poolKind, o.Pools, problems)
	o.L2Advertisements = standIn(k, o.past, l2AdvertisementKind, o.L2Advertisements, problems)
	o.Peers = standIn(k, o.past, peerKind, o.Peers, problems)
	o.BGPAdvertisements = standIn(k, o.past, bgpAdvertisementKind, o.BGPAdvertisements, problems)
	o.BFDProfiles = standIn(k, o.past, bfdProfileKind, o.BFDProfiles, problems)
	o.Communities = standIn(k, o.past, communityKind, o.Communities, problems)
	return o
}

func standIn[T any, P object[T]](k *Keeper, past past, kind string, now []T, problems []lb.Problem) []T {
	out := slices.Clone(now)
	for i := range out {
		ref := refTo(kind, P(&out[i]))
		old, known := k.valid[ref]
		if !known {
			continue
		}
		unchanged := reflect.DeepEqual(spec(old.object), spec(out[i]))
		if invalid(ref, problems) {
			out[i], past.references[ref], past.replaced[ref] = old.object.(T), old.references, !unchanged
		}
		past.standing[ref] = unchanged || past.replaced[ref]
	}
	return out
}

// spec returns what the field of that name holds, which all our kinds have.
func spec(object any) any { return reflect.ValueOf(object).FieldByName("Spec").Interface() }

// remember keeps the last valid version of every object that still exists.
func (k *Keeper) remember(o Objects, problems []lb.Problem, refs references) {
	next := map[lb.ObjectRef]version{}
	remember(k, next, poolKind, o.Pools, problems, refs)
	remember(k, next, l2AdvertisementKind, o.L2Advertisements, problems, refs)
	remember(k, next, peerKind, o.Peers, problems, refs)
	remember(k, next, bgpAdvertisementKind, o.BGPAdvertisements, problems, refs)
	remember(k, next, bfdProfileKind, o.BFDProfiles, problems, refs)
	remember(k, next, communityKind, o.Communities, problems, refs)
	k.valid = next
}

func remember[T any, P object[T]](k *Keeper, next map[lb.ObjectRef]version, kind string, now []T, problems []lb.Problem, refs references) {
	for _, item := range now {
		ref := refTo(kind, P(&item))
		if !invalid(ref, problems) {
			next[ref] = version{item, refs}
		} else if old, ok := k.valid[ref]; ok {
			next[ref] = old
		}
	}
}

func invalid(ref lb.ObjectRef, problems []lb.Problem) bool {
	return slices.ContainsFunc(problems, func(p lb.Problem) bool { return p.Object == ref })
}
