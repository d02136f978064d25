package bfd

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/lb"
)

// Config is what a Speaker needs to know besides its sessions. The zero value is for production.
type Config struct {
	// Transport is the network; nil is the kernel's sockets.
	Transport Transport
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Random is the source of jitter and discriminators; nil is seeded by the system.
	Random *mathrand.Rand
	// OnChange is called at once when a session came up, or is up no more, from the goroutine
	// that keeps all sessions alive: it must not block. States already shows the change. It is not
	// called for sessions that Set has removed, nor after the context of Start has ended.
	OnChange func(lb.BFDKey, lb.BFDState)
}

// Speaker holds the BFD sessions of this node.
type Speaker struct {
	transport Transport
	now       func() time.Time
	random    *mathrand.Rand
	onChange  func(lb.BFDKey, lb.BFDState)
	logger    log.Logger

	wanted  atomic.Pointer[[]lb.BFDSession]
	changed chan struct{}
	drops   dropCounters

	mu    sync.Mutex // guards shown, between apply and readers; watches lock nothing
	shown map[lb.BFDKey]*watch

	// The rest belongs to the goroutine of Start.
	applied         *[]lb.BFDSession
	watches         map[lb.BFDKey]*watch
	byDiscriminator map[uint32]*watch
	byPeer          map[netip.Addr][]*watch // without zones
	journal         *journal
	queue           queue
	clock           time.Time // when this round of the loop began
	buffer          [64]byte  // what is being sent
	parsed          packet    // what is being taken in
}

// New returns a Speaker that does nothing until Start is called.
func New(logger log.Logger, c Config) *Speaker {
	s := &Speaker{
		transport:       c.Transport,
		now:             c.Now,
		random:          c.Random,
		onChange:        c.OnChange,
		logger:          logger,
		changed:         make(chan struct{}, 1),
		shown:           map[lb.BFDKey]*watch{},
		watches:         map[lb.BFDKey]*watch{},
		byDiscriminator: map[uint32]*watch{},
		byPeer:          map[netip.Addr][]*watch{},
	}
	if s.transport == nil {
		s.transport = &kernel{}
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.random == nil {
		s.random = seeded()
	}
	return s
}

// seeded returns a source that nobody can foresee: who knows the discriminators of a session
// needs to see none of its packets.
func seeded() *mathrand.Rand {
	var seed [32]byte
	rand.Read(seed[:]) // never fails
	return mathrand.New(mathrand.NewChaCha8(seed))
}

// Set hands over the whole desired state, as often as you like; only differences have an effect.
// A session whose profile changes goes on, and tells its peer by a Poll Sequence. One that is no
// longer wanted is taken down in good order: the peer hears that it is AdminDown. Of two sessions
// with the same key the first counts. Set never waits; the Speaker keeps the slice.
func (s *Speaker) Set(sessions []lb.BFDSession) {
	s.wanted.Store(&sessions)
	s.transport.Wake()
}

// Changed signals that States has something new to say.
func (s *Speaker) Changed() <-chan struct{} { return s.changed }

// States returns what is known of every session that Start has taken over from Set.
func (s *Speaker) States() map[lb.BFDKey]lb.BFDState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[lb.BFDKey]lb.BFDState, len(s.shown))
	for key, w := range s.shown {
		out[key] = *w.state.Load()
	}
	return out
}

// parting is how long Start waits at most, after its context has ended, for the peers to have
// heard that their sessions are AdminDown. Those that are alive answer at once.
const parting = time.Second

// Start keeps the sessions until ctx ends; then it tells all peers that their sessions are
// administratively down, so that none takes our end for a failure of the path.
//
// One goroutine does everything, on a thread of its own: it has nobody to wait for. In every
// round it looks at the clock, takes in all that had arrived by then, and only then does what is
// due: so that nobody is called silent whose packet lay there unread.
func (s *Speaker) Start(ctx context.Context) error {
	runtime.LockOSThread() // and never unlocked: the thread's priority is its own, and ends with it
	if err := s.transport.Open(); err != nil {
		return err
	}
	defer s.transport.Close()
	s.journal = openJournal(s.logger)
	defer s.journal.close()
	defer context.AfterFunc(ctx, s.transport.Wake)()
	for ctx.Err() == nil {
		s.round(s.wanted.Load())
		s.transport.Wait(s.queue.due())
	}
	none, deadline := &[]lb.BFDSession{}, s.now().Add(parting)
	for {
		s.round(none)
		if len(s.watches) == 0 || !s.clock.Before(deadline) {
			break
		}
		s.transport.Wait(earliest(s.queue.due(), deadline))
	}
	for _, w := range s.watches {
		s.forget(w)
	}
	return nil
}

func (s *Speaker) round(wanted *[]lb.BFDSession) {
	s.clock = s.now()
	s.apply(wanted)
	s.transport.Receive(s.clock, s.handle)
	for w := s.queue.first(); w != nil && reached(w.due, s.clock); w = s.queue.first() {
		s.serve(w)
	}
}

// apply makes the sessions match the wanted ones.
func (s *Speaker) apply(wanted *[]lb.BFDSession) {
	if wanted == nil || wanted == s.applied {
		return
	}
	s.applied = wanted
	keys := make(map[lb.BFDKey]bool, len(*wanted))
	for _, session := range *wanted {
		if key := session.Key(); !keys[key] {
			keys[key] = true
			s.want(key, session)
		}
	}
	for key, w := range s.watches {
		if !keys[key] && !w.leaving {
			s.dismiss(w)
		}
	}
	s.show(keys)
}

// want begins, changes, or takes up again the session with a key.
func (s *Speaker) want(key lb.BFDKey, session lb.BFDSession) {
	w := s.watches[key]
	switch {
	case w == nil:
		w = s.begin(key, session)
	case w.leaving:
		w.leaving = false
		w.session.configure(session.Profile, s.clock)
		s.act(w, w.session.step(enable, s.clock))
	case w.session.profile != session.Profile:
		w.session.configure(session.Profile, s.clock)
	default:
		return
	}
	w.config, w.far = session, ""
	w.retry = s.clock // another profile may need other sockets
	s.serve(w)
}

func (s *Speaker) begin(key lb.BFDKey, session lb.BFDSession) *watch {
	discriminator := s.random.Uint32()
	for discriminator == 0 || s.byDiscriminator[discriminator] != nil {
		discriminator = s.random.Uint32()
	}
	w := &watch{
		key:     key,
		config:  session,
		secret:  s.random.Uint64(),
		session: newSession(session, discriminator, s.random.Float64, s.clock),
	}
	peer := key.Peer.WithZone("")
	s.watches[key] = w
	s.byDiscriminator[discriminator] = w
	s.byPeer[peer] = append(s.byPeer[peer], w)
	heap.Push(&s.queue, w)
	return w
}

// dismiss takes a session down in good order: the peer is told for as long as it would take it
// to notice by itself, unless it says before that it knows (RFC 5880 section 6.8.16).
func (s *Speaker) dismiss(w *watch) {
	w.leaving = true
	w.until = s.clock
	if w.session.remoteDiscr != 0 && w.session.remoteState != stateAdminDown {
		w.until = s.clock.Add(w.session.remoteDetectionTime())
	}
	s.act(w, w.session.step(disable, s.clock))
	s.serve(w)
}

// forget ends what is left of a session.
func (s *Speaker) forget(w *watch) {
	w.close()
	peer := w.key.Peer.WithZone("")
	delete(s.watches, w.key)
	delete(s.byDiscriminator, w.session.localDiscr)
	s.byPeer[peer] = without(s.byPeer[peer], w)
	if len(s.byPeer[peer]) == 0 {
		delete(s.byPeer, peer)
	}
	heap.Remove(&s.queue, w.index)
}

// show lets readers see the wanted sessions.
func (s *Speaker) show(keys map[lb.BFDKey]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown = make(map[lb.BFDKey]*watch, len(keys))
	for key := range keys {
		s.shown[key] = s.watches[key]
	}
	signal(s.changed)
}

// serve does what is due for a session, and puts it back into the queue.
func (s *Speaker) serve(w *watch) {
	if w.leaving && reached(w.until, s.clock) {
		s.forget(w)
		return
	}
	if reached(w.retry, s.clock) {
		w.open(s.transport, s.clock)
	}
	s.act(w, w.session.tick(s.clock))
	s.settle(w)
}

// settle is the end of everything that changed a session.
func (s *Speaker) settle(w *watch) {
	w.due = w.next()
	heap.Fix(&s.queue, w.index)
	before, after := w.state.Load(), w.session.published(cmp.Or(w.problem, w.far))
	if before == nil || *before != after {
		shown := after // a copy, so that nothing is allocated where nothing has changed
		w.state.Store(&shown)
		s.report(w, before, after)
	}
}

// report tells those who asked what became of a session that is wanted.
func (s *Speaker) report(w *watch, before *lb.BFDState, after lb.BFDState) {
	if w.leaving {
		return
	}
	if w.notify && s.onChange != nil {
		w.counters.notifications.Add(1)
		s.onChange(w.key, after)
	}
	w.notify = false
	signal(s.changed)
	s.journal.record(w.key, before, after)
}

// act does what a session asked for.
func (s *Speaker) act(w *watch, do action) {
	switch {
	case do&answer != 0: // a change of state is in the answer, too
		s.send(w, true)
	case do&transmit != 0:
		s.send(w, false)
	}
	if do&transmitEcho != 0 {
		s.sendEcho(w)
	}
	if do&notify != 0 {
		w.notify = true
		w.counters.count(w.session.state)
	}
}

// send sends a control packet. What cannot be sent is lost, as on the wire.
func (s *Speaker) send(w *watch, final bool) {
	p := w.session.packet(final)
	if !final {
		w.session.sentAt(s.clock)
	}
	if w.path == nil {
		return
	}
	err := w.path.Send(p.append(s.buffer[:0]))
	if err == nil {
		w.counters.controlOut.Add(1)
	}
	w.sent(err, s.clock)
}

// sendEcho sends an echo packet; one that cannot be sent counts as lost.
func (s *Speaker) sendEcho(w *watch) {
	w.session.echoSentAt(s.clock)
	if w.echo == nil {
		return
	}
	err := w.echo.Send(w.appendEcho(s.buffer[:0]))
	if err == nil {
		w.counters.echoOut.Add(1)
	}
	w.mend(err, s.clock)
}

// handle takes in a packet that arrived.
func (s *Speaker) handle(a *Arrival) {
	var why drop
	switch a.Kind {
	case SingleHop, MultiHop:
		why = s.handleControl(a)
	case EchoReturn:
		why = s.handleEchoReturn(a)
	case EchoLoop:
		why = s.handleEchoLoop(a)
	}
	s.drops[why].Add(1)
}

// handleControl makes the checks of RFC 5880 section 6.8.6 and RFC 5881 section 5, and hands the
// packet to its session.
func (s *Speaker) handleControl(a *Arrival) drop {
	if a.Kind == SingleHop && a.TTL != 255 {
		return dropTTL
	}
	p := &s.parsed
	if why := p.parse(a.Payload); why != accepted {
		return why
	}
	w, why := s.find(p.yourDiscriminator, a)
	switch {
	case why != accepted:
		return why
	case a.Kind == MultiHop && a.TTL < w.config.Profile.MinimumTTL:
		s.tooFar(w, a.TTL)
		return dropTTL
	}
	w.far = ""
	w.counters.controlIn.Add(1)
	s.act(w, w.session.receive(p, a.At, s.clock))
	if w.leaving && p.state <= stateDown { // the peer knows
		w.until = s.clock
	}
	s.settle(w)
	return accepted
}

// tooFar says why a session does not come up whose peer is heard, but from further away than
// the profile permits. While others of its packets are accepted, it says nothing: these may be
// anybody's.
func (s *Speaker) tooFar(w *watch, ttl int) {
	if w.session.heard.IsZero() && w.far == "" {
		w.far = fmt.Sprintf("its packets arrive with a TTL of %d, and minimumTtl is %d", ttl, w.config.Profile.MinimumTTL)
		s.settle(w)
	}
}

// find is the demultiplexing of RFC 5880 section 6.8.6: by our discriminator, and while the peer
// does not know it, by addresses (RFC 5881 section 3, RFC 5883 section 4). The RFCs do not ask
// that the addresses match in the former case; we do, since who can guess a discriminator should
// have to sit on the path, too.
func (s *Speaker) find(discriminator uint32, a *Arrival) (*watch, drop) {
	if discriminator != 0 {
		w := s.byDiscriminator[discriminator]
		switch {
		case w == nil:
			return nil, dropUnknownDiscriminator
		case !w.expects(a):
			return nil, dropWrongSource
		}
		return w, accepted
	}
	for _, w := range s.byPeer[a.Source] {
		if !w.leaving && w.expects(a) {
			return w, accepted
		}
	}
	return nil, dropUnknownPeer
}

func (s *Speaker) handleEchoReturn(a *Arrival) drop {
	w := s.byDiscriminator[echoDiscriminator(a.Payload)]
	if w == nil || !w.ownEcho(a.Payload) {
		return dropUnknownEcho
	}
	w.counters.echoIn.Add(1)
	w.session.heardEcho(a.At)
	s.settle(w)
	return accepted
}

// handleEchoLoop reflects what some routers send instead of packets that are to be forwarded. It
// only has to be the peer's, and from one hop away; what is reflected is not, and ends there.
func (s *Speaker) handleEchoLoop(a *Arrival) drop {
	if a.TTL != 255 {
		return dropTTL
	}
	for _, w := range s.byPeer[a.Source] {
		if w.echo != nil && w.session.state == stateUp && w.matches(a) {
			if w.echo.Reflect(a.Payload, netip.AddrPortFrom(a.Source, a.SourcePort)) != nil {
				return dropSendError
			}
			return accepted
		}
	}
	return dropUnknownPeer
}

// The payload of our echo packets is a local matter (RFC 5880 section 5): our discriminator, and
// a secret that tells our packets from forged ones.
const echoLength = 12

func (w *watch) appendEcho(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, w.session.localDiscr)
	return binary.BigEndian.AppendUint64(b, w.secret)
}

func (w *watch) ownEcho(b []byte) bool {
	return len(b) == echoLength && binary.BigEndian.Uint64(b[4:]) == w.secret
}

func echoDiscriminator(b []byte) uint32 {
	if len(b) < echoLength {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// signal says "look again" on a channel of capacity 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
