package main

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
	"github.com/herald-lb/herald/internal/plan"
)

// lossReasons are why a node loses an address that another takes over.
var lossReasons = []lb.Reason{
	lb.MemberDead, lb.MemberLeft, lb.NoUsableLink, lb.NodeLabeledExcludeBalancers, lb.NodeNetworkUnavailable, lb.NoLocalEndpoints,
}

// durations measures how long it takes until addresses are announced: those that this node
// takes over, and those of new services.
type durations struct {
	metrics *metrics.Durations

	mu sync.Mutex
	// created is when those services were created that nobody is known to have announced yet.
	created map[lb.ServiceKey]time.Time
	// awaited are the addresses of which the first frame is to be sent yet.
	awaited map[netip.Addr]awaited
}

type awaited struct {
	duration prometheus.Observer
	since    time.Time
}

func newDurations(r prometheus.Registerer) *durations {
	var reasons []string
	for _, reason := range lossReasons {
		reasons = append(reasons, string(reason))
	}
	return &durations{
		metrics: metrics.NewDurations(r, reasons, []string{layer2Protocol, bgpProtocol}),
		created: map[lb.ServiceKey]time.Time{},
		awaited: map[netip.Addr]awaited{},
	}
}

// appeared notes a service that this node sees for the first time.
func (d *durations) appeared(svc *corev1.Service, now time.Time) {
	if len(svc.Status.LoadBalancer.Ingress) > 0 {
		return // somebody may have announced it long ago
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.created[kube.Key(svc)] = kube.Created(svc, now)
}

// lost is the loss of an owner: its reason is empty if there was none.
type lost struct {
	reason lb.Reason
	since  time.Time
}

// concluded notes what is to be measured of verdicts about a service that are new.
func (d *durations) concluded(key lb.ServiceKey, before, now verdicts, l lost) {
	d.mu.Lock()
	defer d.mu.Unlock()
	created, isNew := d.created[key]
	for _, a := range addressesOf(before.layer2) {
		delete(d.awaited, a)
	}
	for _, a := range addressesOf(now.layer2) {
		switch {
		case before.layer2.Announces():
		case isNew:
			d.awaited[a] = awaited{d.metrics.FirstAnnouncement(layer2Protocol), created}
		case l.reason != "":
			d.awaited[a] = awaited{d.metrics.Failover(string(l.reason)), l.since}
		}
	}
	if isNew && now.bgp.Advertises() {
		d.metrics.FirstAnnouncement(bgpProtocol).Observe(time.Since(created).Seconds())
	}
	if now.layer2.Owner != "" || now.bgp.Advertises() || now.layer2.Reason == lb.NotLoadBalancer {
		delete(d.created, key)
	}
}

// sent notes that the first frame for an address has been sent.
func (d *durations) sent(addr netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a, ok := d.awaited[addr]; ok {
		a.duration.Observe(time.Since(a.since).Seconds())
		delete(d.awaited, addr)
	}
}

// lossOf says why the owner of a service before is it no more, as this node sees it now; its
// reason is empty if the owner could be it still, and another is preferred.
func (s *speaker) lossOf(owner lb.NodeName, sub subject) lost {
	if owner == "" || owner == s.options.node || sub.object == nil {
		return lost{}
	}
	l := lost{why(owner, s.view, sub.Served), s.news}
	if l.reason == "" && s.planner.Unlinked(sub.Service, owner) {
		l.reason = lb.NoUsableLink
	}
	if l.reason == lb.MemberDead {
		return s.ring.departure(owner, l)
	}
	return l
}

// why says what keeps a node from being the owner of a service. That it has no speaker that
// could announce, it says with MemberDead.
func why(node lb.NodeName, v plan.View, sub plan.Served) lb.Reason {
	i := slices.IndexFunc(v.Nodes, func(n lb.Node) bool { return n.Name == node })
	serves := func(e lb.Endpoint) bool { return e.Serving && e.Node == node }
	switch {
	case i < 0 || v.Speakers != nil && !slices.Contains(v.Speakers, node):
		return lb.MemberDead
	case v.Nodes[i].Excluded && !v.IgnoreExcludeLabel:
		return lb.NodeLabeledExcludeBalancers
	case v.Nodes[i].NetworkUnavailable:
		return lb.NodeNetworkUnavailable
	case sub.Service.LocalTraffic && !slices.ContainsFunc(sub.Endpoints, serves):
		return lb.NoLocalEndpoints
	}
	return ""
}
