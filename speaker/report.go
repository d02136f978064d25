package main

import (
	"fmt"
	"slices"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
)

// tell says what changed for a service on this node: in the log, and to its user where
// this node announces it, or should and cannot.
func (s *speaker) tell(svc *corev1.Service, before, now lb.Verdict) {
	if now.Announces() {
		s.statuses.Announced(kube.Key(svc), now.Links)
	}
	switch {
	case now.Announces() && !before.Announces():
		level.Info(s.logger).Log("msg", "service announced", "service", kube.Key(svc), "addresses", addresses(now), "protocol", "layer2")
		s.events.Normal(svc, lb.NodeAssigned, fmt.Sprintf("announcing from node %q with protocol %q", s.options.node, "layer2"))
	case !now.Announces() && before.Announces():
		s.withdrawn(kube.Key(svc), before, now)
	default:
		level.Debug(s.logger).Log("msg", "verdict changed", "service", kube.Key(svc), "reason", now.Reason, "why", now.Why)
	}
	if now.Reason == lb.AnnounceFailed && before.Reason != lb.AnnounceFailed {
		level.Error(s.logger).Log("msg", "service cannot be announced", "service", kube.Key(svc), "reason", now.Reason, "why", now.Why)
		s.events.Warning(svc, lb.AnnounceFailed, now.Why)
	}
}

func (s *speaker) withdrawn(key lb.ServiceKey, before, now lb.Verdict) {
	s.statuses.Withdrawn(key)
	level.Info(s.logger).Log("msg", "service withdrawn", "service", key, "addresses", addresses(before), "protocol", "layer2", "reason", now.Reason, "why", now.Why)
}

func addresses(v lb.Verdict) string {
	var out []string
	for _, a := range v.Announcements {
		out = append(out, a.Address.String())
	}
	return fmt.Sprint(out)
}

// announced is what metrics say about the announcements of this node.
func (s *speaker) announced() []metrics.Announced {
	if p := s.published.Load(); p != nil {
		return *p
	}
	return nil
}

// layer2 is what metrics say about the packets of this node.
func (s *speaker) layer2() (addresses []metrics.Layer2, drops []metrics.Drop) {
	stats := s.announcer.Stats()
	for _, a := range stats.Addresses {
		addresses = append(addresses, metrics.Layer2{IP: a.Address.String(), Requests: a.Requests, Responses: a.Responses, Gratuitous: a.Gratuitous})
	}
	for _, d := range stats.Drops {
		drops = append(drops, metrics.Drop{Reason: d.Reason, Count: d.Count})
	}
	return addresses, drops
}

// merge is the announcement of an address that several services share: on the links
// of any of them. The zero Announcement is none.
func merge(a, b lb.Announcement) lb.Announcement {
	switch {
	case !a.Address.IsValid():
		return b
	case a.Links == nil || b.Links == nil:
		return lb.Announcement{Address: b.Address}
	}
	links := append(slices.Clone(a.Links), b.Links...)
	slices.Sort(links)
	return lb.Announcement{Address: b.Address, Links: slices.Compact(links)}
}
