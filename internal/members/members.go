package members

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/hashicorp/memberlist"
)

// Members is this speaker's place in the ring.
type Members struct {
	logger   log.Logger
	config   *memberlist.Config
	discover func(context.Context) ([]string, error)
	ring     *ring
	rejoin   chan struct{}
	update   chan struct{} // what others are told of this member has changed

	// The rest belongs to the goroutine of Start.
	list       *memberlist.Memberlist
	known      []netip.AddrPort // as last discovered
	discovered time.Time
	tries      sync.WaitGroup // attempts to join that are under way
	recovery   time.Duration
	recovered  *time.Timer // ends the recovery of a member that has a link again
}

// New checks the configuration. discover lists the addresses of the speakers'
// pods, each an IP address, or one with a port where that is not BindPort; it
// may wait for the API server, and is called from one goroutine.
func New(logger log.Logger, cfg Config, discover func(context.Context) ([]string, error)) (*Members, error) {
	mc, err := cfg.memberlistConfig()
	if err != nil {
		return nil, err
	}
	m := &Members{
		logger:   logger,
		config:   mc,
		discover: discover,
		ring:     newRing(logger),
		rejoin:   make(chan struct{}, 1),
		update:   make(chan struct{}, 1),

		recovery:  recovery,
		recovered: time.NewTimer(0),
	}
	mc.Events, mc.Delegate, mc.Ping = m.ring, m.ring, m.ring
	mc.Logger = newLogAdapter(logger)
	return m, nil
}

// Alive returns the members that are alive, sorted by name, this one among
// them once the ring is entered.
func (m *Members) Alive() []Member { return *m.ring.alive.Load() }

// Changed signals that Alive has changed.
func (m *Members) Changed() <-chan struct{} { return m.ring.changed }

// Ready reports whether this member listens, and has tried to join the others.
func (m *Members) Ready() bool { return m.ring.ready.Load() }

// Rejoin asks for an attempt to join, now: new speakers may be about.
func (m *Members) Rejoin() { signal(m.rejoin) }

// SetLinked tells whether this speaker has any link on which it could announce. It
// has one until said otherwise. Who has none is not usable, and the others are told at once.
// Who has one again was cut off, and has lost the others from sight: Ready is false until they
// were looked for, and if there are any that are usable, it is usable again after recovery.
// The others hear of that by Tell.
func (m *Members) SetLinked(linked bool) {
	if m.ring.linked.Swap(linked) == linked {
		return
	}
	if linked {
		m.ring.ready.Store(false)
		signal(m.rejoin)
		return
	}
	m.ring.recovering.Store(true)
	m.ring.withheld.Store(true)
	signal(m.update)
}

// SetPrepared says whether this speaker knows enough to announce, and returns whether that
// is news. It does until said otherwise. Who does not is not usable: others would leave to
// it what it does not answer for. Who is prepared is usable, and the others hear of it by Tell.
func (m *Members) SetPrepared(prepared bool) (news bool) {
	if !prepared {
		m.ring.withheld.Store(true)
	}
	news = m.ring.prepared.Swap(prepared) != prepared
	if news {
		signal(m.ring.changed)
	}
	return news
}

// SetUnlinked has the others know on which links, of those that matter to them, this speaker
// cannot announce: sorted, and not changed afterwards. It returns those that they are told of, as
// gossip carries some 500 bytes: who counted more of its own would leave to others what they leave
// to it.
func (m *Members) SetUnlinked(links []string) (told []string) {
	told = tellable(links)
	if !slices.Equal(*m.ring.unlinked.Swap(&told), told) {
		signal(m.update)
	}
	return told
}

// Withheld reports whether the others are not to hear, before Tell, that this speaker is usable.
func (m *Members) Withheld() bool { return m.ring.withheld.Load() }

// Tell has the others know that this speaker is usable. They leave to it what is its own: it
// must answer for that already.
func (m *Members) Tell() {
	m.ring.withheld.Store(false)
	signal(m.update)
}

// Usable reports whether this speaker may announce, which the others hear of later.
func (m *Members) Usable() bool { return m.ring.usable() }

// recovery is how long a node that was cut off leaves to others what it could announce.
// While it was, its kernel may have asked for neighbors in vain, and it asks for each but
// once a second (RFC 4861 section 10, RETRANS_TIMER): until then it reaches nobody.
const recovery = 1500 * time.Millisecond

// beginRecovery begins the recovery of a member that has a link again. It would serve nobody
// where nobody else is usable.
func (m *Members) beginRecovery() {
	if !m.ring.linked.Load() || !m.ring.recovering.Load() {
		return
	}
	var pause time.Duration
	if slices.ContainsFunc(m.Alive(), func(o Member) bool { return o.Usable && o.Name != m.config.Name }) {
		pause = m.recovery
	}
	m.recovered.Reset(pause)
}

// endRecovery makes this member usable, unless it was cut off anew and has not recovered
// from that.
func (m *Members) endRecovery() {
	if m.ring.linked.Load() && m.ring.ready.Load() && m.ring.recovering.Swap(false) {
		signal(m.ring.changed)
	}
}

const (
	// rediscover is how often the addresses of the others are asked for.
	rediscover = time.Minute
	// A failed attempt to join is repeated after firstRetry, and then with
	// growing pauses up to lastRetry. Memberlist does not look for the dead, so
	// this is also what heals a ring that was split.
	firstRetry = time.Second
	lastRetry  = 5 * time.Second
	// goodbye bounds how long leaving may take.
	goodbye = time.Second
)

// Start enters the ring, and leaves it when ctx ends: the others then know that
// this member is gone before Start returns.
func (m *Members) Start(ctx context.Context) error {
	list, err := memberlist.Create(m.config)
	if err != nil {
		return fmt.Errorf("listen for memberlist on %s port %d: %w", m.config.BindAddr, m.config.BindPort, err)
	}
	m.list = list
	defer m.leave()
	retry := firstRetry
	for {
		pause := rediscover
		looked := m.join(ctx)
		if m.whole() {
			retry = firstRetry
		} else {
			pause, retry = retry, min(2*retry, lastRetry)
		}
		if looked {
			m.ring.setReady()
			m.beginRecovery()
		}
		if !m.rest(ctx, pause) {
			return nil
		}
	}
}

// rest waits until it is time to join again; false means that ctx has ended. A
// member that appears while others are missing shows that the way to them is open.
// One that goes may be behind a split: it is looked for soon.
func (m *Members) rest(ctx context.Context, pause time.Duration) bool {
	end := time.Now().Add(pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-m.rejoin:
			m.discovered = time.Time{}
			return true
		case <-m.ring.joined:
			if len(m.missing()) > 0 {
				return true
			}
		case <-m.ring.lost:
			timer.Reset(min(time.Until(end), firstRetry))
		case <-m.update:
			m.tell()
		case <-m.recovered.C:
			m.endRecovery()
		}
	}
}

// tellRetry is when it is told again what did not get about.
const tellRetry = 100 * time.Millisecond

// tell has the others know what this member tells of itself now. Where a rumour about this
// member comes in meanwhile, memberlist contradicts it, with what was told before, and forgets
// what was to be told.
func (m *Members) tell() {
	if err := m.list.UpdateNode(goodbye); err != nil {
		level.Info(m.logger).Log("msg", "telling the other members", "error", err)
	}
	want := parseMeta(m.ring.NodeMeta(memberlist.MetaMaxSize))
	if slices.ContainsFunc(m.Alive(), func(o Member) bool {
		return o.Name == m.config.Name && (o.Usable == want.Unusable || !slices.Equal(o.Unlinked, want.Unlinked))
	}) {
		time.AfterFunc(tellRetry, func() { signal(m.update) })
	}
}

// telling does something that takes its time, and tells meanwhile what is to be told.
func (m *Members) telling(do func()) {
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	for {
		select {
		case <-done:
			return
		case <-m.update:
			m.tell()
		}
	}
}

// joinAtOnce is how many addresses are tried in one attempt. One that answers
// is enough, since it tells of all others; several at the same time, so that
// one on a dead node does not hold up the rest.
const joinAtOnce = 5

// join tries to reach those that were discovered and are not members yet. It reports
// whether it came to its end: who is asked to look anew meanwhile has seen nothing yet.
func (m *Members) join(ctx context.Context) bool {
	m.look(ctx)
	missing := m.missing()
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	var reached atomic.Bool
	var tries sync.WaitGroup
	for _, addr := range missing[:min(len(missing), joinAtOnce)] {
		tries.Add(1)
		m.tries.Go(func() {
			defer tries.Done()
			if _, err := m.list.Join([]string{addr.String()}); err != nil {
				level.Debug(m.logger).Log("msg", "cannot join", "addr", addr, "error", err)
				return
			}
			reached.Store(true)
		})
	}
	looked := m.waitForTries(ctx, &tries)
	if reached.Load() {
		m.settle(ctx)
	}
	return looked
}

// whole reports whether all that were discovered are members.
func (m *Members) whole() bool { return !m.discovered.IsZero() && len(m.missing()) == 0 }

// waitForTries does not hold up a goodbye, nor what others are to be told, nor a wish
// to try again: a dead node takes its time to not answer. It reports whether all tries
// have ended.
func (m *Members) waitForTries(ctx context.Context, tries *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() {
		tries.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return true
		case <-m.rejoin:
			signal(m.rejoin)
			return false
		case <-ctx.Done():
			return false
		case <-m.update:
			m.tell()
		}
	}
}

// settling bounds how long those who were reached may take to be seen alive: who
// took each other for dead first have to hear, by gossip, that neither is.
const settling = 500 * time.Millisecond

// settle waits until nobody is missing, or for as long as that may take.
func (m *Members) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settling)
	defer cancel()
	for len(m.missing()) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-m.ring.joined:
		case <-m.update:
			m.tell()
		}
	}
}

// discovery bounds how long the answer to where the others are may take: those that
// were known before are looked for without it.
const discovery = 2 * time.Second

// look asks for the addresses of the others, if it is time. Where nobody knows, those
// that were known before still count.
func (m *Members) look(ctx context.Context) {
	if time.Since(m.discovered) < rediscover {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, discovery)
	defer cancel()
	var found []string
	var err error
	m.telling(func() { found, err = m.discover(bounded) })
	known, parseErr := parseAddresses(found, m.config.BindPort)
	if err := errors.Join(err, parseErr); err != nil && ctx.Err() == nil {
		level.Error(m.logger).Log("msg", "cannot list all other speakers", "error", err)
	}
	if err == nil {
		m.discovered = time.Now()
	}
	if err == nil || len(known) > 0 {
		m.known = known
	}
}

// missing returns the addresses at which there is no live member.
func (m *Members) missing() []netip.AddrPort {
	members := map[netip.AddrPort]bool{}
	for _, member := range m.Alive() {
		members[member.Addr] = true
	}
	var out []netip.AddrPort
	for _, addr := range m.known {
		if !members[addr] {
			out = append(out, addr)
		}
	}
	return out
}

// parseAddresses returns the addresses that can be read, and an error about the
// others. A pod that has no address yet is passed over.
func parseAddresses(texts []string, port int) ([]netip.AddrPort, error) {
	var out []netip.AddrPort
	var errs []error
	for _, text := range texts {
		if addr, err := netip.ParseAddr(text); err == nil {
			out = append(out, netip.AddrPortFrom(addr.Unmap(), uint16(port)))
			continue
		}
		addr, err := netip.ParseAddrPort(text)
		switch {
		case err == nil:
			out = append(out, addr)
		case text != "":
			errs = append(errs, fmt.Errorf("parse address %q of a speaker: %w", text, err))
		}
	}
	return out, errors.Join(errs...)
}

// leave says goodbye and closes all sockets.
func (m *Members) leave() {
	m.sayFarewell()
	if err := m.list.Leave(goodbye); err != nil {
		level.Info(m.logger).Log("msg", "leaving the ring", "error", err)
	}
	if err := m.list.Shutdown(); err != nil {
		level.Info(m.logger).Log("msg", "closing memberlist", "error", err)
	}
	m.tries.Wait()
}

// signal says "look again" on a channel of capacity 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
