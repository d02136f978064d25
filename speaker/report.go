package main

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
)

// teller tells users, on the objects concerned, what became of them. It does not block,
// and may be called from any goroutine.
type teller interface {
	Normal(obj runtime.Object, reason lb.Reason, message string)
	Warning(obj runtime.Object, reason lb.Reason, message string)
}

// report tells of the problems of the configuration, each once while it lasts.
func (s *speaker) report(o config.Objects, problems []lb.Problem) {
	for _, p := range problems {
		if slices.Contains(s.problems, p) {
			continue
		}
		level.Error(s.logger).Log("msg", "configuration problem", "object", p.Object, "field", p.Field, "error", p.Message)
		if obj := bgpObject(o, p.Object); obj != nil && s.speaksFor(o.Selected(p.Object)) {
			s.events.Warning(obj, lb.ConfigurationError, p.Field+": "+p.Message)
		}
	}
	s.problems = problems
	s.state.Report(problems)
	s.sessions.judge(o.Peers, problems)
}

// speaksFor reports whether this speaker is the one, of those on the nodes, that tells
// users what all of them see: the first that is alive.
func (s *speaker) speaksFor(nodes []lb.NodeName) bool {
	alive := s.ring.alive()
	i := slices.IndexFunc(nodes, func(n lb.NodeName) bool { return alive == nil || slices.Contains(alive, n) })
	return i >= 0 && nodes[i] == s.options.node
}

// bgpObject finds what a problem is about, or nil: the controller tells users of those of
// pools and L2Advertisements.
func bgpObject(o config.Objects, ref lb.ObjectRef) client.Object {
	switch ref.Kind {
	case "BGPPeer":
		return named(o.Peers, ref.Name)
	case "BGPAdvertisement":
		return named(o.BGPAdvertisements, ref.Name)
	case "BFDProfile":
		return named(o.BFDProfiles, ref.Name)
	case "Community":
		return named(o.Communities, ref.Name)
	}
	return nil
}

func named[T any, P interface {
	*T
	client.Object
}](items []T, name string) client.Object {
	for i := range items {
		if item := P(&items[i]); item.GetName() == name {
			return item
		}
	}
	return nil
}

// tellLayer2 says what changed for a service on this node: in the log, and to its user
// where this node announces it, or should and cannot. The object of one that is gone is nil.
func (s *speaker) tellLayer2(key lb.ServiceKey, svc *corev1.Service, before, now lb.Verdict) {
	if now.Announces() {
		s.l2Statuses.Announced(key, now.Links)
	}
	switch {
	case now.Announces() && !before.Announces():
		s.announced(key, svc, addressesOf(now), layer2Protocol)
	case !now.Announces() && before.Announces():
		s.l2Statuses.Withdrawn(key)
		s.withdrawn(key, addressesOf(before), layer2Protocol, now.Reason, now.Why)
	default:
		s.silent(key, layer2Protocol, now.Reason, now.Why)
	}
	if now.Reason == lb.AnnounceFailed && before.Reason != lb.AnnounceFailed {
		level.Error(s.logger).Log("msg", "service cannot be announced", "service", key, "reason", now.Reason, "why", now.Why)
		s.events.Warning(svc, lb.AnnounceFailed, now.Why)
	}
}

// tellBGP is tellLayer2 for BGP.
func (s *speaker) tellBGP(key lb.ServiceKey, svc *corev1.Service, before, now lb.BGPVerdict) {
	if now.Advertises() {
		s.bgpStatuses.Advertised(key, now.Peers())
	}
	switch {
	case now.Advertises() && !before.Advertises():
		s.announced(key, svc, prefixesOf(now), bgpProtocol)
	case !now.Advertises() && before.Advertises():
		s.bgpStatuses.Withdrawn(key)
		s.withdrawn(key, prefixesOf(before), bgpProtocol, now.Reason, now.Why)
	default:
		s.silent(key, bgpProtocol, now.Reason, now.Why)
	}
	if now.Reason == lb.ConflictingAdvertisements && before.Reason != lb.ConflictingAdvertisements {
		level.Error(s.logger).Log("msg", "service cannot be announced", "service", key, "protocol", bgpProtocol, "reason", now.Reason, "why", now.Why)
	}
}

func (s *speaker) announced(key lb.ServiceKey, svc *corev1.Service, what any, protocol string) {
	level.Info(s.logger).Log("msg", "service announced", "service", key, "addresses", fmt.Sprint(what), "protocol", protocol)
	s.events.Normal(svc, lb.NodeAssigned, fmt.Sprintf("announcing from node %q with protocol %q", s.options.node, protocol))
}

func (s *speaker) withdrawn(key lb.ServiceKey, what any, protocol string, reason lb.Reason, why string) {
	level.Info(s.logger).Log("msg", "service withdrawn", "service", key, "addresses", fmt.Sprint(what), "protocol", protocol, "reason", reason, "why", why)
}

func (s *speaker) silent(key lb.ServiceKey, protocol string, reason lb.Reason, why string) {
	level.Debug(s.logger).Log("msg", "verdict changed", "service", key, "protocol", protocol, "reason", reason, "why", why)
}

// addressesOf are those that the verdict announces.
func addressesOf(v lb.Verdict) []netip.Addr {
	var out []netip.Addr
	for _, a := range v.Announcements {
		out = append(out, a.Address)
	}
	return out
}

func prefixesOf(v lb.BGPVerdict) []netip.Prefix {
	var out []netip.Prefix
	for _, o := range v.Offers {
		out = append(out, o.Prefix)
	}
	return slices.Compact(out)
}

// advertisedOf are the addresses of the service that some offered route leads to.
func advertisedOf(svc lb.Service, v lb.BGPVerdict) []netip.Addr {
	var out []netip.Addr
	for _, a := range svc.Held {
		if slices.ContainsFunc(v.Offers, func(o lb.Offer) bool { return o.Prefix.Contains(a) }) {
			out = append(out, a)
		}
	}
	return out
}

// announcedMetrics is what metrics say about what this node announces.
func (s *speaker) announcedMetrics() []metrics.Announced { return s.published.all(s.options.node) }

// layer2Metrics is what metrics say about the packets of this node.
func (s *speaker) layer2Metrics() (addresses []metrics.Layer2, drops []metrics.Drop) {
	stats := s.announcer.Stats()
	for _, a := range stats.Addresses {
		addresses = append(addresses, metrics.Layer2{IP: a.Address.String(), Requests: a.Requests, Responses: a.Responses, Gratuitous: a.Gratuitous})
	}
	for _, d := range stats.Drops {
		drops = append(drops, metrics.Drop{Reason: d.Reason, Count: d.Count})
	}
	return addresses, drops
}
