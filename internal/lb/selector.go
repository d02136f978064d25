package lb

import "k8s.io/apimachinery/pkg/labels"

// Selector picks objects by their labels. The zero Selector picks nothing.
type Selector struct {
	requirements labels.Selector
}

// NewSelector returns the Selector for a parsed Kubernetes label selector.
func NewSelector(s labels.Selector) Selector { return Selector{requirements: s} }

// Contains reports whether an object with these labels is picked.
func (s Selector) Contains(objectLabels map[string]string) bool {
	return s.requirements != nil && s.requirements.Matches(labels.Set(objectLabels))
}

// String returns the canonical text of the selector, such as "app in (a,b),tier=front".
func (s Selector) String() string {
	if s.requirements == nil {
		return "<nothing>"
	}
	return s.requirements.String()
}

// Equal reports whether both pick by the same requirements.
func (s Selector) Equal(o Selector) bool { return s.String() == o.String() }

// Selectors is a list of alternatives: it picks what any of its members picks.
type Selectors []Selector

// Contains reports whether any of the selectors picks an object with these labels.
func (s Selectors) Contains(objectLabels map[string]string) bool {
	for _, sel := range s {
		if sel.Contains(objectLabels) {
			return true
		}
	}
	return false
}

// ContainsOrEmpty is Contains, but a list without members picks everything, as
// the optional selectors of the API do.
func (s Selectors) ContainsOrEmpty(objectLabels map[string]string) bool {
	return len(s) == 0 || s.Contains(objectLabels)
}
