package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
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
	// reports is nil until the cluster takes them.
	reports atomic.Pointer[kube.BGPSessionStates]
	again   chan struct{}
	told    map[lb.PeerName]*told

	mu     sync.Mutex
	isSet  bool
	wanted []lb.Session
	links  []lb.Link
	// invalid are the sessions with peers that have a problem, as if they were not opened.
	invalid []lb.SessionState
}

func newSessions(l logger, o options, bgp routers, p *paths, c client.Client, events teller) *sessions {
	return &sessions{
		logger: l, node: o.node, namespace: o.Namespace, bgp: bgp, paths: p, client: c, events: events,
		again: make(chan struct{}, 1), told: map[lb.PeerName]*told{},
	}
}

// set hands over the sessions that this node is to hold, and the links that it has.
func (s *sessions) set(wanted []lb.Session, links []lb.Link) {
	s.bgp.Set(wanted)
	s.mu.Lock()
	s.isSet, s.wanted, s.links = true, wanted, links
	s.mu.Unlock()
	s.lookAgain()
}

// reportTo has all that there is to say of sessions reported, from now on.
func (s *sessions) reportTo(r *kube.BGPSessionStates) {
	s.reports.Store(r)
	s.lookAgain()
}

func (s *sessions) lookAgain() {
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
	isSet, wanted, links, invalid := s.isSet, s.wanted, s.links, s.invalid
	s.mu.Unlock()
	if !isSet {
		return
	}
	states := s.states()
	s.paths.watch(wanted, states, links)
	states = s.paths.describe(states)
	for i := range states {
		states[i] = s.about(states[i].Peer).steady(states[i])
	}
	if reports := s.reports.Load(); reports != nil {
		reports.Report(withInvalid(states, invalid))
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
	// shown is the state that was reported last.
	shown       lb.SessionState
	established bool
	// failures are those told since it was established last.
	failures []failure
	// bfd is what was told to be wrong with BFD.
	bfd string
}

type failure struct {
	reason lb.Reason
	text   string
}

// mostFailures are told of a session that does not come up: a router that always has
// something else to say is not listened to any more.
const mostFailures = 8

// about is what was told of the session with a peer.
func (s *sessions) about(peer lb.PeerName) *told {
	if s.told[peer] == nil {
		s.told[peer] = &told{}
	}
	return s.told[peer]
}

// steady is the state to report. An attempt that fails as the one before did is no news,
// and nothing to be written to Kubernetes each time.
func (t *told) steady(now lb.SessionState) lb.SessionState {
	if hindered(now) && hindered(t.shown) && now.Down == t.shown.Down && now.LastError == t.shown.LastError {
		now.Status, now.Since = t.shown.Status, t.shown.Since
	}
	t.shown = now
	return now
}

// hindered reports whether something is known to be in the way of the session.
func hindered(state lb.SessionState) bool {
	return state.Status != lb.Established && state.Down != "" && state.Down != lb.Connecting
}

// isNews reports whether a state is worth telling, and remembers it.
func (t *told) isNews(state lb.SessionState) bool {
	if state.Status == lb.Established {
		news := !t.established
		t.established, t.failures = true, nil
		return news
	}
	t.established = false
	now := failure{state.Down, state.LastError}
	if !hindered(state) || slices.Contains(t.failures, now) || len(t.failures) == mostFailures {
		return false
	}
	t.failures = append(t.failures, now)
	return true
}

// bfdProblem returns what is newly wrong with BFD, and remembers it.
func (t *told) bfdProblem(state lb.SessionState) string {
	now := ""
	if state.BFD != nil {
		now = state.BFD.Problem
	}
	if now == t.bfd {
		return ""
	}
	t.bfd = now
	return now
}

// tell says on the BGPPeer that a session came up, or why it is down, and why its path
// cannot be watched. In the log BGP and BFD themselves say so.
func (s *sessions) tell(ctx context.Context, state lb.SessionState) {
	t := s.about(state.Peer)
	news, problem := t.isNews(state), t.bfdProblem(state)
	if !news && problem == "" {
		return
	}
	var peer v1beta2.BGPPeer
	if err := s.client.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: string(state.Peer)}, &peer); err != nil {
		level.Debug(s.logger).Log("msg", "no event about the session", "peer", state.Peer, "error", err)
		return
	}
	if problem != "" {
		s.events.Warning(&peer, lb.BFDProblem, fmt.Sprintf("BFD of node %q with %s has a problem: %s", s.node, where(state), problem))
	}
	switch {
	case news && state.Status == lb.Established:
		s.events.Normal(&peer, lb.SessionEstablished, fmt.Sprintf("session of node %q with %s is established", s.node, where(state)))
	case news:
		s.events.Warning(&peer, state.Down, fmt.Sprintf("session of node %q with %s is down: %s", s.node, where(state), state.LastError))
	}
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
