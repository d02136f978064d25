package lb

import (
	"net/netip"
	"reflect"
	"slices"
)

// Config is everything that users configured and that is valid, compiled: names
// are resolved, selectors over Nodes and Namespaces evaluated, lists sorted.
type Config struct {
	// Pools is sorted by priority (ascending, 0 last), then by name.
	Pools []Pool
	// PoolsIncomplete says that some pool is invalid and no valid version of it is
	// known: an address in none of the pools may then be its.
	PoolsIncomplete bool
	// L2Advertisements is sorted by name.
	L2Advertisements []L2Advertisement
	// Peers is sorted by name.
	Peers []Peer
	// BGPAdvertisements is sorted by name.
	BGPAdvertisements []BGPAdvertisement
}

// Equal reports whether both say the same.
func (c Config) Equal(o Config) bool { return reflect.DeepEqual(c, o) }

// Pool is a named set of ranges and the rules for who may draw from it.
type Pool struct {
	Name PoolName
	// Ranges are drawn from in this order, each from its lowest address up.
	Ranges []Range
	// AutoAssign says that services which ask for nothing may draw from the pool.
	AutoAssign bool
	// AvoidBuggyIPs withholds the IPv4 addresses that end in .0 or .255.
	AvoidBuggyIPs bool
	// Pinning restricts the pool to some services; nil opens it to all.
	Pinning *Pinning
}

// Pinning is who may draw from a pool, and how early it is tried for them.
type Pinning struct {
	// Priority: the lower is tried first, and 0 means last.
	Priority int
	// AnyNamespace is set when neither names nor selectors of namespaces are given.
	AnyNamespace bool
	// Namespaces are those named and those selected, sorted.
	Namespaces []string
	// ServiceSelectors restrict by the labels of the Service; none accepts all.
	ServiceSelectors Selectors
}

// Contains reports whether a service of that namespace with these labels may draw.
func (p *Pinning) Contains(namespace string, labels map[string]string) bool {
	if p == nil {
		return true
	}
	inNamespace := p.AnyNamespace || slices.Contains(p.Namespaces, namespace)
	return inNamespace && p.ServiceSelectors.ContainsOrEmpty(labels)
}

// Contains reports whether the pool hands out the address at all.
func (p Pool) Contains(a netip.Addr) bool {
	if p.AvoidBuggyIPs && Buggy(a) {
		return false
	}
	return slices.ContainsFunc(p.Ranges, func(r Range) bool { return r.Contains(a) })
}

// Buggy reports whether some clients take an IPv4 address for a network or
// broadcast address and refuse to talk to it: it ends in .0 or .255.
func Buggy(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	last := a.As4()[3]
	return last == 0 || last == 255
}

// Range is a run of addresses of one family, both ends included.
type Range struct {
	First netip.Addr
	Last  netip.Addr
}

// Contains reports whether the address lies in the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.First.BitLen() && r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0
}

// Overlaps reports whether the ranges have an address in common.
func (r Range) Overlaps(o Range) bool {
	return r.First.BitLen() == o.First.BitLen() && r.First.Compare(o.Last) <= 0 && o.First.Compare(r.Last) <= 0
}

// String returns "first-last".
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

// L2Advertisement says that the addresses of some pools are announced over ARP
// and NDP by some nodes, on some links.
type L2Advertisement struct {
	Name string
	// Pools are those named and those selected that exist, valid or not, sorted; all
	// if neither was given.
	Pools []PoolName
	// Nodes are those that the selectors pick, sorted; all if there are none.
	Nodes []NodeName
	// Links are the permitted names, sorted; nil permits all.
	Links []string
	// ServiceSelectors restrict by the labels of the Service; none accepts all.
	ServiceSelectors Selectors
	// Preferences rank the nodes: each adds its weight to those it picks.
	Preferences []Preference
}

// Preference adds a weight, 1 to 100, to some nodes in the election.
type Preference struct {
	Weight int
	// Nodes are those that the preference's selector picks, sorted.
	Nodes []NodeName
}

// Node is a Kubernetes Node with the facts that decide whether it may announce.
type Node struct {
	Name   NodeName
	Labels map[string]string
	// NetworkUnavailable is the condition of that name, set by cloud and network controllers.
	NetworkUnavailable bool
	// Excluded: it carries the label node.kubernetes.io/exclude-from-external-load-balancers.
	Excluded bool
}

// ObjectRef names a Kubernetes object in a Problem.
type ObjectRef struct {
	Kind      string
	Namespace string
	Name      string
}

// String returns "Kind namespace/name".
func (r ObjectRef) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Problem is one thing wrong with the configuration, at an object and field.
// The object contributes nothing to the Config while it has a problem; but one that is
// in order by itself, and only at odds with another, is without what is at odds alone
// where there is such a part.
type Problem struct {
	Object ObjectRef
	// Field is the path inside the object, such as "spec.addresses[1]".
	Field string
	// Message says what is wrong, in words that users' tests match on.
	Message string
	// Verbatim says that users' tests compare the message as a whole, and that it names
	// what it is about by itself.
	Verbatim bool
}

// String returns "Kind namespace/name: field: message", or the message alone where it
// is to stand verbatim.
func (p Problem) String() string {
	if p.Verbatim {
		return p.Message
	}
	return p.Object.String() + ": " + p.Words()
}

// Words returns "field: message", for where it is clear which object it is about; or the
// message alone where it is to stand verbatim.
func (p Problem) Words() string {
	if p.Verbatim || p.Field == "" {
		return p.Message
	}
	return p.Field + ": " + p.Message
}
