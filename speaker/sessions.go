package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
)

// routers is BGP, as far as sessions are handed to it and watched.
type routers interface {
	// Set hands over all sessions. It does not block, and keeps what it is given.
	Set([]lb.Session)
	// States are those of the sessions last set.
	States() []lb.SessionState
	// Changed signals that States has changed.
	Changed() <-chan struct{}
}

// sessions holds this node's conversations with routers, has BFD watch the ways to
// them, and tells how they go.
type sessions struct {
	logger    logger
	node      lb.NodeName
	namespace string
	bgp       routers
	paths     *paths
	client    client.Client
	events    teller
	// reports is nil where the cluster does not know the kind.
	reports *kube.BGPSessionStates
	again   chan struct{}
	told    map[lb.PeerName]*told

	mu     sync.Mutex
	isSet  bool
	wanted []lb.Session
	links  []lb.Link
}

func newSessions(l logger, o options, bgp routers, p *paths, c client.Client, events teller, reports *kube.BGPSessionStates) *sessions {
	return &sessions{
		logger: l, node: o.node, namespace: o.Namespace, bgp: bgp, paths: p, client: c, events: events, reports: reports,
		again: make(chan struct{}, 1), told: map[lb.PeerName]*told{},
	}
}

// set hands over the sessions that this node is to hold, and the links that it has.
func (s *sessions) set(wanted []lb.Session, links []lb.Link) {
	s.bgp.Set(wanted)
	s.mu.Lock()
	s.isSet, s.wanted, s.links = true, wanted, links
	s.mu.Unlock()
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// reportPause lies between two looks at the sessions: the first change of a burst is
// told at once, and what follows together.
const reportPause = 500 * time.Millisecond

// Start watches the sessions and tells how they go until ctx ends.
func (s *sessions) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.again:
		case <-s.bgp.Changed():
		case <-s.paths.bfd.Changed():
		}
		s.look(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(reportPause):
		}
	}
}

// look has BFD watch the ways as they are now, and tells what is new.
func (s *sessions) look(ctx context.Context) {
	s.mu.Lock()
	isSet, wanted, links := s.isSet, s.wanted, s.links
	s.mu.Unlock()
	if !isSet {
		return
	}
	states := s.states()
	s.paths.watch(wanted, states, links)
	states = s.paths.describe(states)
	if s.reports != nil {
		s.reports.Report(states)
	}
	for _, state := range states {
		s.tell(ctx, state)
	}
	s.forget(states)
}

// states are those of the sessions, with the links of those that have one.
func (s *sessions) states() []lb.SessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.bgp.States()
	for i := range out {
		if j := slices.IndexFunc(s.wanted, func(w lb.Session) bool { return w.Peer.Name == out[i].Peer }); j >= 0 {
			out[i].Interface = s.wanted[j].Peer.Interface
		}
	}
	return out
}

// told is what was told of a session, so that nothing is said twice.
type told struct {
	established bool
	// reasons are those given since it was established last.
	reasons []lb.Reason
}

// isNews reports whether a state is worth telling, and remembers it.
func (t *told) isNews(state lb.SessionState) bool {
	if state.Status == lb.Established {
		news := !t.established
		*t = told{established: true}
		return news
	}
	t.established = false
	if state.Down == "" || state.Down == lb.Connecting || slices.Contains(t.reasons, state.Down) {
		return false
	}
	t.reasons = append(t.reasons, state.Down)
	return true
}

// tell says on the BGPPeer that a session came up, or why it is down. In the log BGP
// itself says so.
func (s *sessions) tell(ctx context.Context, state lb.SessionState) {
	if s.told[state.Peer] == nil {
		s.told[state.Peer] = &told{}
	}
	if !s.told[state.Peer].isNews(state) {
		return
	}
	var peer v1beta2.BGPPeer
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: string(state.Peer)}, &peer); err != nil {
		level.Debug(s.logger).Log("msg", "no event about the session", "peer", state.Peer, "error", err)
		return
	}
	if state.Status == lb.Established {
		s.events.Normal(&peer, lb.SessionEstablished, fmt.Sprintf("session of node %q with %s is established", s.node, where(state)))
		return
	}
	s.events.Warning(&peer, state.Down, fmt.Sprintf("session of node %q with %s is down: %s", s.node, where(state), state.LastError))
}

// forget drops what was told of sessions that are no more.
func (s *sessions) forget(states []lb.SessionState) {
	for name := range s.told {
		if !slices.ContainsFunc(states, func(state lb.SessionState) bool { return state.Peer == name }) {
			delete(s.told, name)
		}
	}
}

// bgpMetrics is what metrics say about the sessions of this node.
func (s *sessions) bgpMetrics() []metrics.Session {
	var out []metrics.Session
	for _, state := range s.states() {
		m := state.Messages
		out = append(out, metrics.Session{
			Peer: net.JoinHostPort(where(state), strconv.Itoa(int(state.Port))), VRF: state.VRF,
			Up: state.Status == lb.Established, Announced: state.Advertised, Pending: state.Pending,
			OpensSent: m.OpensSent, OpensReceived: m.OpensReceived, NotificationsSent: m.NotificationsSent,
			UpdatesSent: m.UpdatesSent, UpdatesReceived: m.UpdatesReceived,
			KeepalivesSent: m.KeepalivesSent, KeepalivesReceived: m.KeepalivesReceived,
			RouteRefreshSent: m.RouteRefreshSent, TotalSent: m.TotalSent, TotalReceived: m.TotalReceived,
		})
	}
	return out
}

// where names the router of a session: its address or, until that is learned, its link.
func where(state lb.SessionState) string {
	if !state.Address.IsValid() {
		return state.Interface
	}
	return state.Address.String()
}
