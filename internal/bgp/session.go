package bgp

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/herald-lb/herald/internal/lb"
)

// session keeps one router connected, from the moment it is configured until it is not.
type session struct {
	logger  log.Logger
	speaker *Speaker
	done    chan struct{} // closed when the connection is, for good
	wake    chan struct{} // routes or timers may have changed
	turn    chan struct{} // try to connect now: the path came back
	routers *routers      // those learned on the link of an unnumbered session; else nil

	received, sent counters

	mu     sync.Mutex
	wanted lb.Session
	state  lb.SessionState
	// end ends the session for good; cut ends the attempt or connection under way.
	end, cut context.CancelCauseFunc
	// down is why BFD lets nothing through; nil while it does.
	down *sessionError
	// greeted: the router has heard of us since this process runs.
	greeted bool

	complaint sync.Once // of a route that does not fit
}

func newSession(sp *Speaker, wanted lb.Session) *session {
	p := wanted.Peer
	return &session{
		logger:  log.With(sp.logger, "peer", p.Name),
		speaker: sp,
		done:    make(chan struct{}),
		wake:    make(chan struct{}, 1),
		turn:    make(chan struct{}, 1),
		wanted:  wanted,
		state: lb.SessionState{
			Peer: p.Name, Address: p.Address, Interface: p.Interface, Port: p.Port, VRF: p.VRF,
			Status: lb.Idle, Since: time.Now(), Down: lb.Connecting, Pending: len(wanted.Routes),
		},
		end: func(error) {},
		cut: func(error) {},
	}
}

// run connects, and connects again, until ctx ends. It starts when the session that it
// takes the place of has ended: a router would mistake two connections for a collision.
func (s *session) run(ctx context.Context, before <-chan struct{}) {
	defer close(s.done)
	<-before
	learning := s.learn(ctx)
	defer learning.Wait()
	for tries := 0; ctx.Err() == nil; tries++ {
		s.awaitPath(ctx)
		began := time.Now()
		s.failed(s.attempt(ctx))
		if time.Since(began) > lastPause {
			tries = 0 // that was not one failure after the other
		}
		s.pause(ctx, pauseAfter(tries, s.peer().ConnectTime, rand.Float64()))
	}
}

// learn looks for the router of an unnumbered session as long as ctx lasts.
func (s *session) learn(ctx context.Context) *sync.WaitGroup {
	var learning sync.WaitGroup
	if link := s.peer().Interface; link != "" {
		s.routers = newRouters(link)
		learning.Go(func() { s.routers.run(ctx) })
	}
	return &learning
}

// awaitPath returns when the path to the router is usable as far as BFD knows.
func (s *session) awaitPath(ctx context.Context) {
	for s.pathDown() != nil {
		select {
		case <-s.turn:
		case <-ctx.Done():
			return
		}
	}
}

// attempt connects once and holds the session as long as it lasts. It returns why it
// did not last longer.
func (s *session) attempt(ctx context.Context) (end *sessionError) {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	if down := s.begin(cut); down != nil {
		return down
	}
	p := s.peer()
	router, err := s.router(ctx, p)
	if err != nil {
		return err
	}
	if err := s.outwaitRival(ctx, p, router); err != nil {
		return err
	}
	s.entered(lb.Connect)
	conn, failed := s.speaker.dial(ctx, p, router)
	if ctx.Err() != nil && failed != nil {
		return cause(ctx)
	}
	if failed != nil {
		return unreachable(failed, p, s.speaker.near(router.Addr()))
	}
	c := &conversation{
		session: s, conn: conn, peer: p, offer: s.offer(p, conn),
		reader: newMessageReader(conn), asked: newRefreshes(),
	}
	defer conn.Close()
	defer c.guard(&end)
	return c.hold(ctx)
}

// begin notes how to cut the attempt short. It returns why it may not begin. Whoever
// asked for the attempt until now has it herewith.
func (s *session) begin(cut context.CancelCauseFunc) *sessionError {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = cut
	s.takeTurn()
	return s.down
}

func (s *session) takeTurn() {
	select {
	case <-s.turn:
	default:
	}
}

// router is whom to connect to.
func (s *session) router(ctx context.Context, p lb.Peer) (netip.AddrPort, *sessionError) {
	if p.Interface == "" {
		return netip.AddrPortFrom(p.Address.Unmap(), p.Port), nil
	}
	address, err := s.routers.await(ctx, s.missing)
	if err != nil {
		return netip.AddrPort{}, asSessionError("learn the router's address", err)
	}
	s.update(func(st *lb.SessionState) { st.Address = address })
	return netip.AddrPortFrom(address, p.Port), nil
}

// offer is our side of what is negotiated on conn.
func (s *session) offer(p lb.Peer, conn net.Conn) offer {
	families := families(p)
	return offer{
		asn: p.ShownASN(), routerID: s.speaker.routerID(p, localAddress(p, conn)), hold: p.HoldTime, families: families,
		extendedNextHop: len(families) > 1 && !p.Address.Unmap().Is4(),
		gracefulRestart: p.GracefulRestart, restarting: p.GracefulRestart && !s.hasGreeted(),
	}
}

// encoder finds the next hops. Routes of the family that the session runs over lead to
// its local address. Those of the other family lead to an address of the same link; IPv4
// routes on unnumbered sessions, and wherever the link has no IPv4 address, lead to the
// IPv6 address instead, if the router can have that (RFC 8950).
func (s *session) encoder(asn uint32, t terms, conn net.Conn) encoder {
	p := s.peer()
	local := localAddress(p, conn)
	e := encoder{asn: asn, terms: t}
	if local.Is4() {
		e.nextHop4, e.nextHop6 = local, s.speaker.neighbour(local, netip.Addr.Is6)
		return e
	}
	e.nextHop6 = local
	if !t.extendedNextHop || p.Interface == "" {
		e.nextHop4 = s.speaker.neighbour(local, netip.Addr.Is4)
	}
	if t.extendedNextHop && !e.nextHop4.IsValid() {
		e.nextHop4 = local
	}
	return e
}

// localAddress is our end of the connection.
func localAddress(p lb.Peer, conn net.Conn) netip.Addr {
	tcp, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	local := tcp.AddrPort().Addr().Unmap()
	if p.Interface != "" {
		return local.WithZone(p.Interface)
	}
	return local
}

// pause waits between attempts, unless there is reason to try again at once.
func (s *session) pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-s.turn:
	case <-time.After(d):
	}
}

const (
	firstPause = time.Second
	lastPause  = 16 * time.Second
)

// pauseAfter is how long to wait before the next attempt: twice as long after each that
// failed, or the time configured; less up to a quarter, by chance between 0 and 1, so
// that nodes do not connect in step (RFC 4271, section 10).
func pauseAfter(tries int, configured time.Duration, chance float64) time.Duration {
	d := min(firstPause<<min(tries, 16), lastPause)
	if configured > 0 {
		d = configured
	}
	return d - time.Duration(chance*float64(d)/4)
}

// What follows is the state that others see or change.

// set takes over routes, and of the peer what takes no new session.
func (s *session) set(wanted lb.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted.Equal(wanted) {
		return
	}
	s.wanted = wanted
	if s.state.Status != lb.Established {
		s.state.Pending = len(wanted.Routes)
	}
	signal(s.wake)
}

func (s *session) peer() lb.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted.Peer
}

func (s *session) routes() []lb.Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted.Routes
}

// keepalive is how often to send: as configured, but three times in the hold time that
// both sides agreed on. A hold time of 0 does without.
func (s *session) keepalive(hold time.Duration) time.Duration {
	every := hold / 3
	if k := s.peer().KeepaliveTime; k > 0 {
		every = min(every, k)
	}
	return every
}

// pathWentDown ends what is under way, and lets nothing begin until pathCameUp.
func (s *session) pathWentDown(why string) {
	err := errPathDown(why)
	s.mu.Lock()
	s.down = err
	cut := s.cut
	s.mu.Unlock()
	cut(err)
	s.update(func(st *lb.SessionState) {
		st.Down, st.LastError = err.reason, err.text
		enter(st, lb.Idle)
		st.Advertised, st.Pending = 0, len(s.wanted.Routes)
	})
}

func (s *session) pathCameUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = nil
	if s.state.Status != lb.Established {
		signal(s.turn) // the router is there: whatever the pause is for, it need not be waited for
	}
}

func (s *session) pathDown() *sessionError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *session) hasGreeted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.greeted
}

// snapshot is the state now.
func (s *session) snapshot() lb.SessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	st.Messages = s.messages()
	return st
}

// update changes the state, and tells those who watch.
func (s *session) update(change func(*lb.SessionState)) {
	s.mu.Lock()
	before := s.state
	change(&s.state)
	changed := s.state != before
	s.mu.Unlock()
	if changed {
		signal(s.speaker.changed)
	}
}

func enter(st *lb.SessionState, status lb.SessionStatus) {
	if st.Status != status {
		st.Status, st.Since = status, time.Now()
	}
}

// entered notes a new state. A path that is down is not overruled by what was under way.
func (s *session) entered(status lb.SessionStatus) {
	s.update(func(st *lb.SessionState) {
		if s.down != nil {
			return
		}
		enter(st, status)
		if status == lb.Established {
			st.Down, s.greeted = "", true
			s.takeTurn() // the next pause has another cause
		}
	})
	if status == lb.Established {
		st := s.snapshot()
		level.Info(s.logger).Log("msg", "BGP session established", "address", st.Address, "routes", st.Pending)
	}
}

// missing notes that no router was learned yet.
func (s *session) missing(why string) { s.waits(lb.NoRouterLearned, why) }

// waits notes what has to be so before there is a connection to be made.
func (s *session) waits(reason lb.Reason, why string) {
	s.update(func(st *lb.SessionState) {
		enter(st, lb.Idle)
		st.Down, st.LastError = reason, why
	})
}

// failed notes why an attempt, or a session, ended, and logs it when it is news.
func (s *session) failed(err *sessionError) {
	before := s.snapshot()
	s.update(func(st *lb.SessionState) {
		status := lb.Active
		if s.down != nil {
			status, err = lb.Idle, s.down
		}
		enter(st, status)
		st.Down, st.LastError = err.reason, err.text
		st.Advertised, st.Pending = 0, len(s.wanted.Routes)
	})
	switch {
	case before.Status == lb.Established:
		level.Info(s.logger).Log("msg", "BGP session ended", "address", before.Address, "reason", err.reason, "error", err.text)
	case err.reason == lb.Connecting: // we end it ourselves
	case before.LastError != err.text || before.Down != err.reason:
		level.Info(s.logger).Log("msg", "BGP session does not come up", "address", before.Address, "reason", err.reason, "error", err.text)
	}
}

func (s *session) advertised(sent, pending int) {
	s.update(func(st *lb.SessionState) {
		if s.down == nil {
			st.Advertised, st.Pending = sent, pending
		}
	})
}

// counted counts n messages of a kind. It does not call for a look: numbers alone are no news.
func (s *session) counted(kind uint8, received bool, n int) {
	if received {
		s.received.add(kind, n)
	} else {
		s.sent.add(kind, n)
	}
}

// counters are messages by type: the registered ones are 1 to 5.
type counters [6]atomic.Uint64

func (c *counters) add(kind uint8, n int) { c[min(int(kind), len(c)-1)].Add(uint64(n)) }

func (c *counters) total() (n uint64) {
	for i := range c {
		n += c[i].Load()
	}
	return n
}

func (s *session) messages() lb.SessionMessages {
	in, out := &s.received, &s.sent
	return lb.SessionMessages{
		OpensSent: out[bgp.BGP_MSG_OPEN].Load(), OpensReceived: in[bgp.BGP_MSG_OPEN].Load(),
		NotificationsSent: out[bgp.BGP_MSG_NOTIFICATION].Load(), NotificationsReceived: in[bgp.BGP_MSG_NOTIFICATION].Load(),
		UpdatesSent: out[bgp.BGP_MSG_UPDATE].Load(), UpdatesReceived: in[bgp.BGP_MSG_UPDATE].Load(),
		KeepalivesSent: out[bgp.BGP_MSG_KEEPALIVE].Load(), KeepalivesReceived: in[bgp.BGP_MSG_KEEPALIVE].Load(),
		RouteRefreshSent: out[bgp.BGP_MSG_ROUTE_REFRESH].Load(),
		TotalSent:        out.total(), TotalReceived: in.total(),
	}
}

// overfull logs, once, that a route is not offered.
func (s *session) overfull(r lb.Route) {
	s.complaint.Do(func() {
		level.Error(s.logger).Log("msg", "route has more communities than a BGP message holds, and is not offered", "prefix", r.Prefix,
			"communities", len(r.Communities), "largeCommunities", len(r.LargeCommunities))
	})
}

// faulted logs a fault of ours that was caught.
func (s *session) faulted(what any) {
	level.Error(s.logger).Log("msg", "BGP session hit a fault", "fault", what, "stack", string(debug.Stack()))
}

func (s *session) setEnd(end context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = end
}

// inherit takes over what outlives a session: that BFD sees no path, the last error, and
// that this process did not just start.
func (s *session) inherit(before *session) {
	before.mu.Lock()
	defer before.mu.Unlock()
	s.down, s.state.LastError, s.greeted = before.down, before.state.LastError, before.greeted
	if s.down != nil {
		s.state.Down = s.down.reason
	}
}
