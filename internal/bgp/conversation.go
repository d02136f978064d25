package bgp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/herald-lb/herald/internal/lb"
)

// conversation is one BGP connection, from the OPEN to the end. Read hold as the state
// machine of RFC 4271, section 8: each step goes on to the next state, or returns why
// there is none.
type conversation struct {
	session *session // whose state, routes and counters these are
	conn    net.Conn
	peer    lb.Peer
	offer   offer
	reader  *messageReader

	terms   terms
	encoder encoder
	// sent is what the router holds of us, sorted by prefix.
	sent []lb.Route
	// asked are the families that the router wants to hear again.
	asked *refreshes
	// torn: a message was cut off, so nothing can follow.
	torn bool
}

const (
	// farewellTimeout is how long the last message may take to leave, and the router to
	// close its end.
	farewellTimeout = 500 * time.Millisecond
	// leastSendHold is how long a router may take nothing in (RFC 9687, section 3.1).
	leastSendHold = 8 * time.Minute
)

// hold talks to the router until something ends it, tells the router why, closes the
// connection, and returns why.
func (c *conversation) hold(ctx context.Context) *sessionError {
	err := c.open(ctx)
	if err == nil {
		err = c.established(ctx)
	}
	c.close(err)
	return err
}

// open goes through OpenSent and OpenConfirm.
func (c *conversation) open(ctx context.Context) *sessionError {
	c.session.entered(lb.OpenSent)
	hello, err := c.offer.bytes()
	if err != nil {
		return &sessionError{reason: lb.ProtocolError, text: fmt.Sprintf("make our OPEN: %v", err)}
	}
	if err := c.write(ctx, hello, bgp.BGP_MSG_OPEN, 1); err != nil {
		return err
	}
	body, failed := c.expect(ctx, bgp.BGP_MSG_OPEN, c.session.speaker.openTimeout)
	if failed != nil {
		return c.unanswered(failed)
	}
	theirs, err := parseOpen(body)
	if err != nil {
		return asSessionError("read the router's OPEN", err)
	}
	if c.terms, failed = c.offer.settle(theirs, c.peer); failed != nil {
		return failed
	}
	c.encoder = c.session.encoder(c.offer.asn, c.terms, c.conn)
	c.session.entered(lb.OpenConfirm)
	if err := c.write(ctx, keepalive, bgp.BGP_MSG_KEEPALIVE, 1); err != nil && err.reason != lb.ConnectionLost {
		return err
	} // else the router closed, and may have said why
	// Without a hold time, a router that hangs now would be waited for without end.
	_, failed = c.expect(ctx, bgp.BGP_MSG_KEEPALIVE, cmp.Or(c.terms.hold, c.session.speaker.openTimeout))
	return failed
}

// unanswered says why a router may keep silent to an OPEN, if that is what it did.
func (c *conversation) unanswered(e *sessionError) *sessionError {
	if e.reason != lb.HoldTimerExpired {
		return e
	}
	text := fmt.Sprintf("the router accepted, and said nothing for %s", c.session.speaker.openTimeout)
	if c.peer.TTLSecurity {
		text += "; what it may have said with a TTL below 255 was dropped for ttlSecurity"
	}
	return &sessionError{reason: lb.NoAnswer, text: text, notify: e.notify}
}

// expect waits for the one message that may come now.
func (c *conversation) expect(ctx context.Context, kind uint8, patience time.Duration) ([]byte, *sessionError) {
	m, err := c.read(ctx, patience)
	switch {
	case err != nil:
		return nil, err
	case m.kind == kind:
		return m.body, nil
	case m.kind == bgp.BGP_MSG_NOTIFICATION:
		return nil, c.received(m.body)
	}
	subcode := uint8(1) // RFC 6608: unexpected in OpenSent
	if kind == bgp.BGP_MSG_KEEPALIVE {
		subcode = 2 // in OpenConfirm
	}
	return nil, errProtocol(bgp.BGP_ERROR_FSM_ERROR, subcode, []byte{m.kind}, "%s where %s was due", kindName(m.kind), kindName(kind))
}

// received is the end that the router wanted.
func (c *conversation) received(body []byte) *sessionError {
	n, err := parseNotification(body)
	if err != nil {
		return err
	}
	if n.code == bgp.BGP_ERROR_OPEN_MESSAGE_ERROR && n.subcode == bgp.BGP_ERROR_SUB_BAD_PEER_AS {
		return errASNRefused(c.offer.asn, cmp.Or(c.terms.asn, c.peer.ASN), n)
	}
	return &sessionError{reason: lb.NotificationReceived, text: "the router ended the session: " + n.String()}
}

var keepalive, _ = bgp.NewBGPKeepAliveMessage().Serialize()

// established keeps the router's table up to date, until one of both directions ends.
func (c *conversation) established(ctx context.Context) *sessionError {
	c.session.entered(lb.Established)
	ctx, end := context.WithCancelCause(ctx)
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		end(c.listen(ctx))
	}()
	err := c.speak(ctx)
	if err.reason == lb.ConnectionLost {
		// The router may have said why before it closed.
		wait(ctx, heard, farewellTimeout)
	}
	end(err)
	<-heard
	return cause(ctx)
}

func wait(ctx context.Context, c <-chan struct{}, most time.Duration) {
	select {
	case <-c:
	case <-ctx.Done():
	case <-time.After(most):
	}
}

// listen reads until the router, or the silence of the router, ends the session.
func (c *conversation) listen(ctx context.Context) (end *sessionError) {
	defer c.guard(&end)
	for {
		m, err := c.read(ctx, c.terms.hold)
		if err != nil {
			return err
		}
		switch m.kind {
		case bgp.BGP_MSG_KEEPALIVE, bgp.BGP_MSG_UPDATE:
		case bgp.BGP_MSG_ROUTE_REFRESH:
			if f := parseRefresh(m.body); c.terms.agreed(f) {
				c.asked.add(f)
			}
		case bgp.BGP_MSG_NOTIFICATION:
			return c.received(m.body)
		default:
			return errProtocol(bgp.BGP_ERROR_FSM_ERROR, 3, []byte{m.kind}, "%s in an established session", kindName(m.kind))
		}
	}
}

// speak sends routes as they change, and keepalives.
func (c *conversation) speak(ctx context.Context) *sessionError {
	if err := c.announce(ctx); err != nil {
		return err
	}
	if err := c.endOfRIB(ctx); err != nil {
		return err
	}
	pulse := newPulse(c.session.keepalive(c.terms.hold))
	defer pulse.stop()
	hops := newPulse(0)
	defer hops.stop()
	if len(c.terms.families) > 1 {
		hops.reset(nextHopCheck)
	}
	for {
		var err *sessionError
		select {
		case <-ctx.Done():
			return cause(ctx)
		case <-c.session.wake:
			err = c.announce(ctx)
			pulse.reset(c.session.keepalive(c.terms.hold))
		case <-c.asked.ready:
			err = c.announceAgain(ctx)
		case <-hops.c:
			err = c.followAddresses(ctx)
		case <-pulse.c:
			err = c.write(ctx, keepalive, bgp.BGP_MSG_KEEPALIVE, 1)
		}
		if err != nil {
			return err
		}
	}
}

// announce tells the router what has changed since the last time.
func (c *conversation) announce(ctx context.Context) *sessionError {
	wanted, pending := c.offered(c.session.routes())
	gone, changed := changes(c.sent, wanted)
	if err := c.send(ctx, c.encoder.messages(gone, changed)); err != nil {
		return err
	}
	c.sent = wanted
	c.session.advertised(len(c.sent), pending)
	return nil
}

// nextHopCheck is how often to look whether the link has another address of the family that
// the session does not run over: that may come later than the session, as at the start of
// a node, or go.
const nextHopCheck = 10 * time.Second

// followAddresses announces routes anew whose next hop is gone, or withdraws them where
// there is no other; and announces those that had none. A next hop that is still ours
// stays, whatever addresses come beside it.
func (c *conversation) followAddresses(ctx context.Context) *sessionError {
	now := c.session.encoder(c.offer.asn, c.terms, c.conn)
	stale := map[bgp.Family]bool{}
	for _, f := range c.terms.families {
		hop := c.encoder.nextHop(f)
		stale[f] = hop != now.nextHop(f) && !c.session.speaker.holds(hop)
	}
	if !stale[bgp.RF_IPv4_UC] && !stale[bgp.RF_IPv6_UC] {
		return nil
	}
	if stale[bgp.RF_IPv4_UC] {
		c.encoder.nextHop4 = now.nextHop4
	}
	if stale[bgp.RF_IPv6_UC] {
		c.encoder.nextHop6 = now.nextHop6
	}
	c.sent = slices.DeleteFunc(slices.Clone(c.sent), func(r lb.Route) bool {
		return stale[family(r.Prefix)] && c.encoder.carries(r.Prefix)
	})
	return c.announce(ctx)
}

// announceAgain tells the router what it asked for, whether it changed or not (RFC 2918).
func (c *conversation) announceAgain(ctx context.Context) *sessionError {
	asked := c.asked.take()
	var again []lb.Route
	for _, r := range c.sent {
		if asked[family(r.Prefix)] {
			again = append(again, r)
		}
	}
	return c.send(ctx, c.encoder.messages(nil, again))
}

// offered leaves out what the session cannot carry. Of that, routes in a family that both
// sides agreed on are pending: there is no next hop for them yet, or no message takes
// all their communities.
func (c *conversation) offered(routes []lb.Route) (offered []lb.Route, pending int) {
	for i, r := range routes {
		if c.encoder.carries(r.Prefix) && fits(r.Attributes) {
			continue
		}
		return c.filtered(routes, i)
	}
	return routes, 0
}

func (c *conversation) filtered(routes []lb.Route, first int) (offered []lb.Route, pending int) {
	offered = append(offered, routes[:first]...)
	for _, r := range routes[first:] {
		switch {
		case !fits(r.Attributes):
			pending++
			c.session.overfull(r)
		case c.encoder.carries(r.Prefix):
			offered = append(offered, r)
		case c.encoder.agreed(family(r.Prefix)):
			pending++
		}
	}
	return offered, pending
}

// endOfRIB says that these were all: a router that kept our routes from before a restart
// drops now what was not announced again (RFC 4724, section 2).
func (c *conversation) endOfRIB(ctx context.Context) *sessionError {
	if !c.terms.endOfRIB {
		return nil
	}
	return c.send(ctx, func(yield func([]byte, error) bool) {
		for _, f := range c.terms.families {
			if !yield(bgp.NewEndOfRib(f).Serialize()) {
				return
			}
		}
	})
}

// chunk is how many bytes of UPDATEs are written at once.
const chunk = 64 << 10

// send writes UPDATEs, many at a time.
func (c *conversation) send(ctx context.Context, messages func(yield func([]byte, error) bool)) *sessionError {
	var buffer []byte
	n := 0
	flush := func() *sessionError {
		if n == 0 {
			return nil
		}
		err := c.write(ctx, buffer, bgp.BGP_MSG_UPDATE, n)
		buffer, n = buffer[:0], 0
		return err
	}
	for m, err := range messages {
		if err != nil {
			return &sessionError{reason: lb.ProtocolError, text: fmt.Sprintf("make an UPDATE: %v", err)}
		}
		buffer, n = append(buffer, m...), n+1
		if len(buffer) >= chunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// read returns the next message, within the patience that is left: 0 is endless.
func (c *conversation) read(ctx context.Context, patience time.Duration) (message, *sessionError) {
	var m message
	err := interruptible(ctx, c.conn.SetReadDeadline, patience, func() (err error) {
		m, err = c.reader.next()
		return err
	})
	if errors.Is(err, errTimeout) {
		return m, silent(patience)
	}
	if err != nil {
		return m, asSessionError("read from the router", err)
	}
	c.session.counted(m.kind, true, 1)
	return m, nil
}

// silent is the end of a session whose router is not heard any more.
func silent(hold time.Duration) *sessionError {
	return &sessionError{
		reason: lb.HoldTimerExpired, text: fmt.Sprintf("the router was silent for %s", hold),
		notify: &notification{code: bgp.BGP_ERROR_HOLD_TIMER_EXPIRED},
	}
}

// write writes n messages of a kind.
func (c *conversation) write(ctx context.Context, b []byte, kind uint8, n int) *sessionError {
	written := 0
	err := interruptible(ctx, c.conn.SetWriteDeadline, max(leastSendHold, 2*c.terms.hold), func() (err error) {
		written, err = c.conn.Write(b)
		return err
	})
	c.torn = written > 0 && written < len(b)
	if errors.Is(err, errTimeout) {
		return &sessionError{reason: lb.HoldTimerExpired, text: "the router takes nothing in"}
	}
	if err != nil {
		return asSessionError("write to the router", err)
	}
	c.session.counted(kind, false, n)
	return nil
}

// close tells the router why, waits a moment for it to have read that, and closes the
// connection: closing with something unread in our socket would destroy what is still
// under way. With graceful restart, the end of the speaker is not told: routers keep the
// routes of a connection that just ends (RFC 4724, section 4.2).
func (c *conversation) close(err *sessionError) {
	defer c.conn.Close()
	if c.torn || err.notify == nil || err == errStopped && c.terms.gracefulRestart {
		return
	}
	b, failed := err.notify.bytes()
	if failed != nil {
		return
	}
	_ = c.conn.SetDeadline(time.Now().Add(farewellTimeout))
	if _, failed = c.conn.Write(b); failed != nil {
		return
	}
	c.session.counted(bgp.BGP_MSG_NOTIFICATION, false, 1)
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.conn)
	}
}

var longAgo = time.Unix(1, 0)

var errTimeout = errors.New("timeout")

// interruptible runs f, which reads or writes, until the patience is over or ctx ends.
func interruptible(ctx context.Context, setDeadline func(time.Time) error, patience time.Duration, f func() error) error {
	var deadline time.Time
	if patience > 0 {
		deadline = time.Now().Add(patience)
	}
	if err := setDeadline(deadline); err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = setDeadline(longAgo)
		close(interrupted)
	})
	err := f()
	if !stop() {
		<-interrupted
		return cause(ctx)
	}
	if err != nil && timedOut(err) {
		return errTimeout
	}
	return err
}

// cause is why ctx ended.
func cause(ctx context.Context) *sessionError {
	return asSessionError("session", context.Cause(ctx))
}

// asSessionError returns err if it says all, else what it means for a connection.
func asSessionError(doing string, err error) *sessionError {
	var e *sessionError
	if errors.As(err, &e) && e != nil {
		return e
	}
	if errors.Is(err, context.Canceled) {
		return errStopped
	}
	return lost(doing, err)
}

// guard keeps a fault in handling what one router sent from taking the process, and all
// other sessions, with it.
func (c *conversation) guard(end **sessionError) {
	if r := recover(); r != nil {
		c.session.faulted(r)
		*end = &sessionError{
			reason: lb.ProtocolError, text: fmt.Sprintf("a fault of ours: %v", r),
			notify: cease(bgp.BGP_ERROR_SUB_OUT_OF_RESOURCES, ""),
		}
	}
}

// pulse is a ticker that can be told to rest.
type pulse struct {
	ticker *time.Ticker
	c      <-chan time.Time
	every  time.Duration
}

func newPulse(every time.Duration) *pulse {
	p := &pulse{}
	p.reset(every)
	return p
}

// reset changes the interval, if it is another; 0 is never.
func (p *pulse) reset(every time.Duration) {
	if every == p.every {
		return
	}
	p.stop()
	p.every = every
	if every > 0 {
		p.ticker = time.NewTicker(every)
		p.c = p.ticker.C
	}
}

func (p *pulse) stop() {
	if p.ticker != nil {
		p.ticker.Stop()
	}
	p.ticker, p.c = nil, nil
}

// refreshes are requests for routes that were sent already. They are answered at most
// once in a while: a request costs the router nothing, and us all routes.
type refreshes struct {
	ready chan struct{} // take is due

	mu    sync.Mutex
	asked map[bgp.Family]bool
	last  time.Time
}

const refreshPause = time.Second

func newRefreshes() *refreshes { return &refreshes{ready: make(chan struct{}, 1)} }

func (r *refreshes) add(f bgp.Family) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[bgp.Family]bool{}
		time.AfterFunc(refreshPause-time.Since(r.last), func() { signal(r.ready) })
	}
	r.asked[f] = true
}

func (r *refreshes) take() map[bgp.Family]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked, r.last = nil, time.Now()
	return asked
}
