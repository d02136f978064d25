// Package config compiles what users configured into an [lb.Config], and says what
// is wrong with it, object by object and field by field.
//
// An object with a problem contributes nothing and harms no other. Where two
// objects contradict each other, the older one holds and the newer one has the
// problem. Where an advertisement or a peer is in order by itself and only does not go
// with one pool, it does without that pool, or without what does not go with it: a pool
// that somebody adds takes no route from others, and ends no session.
//
// A [Keeper] goes further: it keeps the last valid version of an object
// in force until the object is mended or deleted, and holds what was in force
// against what changes, whichever object is older.
package config

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// Objects is all that the configuration is made of.
type Objects struct {
	Pools             []v1beta1.IPAddressPool
	L2Advertisements  []v1beta1.L2Advertisement
	Peers             []v1beta2.BGPPeer
	BGPAdvertisements []v1beta1.BGPAdvertisement
	BFDProfiles       []v1beta1.BFDProfile
	Communities       []v1beta1.Community
	// Secrets are those that peers name as passwordSecret, as far as they exist.
	Secrets []Secret
	// Namespaces are what namespaceSelectors select from.
	Namespaces []Namespace
	// Nodes are what nodeSelectors select from.
	Nodes []lb.Node
	// Node is whose configuration it is: BGPPeers and BGPAdvertisements that do not select
	// it count for nothing, and so do their problems. Empty is that of all nodes.
	Node lb.NodeName

	// past is what a Keeper knows of the objects from before.
	past past
}

// Kinds are those of the objects that can have problems.
func Kinds() []string {
	return []string{poolKind, l2AdvertisementKind, peerKind, bgpAdvertisementKind, bfdProfileKind, communityKind}
}

// Namespace is a Kubernetes Namespace.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Secret is a Kubernetes Secret, as far as a BGP password is looked for in it.
type Secret struct {
	Name string
	// Type is the Secret's type: kubernetes.io/basic-auth where it is meant for this.
	Type string
	// Password is the value of the key "password"; empty without the key.
	Password lb.Secret
}

// Parse compiles the objects. The order in which they are given does not matter.
// Problems are sorted by object and field.
func Parse(o Objects) (lb.Config, []lb.Problem) {
	c, problems, _ := parse(o)
	return c, problems
}

// parse returns what the objects refer to each other by as well.
func parse(o Objects) (lb.Config, []lb.Problem, references) {
	var c lb.Config
	var r report
	c.Pools = parsePools(&r, o)
	c.PoolsIncomplete = len(r.problems) > 0
	c.L2Advertisements = parseL2Advertisements(&r, o)
	refs := references{
		communities: parseCommunities(&r, o),
		profiles:    parseBFDProfiles(&r, o),
		secrets:     secretsByName(o.Secrets),
	}
	c.Peers = parsePeers(&r, o, refs)
	extents := measure(o.Pools, c.Pools)
	c.BGPAdvertisements = parseBGPAdvertisements(&r, o, refs, extents)
	o.checkEcho(&r, c, extents)
	slices.SortStableFunc(r.problems, compareProblems)
	return c, r.problems, refs
}

// Selected returns the nodes that an object is for, sorted: those that the nodeSelectors of
// a BGPPeer or a BGPAdvertisement pick; all, where those are not valid or the object has none.
func (o Objects) Selected(ref lb.ObjectRef) []lb.NodeName {
	f := findings{report: &report{}}
	selectors := f.selectors("", o.nodeSelectors(ref))
	if f.any {
		selectors = nil
	}
	return selectNodes(selectors, o.Nodes)
}

func (o Objects) nodeSelectors(ref lb.ObjectRef) []metav1.LabelSelector {
	for _, p := range o.Peers {
		if ref == refTo(peerKind, &p) {
			return p.Spec.NodeSelectors
		}
	}
	for _, ad := range o.BGPAdvertisements {
		if ref == refTo(bgpAdvertisementKind, &ad) {
			return ad.Spec.NodeSelectors
		}
	}
	return nil
}

func compareProblems(a, b lb.Problem) int {
	return cmp.Or(
		cmp.Compare(a.Object.Kind, b.Object.Kind),
		cmp.Compare(a.Object.Namespace, b.Object.Namespace),
		cmp.Compare(a.Object.Name, b.Object.Name),
		cmp.Compare(a.Field, b.Field),
		cmp.Compare(a.Message, b.Message),
	)
}

// report collects the problems of all objects.
type report struct{ problems []lb.Problem }

// about returns the findings of one object, which are none yet.
func (r *report) about(kind string, o metav1.Object) *findings {
	return &findings{object: refTo(kind, o), report: r}
}

func refTo(kind string, o metav1.Object) lb.ObjectRef {
	return lb.ObjectRef{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// findings are the problems of one object.
type findings struct {
	object lb.ObjectRef
	report *report
	// any says that there are some.
	any bool
}

func (f *findings) add(field, format string, args ...any) {
	f.addProblem(lb.Problem{Object: f.object, Field: field, Message: fmt.Sprintf(format, args...)})
}

// addVerbatim adds a problem in words that users' tests compare as a whole.
func (f *findings) addVerbatim(field, message string) {
	f.addProblem(lb.Problem{Object: f.object, Field: field, Message: message, Verbatim: true})
}

func (f *findings) addProblem(p lb.Problem) {
	f.any = true
	f.report.problems = append(f.report.problems, p)
}

// selectors compiles a list of label selectors and finds what is wrong with it.
func (f *findings) selectors(field string, raw []metav1.LabelSelector) lb.Selectors {
	var out lb.Selectors
	seen := map[string]bool{}
	for i := range raw {
		at := fmt.Sprintf("%s[%d]", field, i)
		s, ok := f.selector(at, &raw[i])
		if ok && seen[s.String()] {
			f.add(at, "duplicate definition of selector %q", s)
		}
		seen[s.String()] = true
		out = append(out, s)
	}
	return out
}

func (f *findings) selector(field string, raw *metav1.LabelSelector) (lb.Selector, bool) {
	s, err := metav1.LabelSelectorAsSelector(raw)
	if err != nil {
		f.add(field, "invalid label selector: %s", err)
		return lb.Selector{}, false
	}
	return lb.NewSelector(s), true
}

// distinct finds the names that stand in a list twice.
func (f *findings) distinct(field string, names []string) {
	seen := map[string]bool{}
	for i, n := range names {
		if seen[n] {
			f.add(fmt.Sprintf("%s[%d]", field, i), "duplicate definition of %q", n)
		}
		seen[n] = true
	}
}

// object is a kind of object by its pointer.
type object[T any] interface {
	*T
	metav1.Object
}

// inPrecedence orders objects so that, of two that contradict each other, the one that
// holds comes first: what was in force before, then what was there first.
func inPrecedence[T any, P object[T]](kind string, items []T, standing map[lb.ObjectRef]bool) []T {
	place := func(o P) int {
		if standing[refTo(kind, o)] {
			return 0
		}
		return 1
	}
	sorted := slices.Clone(items)
	slices.SortFunc(sorted, func(a, b T) int {
		x, y := P(&a), P(&b)
		return cmp.Or(
			cmp.Compare(place(x), place(y)),
			x.GetCreationTimestamp().Compare(y.GetCreationTimestamp().Time),
			cmp.Compare(x.GetName(), y.GetName()),
		)
	})
	return sorted
}

// sortedSet returns the distinct values in order.
func sortedSet[T cmp.Ordered](values []T) []T {
	slices.Sort(values)
	return slices.Compact(values)
}
