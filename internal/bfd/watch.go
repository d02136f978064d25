package bfd

import (
	"container/heap"
	"errors"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// watch is a session with its sockets and counters, and its place in the queue.
type watch struct {
	key     lb.BFDKey
	config  lb.BFDSession
	session session
	secret  uint64 // in our echo packets

	path    Path
	echo    EchoPath
	broken  bool // the link of the sockets is gone
	problem string
	far     string    // why packets of the peer's are dropped, while none is accepted
	retry   time.Time // when to open what is missing; zero if nothing is

	leaving bool      // no longer wanted
	until   time.Time // when to forget it then
	notify  bool      // it came up or went down, and nobody was told yet

	due      time.Time // when to serve it next
	index    int       // in the queue
	state    atomic.Pointer[lb.BFDState]
	counters counters
}

// retryAfter is how long to wait before sockets that could not be opened are tried again.
const retryAfter = time.Second

// open opens what is missing, and closes what is not needed any more. A failure is the session's
// problem until it works.
func (w *watch) open(t Transport, now time.Time) {
	var err error
	if w.broken {
		w.close()
	}
	if w.path == nil {
		w.path, err = t.OpenPath(w.config)
	}
	switch {
	case w.path != nil && w.echo == nil && w.wantsEcho():
		w.echo, err = t.OpenEcho(w.config, w.path)
	case w.echo != nil && !w.wantsEcho():
		w.echo.Close()
		w.echo = nil
	}
	w.session.echoOpen = w.echo != nil
	w.problem, w.retry = "", time.Time{}
	if err != nil {
		w.problem, w.retry = err.Error(), now.Add(retryAfter)
	}
}

// wantsEcho: the Echo function is for one hop (RFC 5883 section 3), and ours is for IPv4.
func (w *watch) wantsEcho() bool {
	return w.config.Profile.EchoMode && !w.key.MultiHop && w.key.Peer.Is4()
}

// sent takes note of whether a packet could be sent.
func (w *watch) sent(err error, now time.Time) {
	switch {
	case err == nil && w.retry.IsZero():
		w.problem = ""
	case err != nil:
		w.problem = err.Error()
	}
	w.mend(err, now)
}

// mend has the sockets opened anew where sending showed that their link is gone: it may have come
// back under its name, as another one.
func (w *watch) mend(err error, now time.Time) {
	if errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO) {
		w.broken, w.retry = true, now
	}
}

func (w *watch) close() {
	w.broken = false
	if w.echo != nil {
		w.echo.Close()
		w.echo, w.session.echoOpen = nil, false
	}
	if w.path != nil {
		w.path.Close()
		w.path = nil
	}
}

// expects reports whether a control packet came the way that the session's packets come.
func (w *watch) expects(a *Arrival) bool {
	return w.key.MultiHop == (a.Kind == MultiHop) && w.path != nil && w.matches(a)
}

func (w *watch) matches(a *Arrival) bool {
	link := 0
	if w.path != nil {
		link = w.path.Link()
	}
	return w.key.VRF == a.VRF && w.key.Peer.WithZone("") == a.Source && (link == 0 || link == a.Link) &&
		(!w.key.Local.IsValid() || w.key.Local.WithZone("") == a.Destination)
}

// next is when to serve the session next; zero is never.
func (w *watch) next() time.Time {
	next := earliest(w.session.due(), w.retry)
	if w.leaving {
		next = earliest(next, w.until)
	}
	return next
}

// queue orders the sessions by when they are due: a heap, see container/heap.
type queue []*watch

// first returns the session that is due first; nil if there is none.
func (q queue) first() *watch {
	if len(q) == 0 {
		return nil
	}
	return q[0]
}

// due is when the first session is due; zero is never.
func (q queue) due() time.Time {
	if len(q) == 0 {
		return time.Time{}
	}
	return q[0].due
}

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	a, b := q[i].due, q[j].due
	return !a.IsZero() && (b.IsZero() || a.Before(b))
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push adds a session at the end, for [heap.Push].
func (q *queue) Push(w any) {
	w.(*watch).index = len(*q)
	*q = append(*q, w.(*watch))
}

// Pop takes the last session, for [heap.Remove].
func (q *queue) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return w
}

var _ heap.Interface = (*queue)(nil)

// without returns the sessions but one.
func without(watches []*watch, w *watch) []*watch {
	return slices.DeleteFunc(watches, func(o *watch) bool { return o == w })
}
