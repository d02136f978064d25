package layer2

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// responder answers and announces on one link in one protocol. It starts with
// an empty table applied, so a link that comes, or comes back, is a link on
// which every address is gained: groups are joined and bursts sent.
type responder struct {
	identity
	logger  log.Logger
	conn    Conn
	table   *atomic.Pointer[table]
	drops   *dropCounters
	refresh time.Duration
	quiet   *atomic.Bool
	gained  func(netip.Addr)

	look   chan struct{} // the table has changed
	failed chan<- struct{}
	done   chan struct{}
	err    atomic.Pointer[error]
	mute   atomic.Bool // the last frame could not be sent, and that was logged
	// inPlace is the table whose requests arrive here: they pass the filter, and the groups are joined.
	inPlace atomic.Pointer[table]
	ended   sync.WaitGroup

	// The rest belongs to the goroutine of announce.
	applied *table
	watched []span
	bursts  bursts
	groups  groups
	slot    uint64
}

// newResponder starts a responder on an open connection.
func (a *Announcer) newResponder(id identity, conn Conn) *responder {
	r := &responder{
		identity: id,
		logger:   log.With(a.logger, "link", id.link, "protocol", id.protocol),
		conn:     conn,
		table:    &a.table,
		drops:    &a.drops,
		refresh:  a.refresh,
		quiet:    &a.quiet,
		gained:   a.gained,
		look:     make(chan struct{}, 1),
		failed:   a.wake,
		done:     make(chan struct{}),
		applied:  &table{},
		groups:   groups{needed: map[netip.Addr]int{}},
	}
	r.ended.Go(r.read)
	r.ended.Go(r.announce)
	return r
}

// close ends both goroutines and the socket.
func (r *responder) close() {
	close(r.done)
	if err := r.conn.Close(); err != nil {
		level.Debug(r.logger).Log("msg", "closing socket", "error", err)
	}
	r.ended.Wait()
}

// failure returns why the responder no longer works, or nil.
func (r *responder) failure() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

// fail keeps the first error, and has the Announcer open the link anew.
func (r *responder) fail(err error) {
	if r.err.CompareAndSwap(nil, &err) {
		signal(r.failed)
	}
}

// read answers requests until the socket is closed or broken.
func (r *responder) read() {
	frame := make([]byte, 1514) // solicitations may carry options that we do not know
	var buf frameBuffer
	for {
		n, err := r.conn.Read(frame)
		if err != nil {
			r.fail(fmt.Errorf("read from socket on %s: %w", r.link, err))
			return
		}
		r.respond(frame[:n], &buf)
	}
}

func (r *responder) respond(frame []byte, buf *frameBuffer) {
	reply, e, why := r.answer(frame, r.table.Load(), buf)
	if why != answered {
		r.drops[why].Add(1)
		return
	}
	e.requests.Add(1)
	if r.write(reply) {
		e.responses.Add(1)
	}
}

// announce sends bursts and refreshes, and keeps the groups joined, until the
// responder is closed. What was gained is announced before its groups are
// joined: the neighbors that have the old owner cached come first.
func (r *responder) announce() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	refresh := time.Now().Add(r.refreshPause())
	for {
		now := time.Now()
		r.apply(now)
		for due := r.bursts.take(now); due != nil; due = r.bursts.take(now) {
			r.sendBurst(due)
		}
		r.joinGroups()
		r.inPlace.Store(r.applied)
		if r.refresh > 0 && !now.Before(refresh) {
			r.sendRefresh()
			refresh = now.Add(r.refreshPause())
		}
		timer.Reset(r.pause(now, refresh))
		select {
		case <-r.done:
			return
		case <-r.look:
		case <-timer.C:
		}
	}
}

// apply takes note of what the table has gained and lost on this link.
func (r *responder) apply(now time.Time) {
	current := r.table.Load()
	gained, lost := current.only(r.applied, r.announces), r.applied.only(current, r.announces)
	if current != r.applied {
		r.watch(current)
	}
	r.applied = current
	r.bursts.add(gained, now)
	if r.protocol == protocolNDP {
		r.groups.need(gained)
		r.leaveGroups(r.groups.release(lost))
	}
}

// watch has requests for the addresses of this protocol pass the kernel's filter, before
// anybody is told of them. Those that are not for this link pass, to be counted.
func (r *responder) watch(t *table) {
	keys := make([]uint32, 0, t.len())
	for e := range t.all() {
		if e.Address.Is4() == (r.protocol == protocolARP) {
			keys = append(keys, key(e.Address))
		}
	}
	targets := spansOf(keys)
	if r.watched != nil && slices.Equal(targets, r.watched) {
		return
	}
	if err := r.conn.Watch(targets); err != nil {
		r.fail(fmt.Errorf("set filter of socket on %s: %w", r.link, err))
		return
	}
	r.watched = targets
}

// sendBurst sends one round of the bursts of these entries, as far as they are
// still announced.
func (r *responder) sendBurst(entries []*entry) {
	var buf frameBuffer
	for _, e := range entries {
		if now := r.applied.find(e.Address); now == nil || now.tally != e.tally || !r.announces(now) {
			continue
		}
		if r.protocol == protocolNDP {
			r.send(e, announcementNDP(&buf, &r.identity, e.Address))
			continue
		}
		r.send(e, announcementARP(&buf, &r.identity, e.Address))
		r.send(e, announcementARPReply(&buf, &r.identity, e.Address))
	}
}

// sendRefresh sends one frame for each address whose turn it is.
func (r *responder) sendRefresh() {
	var buf frameBuffer
	r.slot = (r.slot + 1) % refreshSlots
	for e := range r.applied.all() {
		switch {
		case !r.announces(e) || refreshSlot(e) != r.slot:
		case r.protocol == protocolNDP:
			r.send(e, announcementNDP(&buf, &r.identity, e.Address))
		default:
			r.send(e, announcementARP(&buf, &r.identity, e.Address))
		}
	}
}

// send sends a frame that nobody asked for, unless none are to be sent any more.
func (r *responder) send(e *entry, frame []byte) {
	if !r.quiet.Load() && r.write(frame) && e.gratuitous.Add(1) == 1 {
		r.gained(e.Address)
	}
}

// write sends a frame, logs the first error of a series, and counts them all.
func (r *responder) write(frame []byte) bool {
	_, err := r.conn.Write(frame)
	if err == nil {
		r.mute.Store(false)
		return true
	}
	r.drops[dropSendError].Add(1)
	if !r.mute.Swap(true) && !errors.Is(err, net.ErrClosed) {
		level.Error(r.logger).Log("msg", "cannot send on link", "error", err)
	}
	return false
}

// joinGroups joins the groups that are needed and not yet joined. A group that
// cannot be joined is tried again at every later turn.
func (r *responder) joinGroups() {
	for _, group := range r.groups.take() {
		err := r.conn.(GroupConn).Join(group)
		if err == nil {
			continue
		}
		r.groups.missing = append(r.groups.missing, group)
		if !r.groups.failing && !errors.Is(err, net.ErrClosed) {
			level.Error(r.logger).Log("msg", "cannot join multicast group", "group", group, "error", err)
		}
	}
	r.groups.failing = len(r.groups.missing) > 0
}

func (r *responder) leaveGroups(groups []netip.Addr) {
	for _, group := range groups {
		if err := r.conn.(GroupConn).Leave(group); err != nil {
			level.Debug(r.logger).Log("msg", "leaving multicast group", "group", group, "error", err)
		}
	}
}

// groupRetry is how long a group that could not be joined waits.
const groupRetry = 5 * time.Second

// pause returns how long nothing needs to be done, unless the table changes.
func (r *responder) pause(now, refresh time.Time) time.Duration {
	next := now.Add(time.Hour)
	if due, ok := r.bursts.next(); ok && due.Before(next) {
		next = due
	}
	if r.refresh > 0 && refresh.Before(next) {
		next = refresh
	}
	if retry := now.Add(groupRetry); r.groups.failing && retry.Before(next) {
		next = retry
	}
	return time.Until(next)
}

// refreshPause returns the time between two parts of the refresh, give or take
// a quarter, lest all nodes speak at once.
func (r *responder) refreshPause() time.Duration {
	part := r.refresh / refreshSlots
	return part - part/4 + rand.N(part/2+1)
}
