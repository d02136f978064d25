package config_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

const ours = "metallb-system"

// monday is when the objects of these tests were created, but for those that say
// otherwise.
var monday = time.Date(2026, 7, 20, 9, 0, 0, 0, time.UTC)

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: ours, Name: name, CreationTimestamp: metav1.NewTime(monday)}
}

// pool is an IPAddressPool as a user writes it.
func pool(name string, addresses ...string) v1beta1.IPAddressPool {
	return v1beta1.IPAddressPool{ObjectMeta: meta(name), Spec: v1beta1.IPAddressPoolSpec{Addresses: addresses}}
}

// with returns the pool with changes made to it.
func with(p v1beta1.IPAddressPool, changes ...func(*v1beta1.IPAddressPool)) v1beta1.IPAddressPool {
	for _, change := range changes {
		change(&p)
	}
	return p
}

func created(after time.Duration) func(*v1beta1.IPAddressPool) {
	return func(p *v1beta1.IPAddressPool) { p.CreationTimestamp = metav1.NewTime(monday.Add(after)) }
}

func labelled(text string) func(*v1beta1.IPAddressPool) {
	return func(p *v1beta1.IPAddressPool) { p.Labels = labels(text) }
}

func pinned(a v1beta1.ServiceAllocation) func(*v1beta1.IPAddressPool) {
	return func(p *v1beta1.IPAddressPool) { p.Spec.AllocateTo = &a }
}

// l2 is an L2Advertisement as a user writes it.
func l2(name string, spec v1beta1.L2AdvertisementSpec) v1beta1.L2Advertisement {
	return v1beta1.L2Advertisement{ObjectMeta: meta(name), Spec: spec}
}

// peer is a BGPPeer as a user writes it: an external one, with changes made to it.
func peer(name, address string, changes ...func(*v1beta2.BGPPeer)) v1beta2.BGPPeer {
	p := v1beta2.BGPPeer{ObjectMeta: meta(name), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: address}}
	for _, change := range changes {
		change(&p)
	}
	return p
}

func peerCreated(after time.Duration) func(*v1beta2.BGPPeer) {
	return func(p *v1beta2.BGPPeer) { p.CreationTimestamp = metav1.NewTime(monday.Add(after)) }
}

// spec changes the spec of a peer.
func spec(change func(*v1beta2.BGPPeerSpec)) func(*v1beta2.BGPPeer) {
	return func(p *v1beta2.BGPPeer) { change(&p.Spec) }
}

// from says which nodes have the peer.
func from(texts ...string) func(*v1beta2.BGPPeer) {
	return spec(func(s *v1beta2.BGPPeerSpec) { s.NodeSelectors = selecting(texts...) })
}

func watchedBy(profile string) func(*v1beta2.BGPPeer) {
	return spec(func(s *v1beta2.BGPPeerSpec) { s.BFDProfile = profile })
}

func passwordIn(secret string) func(*v1beta2.BGPPeer) {
	return spec(func(s *v1beta2.BGPPeerSpec) { s.PasswordSecret.Name = secret })
}

// compiled is what becomes of a peer that no test says more of.
func compiled(name, address string, changes ...func(*lb.Peer)) lb.Peer {
	p := lb.Peer{Name: lb.PeerName(name), MyASN: 64512, ASN: 64513, Port: 179, HoldTime: 90 * time.Second}
	if address != "" {
		p.Address = netip.MustParseAddr(address)
	}
	for _, change := range changes {
		change(&p)
	}
	return p
}

// bgp is a BGPAdvertisement as a user writes it.
func bgp(name string, spec v1beta1.BGPAdvertisementSpec) v1beta1.BGPAdvertisement {
	return v1beta1.BGPAdvertisement{ObjectMeta: meta(name), Spec: spec}
}

// later is the advertisement, created some time after the others.
func later(after time.Duration, a v1beta1.BGPAdvertisement) v1beta1.BGPAdvertisement {
	a.CreationTimestamp = metav1.NewTime(monday.Add(after))
	return a
}

// aliases is a Community object with aliases given as "name=value".
func aliases(name string, texts ...string) v1beta1.Community {
	c := v1beta1.Community{ObjectMeta: meta(name)}
	for _, text := range texts {
		alias, value, _ := strings.Cut(text, "=")
		c.Spec.Communities = append(c.Spec.Communities, v1beta1.CommunityAlias{Name: alias, Value: value})
	}
	return c
}

func profile(name string, spec v1beta1.BFDProfileSpec) v1beta1.BFDProfile {
	return v1beta1.BFDProfile{ObjectMeta: meta(name), Spec: spec}
}

// labels reads "tier=front,zone=a".
func labels(text string) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(pair, "=")
		out[key] = value
	}
	return out
}

// selecting is one selector for each of the texts, which are as those of labels.
func selecting(texts ...string) []metav1.LabelSelector {
	var out []metav1.LabelSelector
	for _, text := range texts {
		out = append(out, metav1.LabelSelector{MatchLabels: labels(text)})
	}
	return out
}

// nonsense is a selector that cannot be compiled.
func nonsense() []metav1.LabelSelector {
	return []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: "Resembles"}}}}
}

func node(name, withLabels string) lb.Node {
	return lb.Node{Name: lb.NodeName(name), Labels: labels(withLabels)}
}

func ranged(first, last string) lb.Range {
	return lb.Range{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

// problem is one at an object, "Kind name", of our namespace.
func problem(object, field, message string) lb.Problem {
	kind, name, _ := strings.Cut(object, " ")
	return lb.Problem{Object: lb.ObjectRef{Kind: kind, Namespace: ours, Name: name}, Field: field, Message: message}
}

// verbatim is a problem whose message users' tests compare as a whole.
func verbatim(object, field, message string) lb.Problem {
	p := problem(object, field, message)
	p.Verbatim = true
	return p
}

// parts makes cmp show what differs inside a Config, instead of that it differs.
func parts(c lb.Config) any { type parts lb.Config; return parts(c) }

var byValue = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// wantConfig parses the objects and compares all that comes of it.
func wantConfig(t *testing.T, o config.Objects, want lb.Config, problems ...lb.Problem) {
	t.Helper()
	got, found := config.Parse(o)
	if diff := cmp.Diff(parts(want), parts(got), byValue); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(problems, found, byValue); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
