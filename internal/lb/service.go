package lb

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Service is what Herald needs to know of a Kubernetes Service of type
// LoadBalancer that it handles.
type Service struct {
	Key ServiceKey
	// UID tells a Service from an earlier one of the same name.
	UID string
	// Created orders services that wait for an address: the oldest is served first.
	Created time.Time
	Labels  map[string]string

	// ClusterIPs decide the families; a headless service has none.
	ClusterIPs []netip.Addr
	// FamilyPolicy is spec.ipFamilyPolicy.
	FamilyPolicy FamilyPolicy
	Ports        []Port
	// LocalTraffic is externalTrafficPolicy: Local.
	LocalTraffic bool
	// PodSelector is the canonical text of spec.selector.
	PodSelector string

	Request Request

	// Held are the addresses that the status records, in its order.
	Held []netip.Addr
	// HeldFrom is the pool that the annotation ip-allocated-from-pool records.
	HeldFrom PoolName
}

// Request is what a Service asks for by annotations and spec.loadBalancerIP.
type Request struct {
	// Addresses, one or one of each family; empty leaves the choice to Herald.
	Addresses []netip.Addr
	Pool      PoolName
	// SharingKey lets services hold one address on different ports; empty shares nothing.
	SharingKey string
	// HasSharingKey is set when the annotation is present, be it empty.
	HasSharingKey bool
	// Invalid says what is wrong with the request; empty when nothing is.
	Invalid string
	// Deprecated lists the legacy annotations in use, sorted.
	Deprecated []string
}

// FamilyPolicy is a Service's ipFamilyPolicy.
type FamilyPolicy string

// The values of spec.ipFamilyPolicy.
const (
	SingleStack      FamilyPolicy = "SingleStack"
	PreferDualStack  FamilyPolicy = "PreferDualStack"
	RequireDualStack FamilyPolicy = "RequireDualStack"
)

// Port is one port of a Service as its clients see it.
type Port struct {
	Protocol string
	Number   uint16
}

// String returns "TCP/443".
func (p Port) String() string { return p.Protocol + "/" + strconv.Itoa(int(p.Number)) }

// Endpoint is a place where a Service's traffic can be served.
type Endpoint struct {
	Node NodeName
	// Serving: ready, or terminating but still serving (KEP-1672).
	Serving bool
}

// Decision is the controller's verdict on one Service: what it holds from now on.
type Decision struct {
	// Addresses in the order of the status; empty if there is none to be had.
	Addresses []netip.Addr
	Pool      PoolName
	// Reason says how it came to be; Message says it to a person.
	Reason  Reason
	Message string
	// Cleared says why addresses that the service held were taken from it.
	Cleared string
}

// Equal reports whether both give the same addresses from the same pool for the same reason.
func (d Decision) Equal(o Decision) bool {
	return slices.Equal(d.Addresses, o.Addresses) && d.Pool == o.Pool && d.Reason == o.Reason &&
		d.Message == o.Message && d.Cleared == o.Cleared
}

// Verdict is one speaker's answer to whether it announces a Service over layer 2.
type Verdict struct {
	// Announcements is empty unless this node announces.
	Announcements []Announcement
	// Links are the names that a link list of the advertisements permits; nil when
	// none restricts them.
	Links  []string
	Reason Reason
	// Why says the reason to a person, more closely than Reason does.
	Why string
	// Owner is the node that announces, as far as this one knows; empty if none does.
	Owner NodeName
}

// Announces reports whether this node announces the service.
func (v Verdict) Announces() bool { return v.Reason == Announced }

// Equal reports whether both say the same.
func (v Verdict) Equal(o Verdict) bool {
	return v.Reason == o.Reason && v.Why == o.Why && v.Owner == o.Owner && (v.Links == nil) == (o.Links == nil) && slices.Equal(v.Links, o.Links) &&
		slices.EqualFunc(v.Announcements, o.Announcements, Announcement.Equal)
}

// Join returns the addresses as "192.0.2.1,2001:db8::1".
func Join(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}
