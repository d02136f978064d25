package bgp

import (
	"cmp"
	"context"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/lb"
)

// Config is what a Speaker needs to know besides the sessions.
type Config struct {
	// Node is the name of this node: the last resort for a BGP identifier.
	Node lb.NodeName
}

// Speaker holds the BGP sessions of this node.
type Speaker struct {
	logger  log.Logger
	node    lb.NodeName
	changed chan struct{}

	// dial and interfaces are the kernel's, or a test's own.
	dial       func(ctx context.Context, p lb.Peer, router netip.AddrPort) (net.Conn, error)
	rival      func(p lb.Peer, router netip.AddrPort) (netip.Addr, error)
	interfaces func() ([]addresses, error)
	// openTimeout is how long a router may keep silent after it accepted.
	openTimeout time.Duration

	mu       sync.Mutex
	sessions map[lb.PeerName]*session
	running  sync.WaitGroup
	ctx      context.Context // of Start; nil before
}

// openTimeout: RFC 4271, section 8.2.2, suggests 4 minutes; a router that hangs is better
// tried again.
const openTimeout = 30 * time.Second

// New returns a Speaker that connects to nobody until Start is called.
func New(logger log.Logger, c Config) *Speaker {
	return &Speaker{
		logger:      logger,
		node:        c.Node,
		changed:     make(chan struct{}, 1),
		dial:        dial,
		rival:       rival,
		interfaces:  kernelAddresses,
		openTimeout: openTimeout,
		sessions:    map[lb.PeerName]*session{},
	}
}

// Start holds the sessions until ctx ends. Then it ends them in good order and returns:
// routers are told that the speaker stops (RFC 9003), but those that keep its routes over
// a restart are told nothing, so that they do (RFC 4724).
func (s *Speaker) Start(ctx context.Context) error {
	s.mu.Lock()
	s.ctx = ctx
	for _, session := range s.sessions {
		s.launch(session, nil)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.running.Wait()
	return nil
}

// Set hands over the whole desired state: the sessions of this node, each peer once, with
// the routes that each is offered. Call it from any goroutine, with the same values as
// often as you like; only differences have an effect, and Set does not wait for that. A
// session stays up as long as it is with the same router and on the same terms. The
// Speaker keeps the slices: do not change them afterwards.
func (s *Speaker) Set(sessions []lb.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := maps.Clone(s.sessions)
	for _, wanted := range sessions {
		delete(gone, wanted.Peer.Name)
	}
	for name, session := range gone {
		session.end(errRemoved)
		delete(s.sessions, name)
		signal(s.changed)
	}
	for _, wanted := range sessions {
		wanted.Routes = sorted(wanted.Routes)
		s.setSession(wanted, gone)
	}
}

// setSession creates or changes one session. A session that has to begin anew leaves its
// place to another, which waits for the end of the first; and so does one with the router
// of a peer that is gone, as where a peer gets another name.
func (s *Speaker) setSession(wanted lb.Session, gone map[lb.PeerName]*session) {
	name := wanted.Peer.Name
	before := s.sessions[name]
	if before != nil && sameSession(before.peer(), wanted.Peer) {
		before.set(wanted)
		return
	}
	after := newSession(s, wanted)
	if before != nil {
		before.end(errReconfigured)
		after.inherit(before)
	} else {
		before = withRouter(wanted.Peer, gone)
	}
	s.sessions[name] = after
	if s.ctx != nil {
		s.launch(after, before)
	}
	signal(s.changed)
}

// withRouter returns the session with the peer's router; nil if there is none.
func withRouter(p lb.Peer, sessions map[lb.PeerName]*session) *session {
	for _, session := range sessions {
		if other := session.peer(); other.Address == p.Address && other.Interface == p.Interface && other.VRF == p.VRF {
			return session
		}
	}
	return nil
}

// launch runs a session that takes the place of another, or of none.
func (s *Speaker) launch(session, before *session) {
	if s.ctx.Err() != nil {
		close(session.done)
		return
	}
	ctx, end := context.WithCancelCause(context.WithoutCancel(s.ctx))
	forget := context.AfterFunc(s.ctx, func() { end(errStopped) })
	session.setEnd(end)
	ended := closed
	if before != nil {
		ended = before.done
	}
	s.running.Go(func() {
		defer forget()
		session.run(ctx, ended)
	})
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// sameSession reports whether two configurations of a peer go on in one session. What
// they have beyond that is applied while it is up.
func sameSession(a, b lb.Peer) bool {
	return reflect.DeepEqual(essence(a), essence(b))
}

func essence(p lb.Peer) lb.Peer {
	p.Nodes, p.BFD = nil, nil
	p.KeepaliveTime, p.ConnectTime = 0, 0
	return p
}

// sorted returns routes sorted by prefix: usually as they are.
func sorted(routes []lb.Route) []lb.Route {
	byPrefix := func(a, b lb.Route) int { return a.Prefix.Compare(b.Prefix) }
	if slices.IsSortedFunc(routes, byPrefix) {
		return routes
	}
	routes = slices.Clone(routes)
	slices.SortFunc(routes, byPrefix)
	return routes
}

// States returns what is known of each session, sorted by the peer's name.
func (s *Speaker) States() []lb.SessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]lb.SessionState, 0, len(s.sessions))
	for _, session := range s.sessions {
		states = append(states, session.snapshot())
	}
	slices.SortFunc(states, func(a, b lb.SessionState) int { return cmp.Compare(a.Peer, b.Peer) })
	return states
}

// Changed says that [Speaker.States] has news.
func (s *Speaker) Changed() <-chan struct{} { return s.changed }

// PathDown ends the session with a peer at once, since the path to it is known to be gone,
// and keeps it down until PathUp. The text says how that is known. A peer without a session
// is ignored.
func (s *Speaker) PathDown(p lb.PeerName, why string) {
	if session := s.session(p); session != nil {
		session.pathWentDown(why)
	}
}

// PathUp lets the session with a peer come up again, beginning at once.
func (s *Speaker) PathUp(p lb.PeerName) {
	if session := s.session(p); session != nil {
		session.pathCameUp()
	}
}

func (s *Speaker) session(p lb.PeerName) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[p]
}

// signal says "look again" on a channel of capacity 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
