package layer2

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/herald-lb/herald/internal/lb"
)

// DefaultRefresh is how often every announced address is announced again when
// nothing has changed. It is below the 5 minutes after which switches commonly
// forget on which port a MAC lives (IEEE 802.1D-2004 section 7.9.2).
const DefaultRefresh = time.Minute

// Config is what an Announcer needs to know besides what to announce.
type Config struct {
	// Refresh is how often each announced address is announced again, give or
	// take a quarter. Zero turns the refresh off.
	Refresh time.Duration
	// Segment opens the connections of links; nil is the kernel's.
	Segment Segment
	// Gained, unless nil, is called for each address that is gained, when the first frame that
	// announces it has been sent. It is called from any goroutine, and must not block.
	Gained func(netip.Addr)
}

// Announcer makes this node answer for addresses on its links.
type Announcer struct {
	logger  log.Logger
	refresh time.Duration
	segment Segment
	gained  func(netip.Addr)

	wake  chan struct{} // look again: links, table or a responder changed
	links atomic.Pointer[[]lb.Link]
	table atomic.Pointer[table]
	ready atomic.Bool
	quiet atomic.Bool // nothing is sent unasked any more
	// What is in place: the links as they were applied last, and who answers on them.
	applied atomic.Pointer[[]lb.Link]
	open    atomic.Pointer[[]*responder]
	drops   dropCounters

	// The rest belongs to the goroutine of Start.
	responders map[identity]*responder
	failures   map[identity]failure
	logged     *table
}

// New returns an Announcer that answers for nothing until Set and Start are called.
func New(logger log.Logger, cfg Config) *Announcer {
	a := &Announcer{
		logger:     logger,
		refresh:    cfg.Refresh,
		segment:    cfg.Segment,
		gained:     cfg.Gained,
		wake:       make(chan struct{}, 1),
		responders: map[identity]*responder{},
		failures:   map[identity]failure{},
		logged:     &table{},
	}
	if a.segment == nil {
		a.segment = kernel{}
	}
	if a.gained == nil {
		a.gained = func(netip.Addr) {}
	}
	a.table.Store(&table{})
	return a
}

// Set hands over the whole desired state: the links of this node, and what to
// announce on them, one announcement for each address. Call it from one
// goroutine, with the same values as often as you like; only differences have
// an effect. A withdrawn address is no longer answered for when Set returns;
// everything else follows in Start's goroutines, so Set never waits for the
// wire. The cost is that of a comparison where the announcements are sorted by
// address. The Announcer keeps the links: do not change them afterwards.
func (a *Announcer) Set(links []lb.Link, announcements []lb.Announcement) {
	before := a.table.Load()
	after := before.with(announcements)
	known := a.links.Load()
	if known != nil && after == before && slices.EqualFunc(*known, links, lb.Link.Equal) {
		return
	}
	a.table.Store(after)
	a.links.Store(&links)
	signal(a.wake)
}

// Ready reports whether the first Set was applied: the sockets of all usable
// links are open, or the error is known and logged.
func (a *Announcer) Ready() bool { return a.ready.Load() }

// InPlace reports whether what Set handed over last has taken effect: requests for all of
// it reach this program on each link whose socket could be opened, and are answered. Set
// and InPlace are for the same goroutine.
func (a *Announcer) InPlace() bool {
	if !a.ready.Load() || a.applied.Load() != a.links.Load() {
		return false
	}
	current := a.table.Load()
	return !slices.ContainsFunc(*a.open.Load(), func(r *responder) bool { return r.inPlace.Load() != current })
}

// Quiet ends what is sent unasked, for good, while requests are still answered: a
// speaker that hands over must not draw back those who have turned to the next owner.
func (a *Announcer) Quiet() { a.quiet.Store(true) }

// Start answers and announces until ctx ends, and returns when all sockets are
// closed. It sends nothing for what it stops to announce: the new owner of an
// address announces itself.
func (a *Announcer) Start(ctx context.Context) error {
	defer a.closeAll()
	for {
		retry := a.apply()
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-retry:
		}
	}
}

// apply makes the responders match the links, and tells them to look at the
// table. It returns when to call it again at the latest.
func (a *Announcer) apply() <-chan time.Time {
	links := a.links.Load()
	if links == nil {
		return nil
	}
	wanted := identities(*links)
	now := time.Now()
	a.closeUnwanted(wanted, now)
	a.openMissing(wanted, now)
	open := slices.Collect(maps.Values(a.responders))
	for _, r := range open {
		signal(r.look)
	}
	a.open.Store(&open)
	a.applied.Store(links)
	a.ready.Store(true)
	a.logChanges()
	return a.nextRetry(now)
}

// closeUnwanted closes the responders of links that went, changed or failed.
func (a *Announcer) closeUnwanted(wanted map[identity]lb.Link, now time.Time) {
	for id, r := range a.responders {
		_, ok := wanted[id]
		err := r.failure()
		if ok && err == nil {
			continue
		}
		r.close()
		delete(a.responders, id)
		level.Info(a.logger).Log("msg", "stopped answering on link", "link", id.link, "protocol", id.protocol, "error", err)
		if ok {
			a.failures[id] = a.failures[id].again(err, now)
		}
	}
	for id := range a.failures {
		if _, ok := wanted[id]; !ok {
			delete(a.failures, id)
		}
	}
}

// openMissing opens a responder wherever one is wanted. An error is logged
// when it is another than the time before.
func (a *Announcer) openMissing(wanted map[identity]lb.Link, now time.Time) {
	for id, link := range wanted {
		before := a.failures[id]
		if a.responders[id] != nil || now.Before(before.retry) {
			continue
		}
		conn, err := id.open(a.segment, link)
		if err != nil {
			a.failures[id] = before.again(err, now)
			if err.Error() != before.text {
				level.Error(a.logger).Log("msg", "cannot answer on link", "link", id.link, "protocol", id.protocol, "error", err)
			}
			continue
		}
		a.responders[id] = a.newResponder(id, conn)
		level.Info(a.logger).Log("msg", "answering on link", "link", id.link, "protocol", id.protocol, "mac", id.mac)
	}
}

func (a *Announcer) closeAll() {
	for id, r := range a.responders {
		r.close()
		delete(a.responders, id)
	}
}

// failure is what is remembered of a link on which answering did not work. It
// is forgotten when the link changes.
type failure struct {
	text  string
	tries int
	retry time.Time
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// again returns the failure after one more, which waits twice as long. Failures
// long ago do not count.
func (f failure) again(err error, now time.Time) failure {
	if now.Sub(f.retry) > 2*lastRetry {
		f.tries = 0
	}
	patience := min(firstRetry<<min(f.tries, 16), lastRetry)
	return failure{text: err.Error(), tries: f.tries + 1, retry: now.Add(patience)}
}

func (a *Announcer) nextRetry(now time.Time) <-chan time.Time {
	var first time.Time
	for id, f := range a.failures {
		if a.responders[id] == nil && (first.IsZero() || f.retry.Before(first)) {
			first = f.retry
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(first.Sub(now))
}

// logChanges says what changed in the table since it last did: one line for
// all, since a failover may move thousands of addresses. It runs after the
// responders were told, so that logging never delays the first frame.
func (a *Announcer) logChanges() {
	current, every := a.table.Load(), func(*entry) bool { return true }
	lost, changed := a.logged.only(current, every), current.changedSince(a.logged)
	a.logged = current
	if len(lost)+len(changed) == 0 {
		return
	}
	level.Info(a.logger).Log("msg", "announcements changed", "changed", len(changed), "withdrawn", len(lost), "announced", current.len())
	for _, e := range lost {
		level.Debug(a.logger).Log("msg", "address withdrawn", "ip", e.Address)
	}
	for _, e := range changed {
		level.Debug(a.logger).Log("msg", "address announced", "ip", e.Address, "announcement", e.Announcement)
	}
}

// signal says "look again" on a channel of capacity 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
