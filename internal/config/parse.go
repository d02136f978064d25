// Package config compiles what users configured into an [lb.Config], and says what
// is wrong with it, object by object and field by field.
//
// An object with a problem contributes nothing and harms no other. Where two
// objects contradict each other, the older one holds and the newer one has the
// problem. A [Keeper] goes further: it keeps the last valid version of an object
// in force until the object is mended or deleted, and holds what was in force
// against what changes, whichever object is older.
package config

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// Objects is all that the configuration is made of.
type Objects struct {
	Pools            []v1beta1.IPAddressPool
	L2Advertisements []v1beta1.L2Advertisement
	// Namespaces are what namespaceSelectors select from.
	Namespaces []Namespace
	// Nodes are what nodeSelectors select from.
	Nodes []lb.Node

	// standing are the pools that a Keeper has had in force just so: whoever changes
	// into their ranges has the problem, be it older.
	standing map[string]bool
}

// Namespace is a Kubernetes Namespace.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Parse compiles the objects. The order in which they are given does not matter.
// Problems are sorted by object and field.
func Parse(o Objects) (lb.Config, []lb.Problem) {
	var c lb.Config
	var problems []lb.Problem
	c.Pools, problems = parsePools(o)
	c.PoolsIncomplete = len(problems) > 0
	l2, l2Problems := parseL2Advertisements(o)
	c.L2Advertisements = l2
	problems = append(problems, l2Problems...)
	slices.SortStableFunc(problems, compareProblems)
	return c, problems
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

// findings collects the problems of one object.
type findings struct {
	object   lb.ObjectRef
	problems []lb.Problem
}

func (f *findings) add(field, format string, args ...any) {
	f.problems = append(f.problems, lb.Problem{Object: f.object, Field: field, Message: fmt.Sprintf(format, args...)})
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

// oldestFirst orders objects so that, of two that contradict each other, the one
// that was there first comes first.
func oldestFirst[T any, P interface {
	*T
	metav1.Object
}](items []T) []T {
	sorted := slices.Clone(items)
	slices.SortFunc(sorted, func(a, b T) int {
		x, y := P(&a), P(&b)
		return cmp.Or(
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
