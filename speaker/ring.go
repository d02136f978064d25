package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/members"
)

// ring is what the speaker knows of the other speakers. Switched off, it knows
// nothing: then every Node counts as having one.
type ring struct{ members *members.Members }

func newRing(l logger, pods client.Reader, o options) (ring, error) {
	if o.ring.labels == "" || o.ring.bindAddr == "" {
		level.Info(l).Log("msg", "gossip is off: a dead node is noticed only when its Node object goes")
		return ring{}, nil
	}
	selector, err := labels.Parse(o.ring.labels)
	if err != nil {
		return ring{}, fmt.Errorf("--ml-labels: %w", err)
	}
	key, err := o.ring.secretKey()
	if err != nil {
		return ring{}, fmt.Errorf("--ml-secret-key-path: %w", err)
	}
	overrides, err := o.ring.overrides()
	if err != nil {
		return ring{}, err
	}
	m, err := members.New(l, members.Config{
		NodeName: string(o.node), BindAddr: o.ring.bindAddr, BindPort: o.ring.bindPort,
		SecretKey: key, WAN: o.ring.wan, Overrides: overrides,
	}, speakerPods(pods, o.Namespace, selector))
	if err != nil {
		return ring{}, fmt.Errorf("set up gossip: %w", err)
	}
	m.SetPrepared(false)
	return ring{m}, nil
}

// speakerPods lists the addresses of the speakers' pods. It asks the API server, since
// roles that predate Herald let speakers list pods but not watch them.
func speakerPods(pods client.Reader, namespace string, selector labels.Selector) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var list corev1.PodList
		if err := pods.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: selector}); err != nil {
			return nil, fmt.Errorf("list the speakers' pods: %w", err)
		}
		var out []string
		for i := range list.Items {
			if ip := list.Items[i].Status.PodIP; ip != "" {
				out = append(out, ip)
			}
		}
		return out, nil
	}
}

// Start takes part in the ring until ctx ends, and leaves it.
func (r ring) Start(ctx context.Context) error {
	if r.members == nil {
		return nil
	}
	return r.members.Start(ctx)
}

// speakers returns the nodes whose speaker can announce, or nil if that is not known.
// Whether this node can is known here before gossip says so.
func (r ring) speakers(self lb.NodeName) []lb.NodeName {
	return r.where(func(m members.Member) bool {
		if m.Name == string(self) {
			return r.members.Usable()
		}
		return m.Usable
	})
}

// alive returns the nodes that have a speaker, or nil if that is not known.
func (r ring) alive() []lb.NodeName { return r.where(func(members.Member) bool { return true }) }

func (r ring) where(holds func(members.Member) bool) []lb.NodeName {
	if r.members == nil {
		return nil
	}
	out := []lb.NodeName{}
	for _, m := range r.members.Alive() {
		if holds(m) {
			out = append(out, lb.NodeName(m.Name))
		}
	}
	return out
}

// changed signals that speakers may have; it never does while gossip is off.
func (r ring) changed() <-chan struct{} {
	if r.members == nil {
		return nil
	}
	return r.members.Changed()
}

func (r ring) ready() bool { return r.members == nil || r.members.Ready() }

// rejoin looks for speakers that are not in the ring yet.
func (r ring) rejoin() {
	if r.members != nil {
		r.members.Rejoin()
	}
}

// setLinked tells the others whether this node has a link to announce on.
func (r ring) setLinked(linked bool) {
	if r.members != nil {
		r.members.SetLinked(linked)
	}
}

// setPrepared says that this node knows enough to announce, and returns whether that is news.
func (r ring) setPrepared() (news bool) { return r.members != nil && r.members.SetPrepared(true) }

// setUnlinked has the others know which links this node cannot announce on, and returns those
// that they are told of.
func (r ring) setUnlinked(links []string) (told []string) {
	if r.members == nil {
		return nil
	}
	return r.members.SetUnlinked(links)
}

// unlinked are the links that nodes cannot announce on: what this node cannot is known here
// before gossip says so. It is nil if nothing is known of others, who would not know of this node either.
func (r ring) unlinked(self lb.NodeName, links []string) map[lb.NodeName][]string {
	if r.members == nil {
		return nil
	}
	out := map[lb.NodeName][]string{}
	for _, m := range r.members.Alive() {
		if len(m.Unlinked) > 0 {
			out[lb.NodeName(m.Name)] = m.Unlinked
		}
	}
	delete(out, self)
	if len(links) > 0 {
		out[self] = links
	}
	return out
}

// withholds reports whether the others do not know yet that this node can announce, if it can.
func (r ring) withholds() bool { return r.members != nil && r.members.Withheld() }

// tell has the others know that this node can announce.
func (r ring) tell() { r.members.Tell() }

// departure says how the speaker of a node was lost that cannot announce.
func (r ring) departure(node lb.NodeName, l lost) lost {
	if slices.Contains(r.alive(), node) {
		l.reason = lb.NoUsableLink
		return l
	}
	if r.members == nil {
		return l
	}
	switch d := r.members.Departure(string(node)); {
	case d.Left:
		l.reason = lb.MemberLeft
	case !d.LastAlive.IsZero():
		l.since = d.LastAlive
	}
	return l
}
