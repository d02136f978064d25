package ipam

import (
	"cmp"
	"container/heap"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// queue is the services that wait for addresses, in lines of equal demands: what the
// first of a line is refused, all the others are refused, so only the first asks.
type queue struct {
	lines  map[string]*line
	places map[lb.ServiceKey]*waiter
}

// line is the services that wait for the same thing.
type line struct {
	demand
	waiters ageHeap
}

type waiter struct {
	svc  lb.Service
	line string
	// index is where the waiter stands in its line's heap.
	index int
}

func newQueue() queue {
	return queue{lines: map[string]*line{}, places: map[lb.ServiceKey]*waiter{}}
}

func (q *queue) add(svc lb.Service, d demand) {
	// What the status showed may be lost by now: one who waits asks for what it lacks.
	svc.Held = nil
	w := &waiter{svc: svc, line: d.String()}
	if q.lines[w.line] == nil {
		q.lines[w.line] = &line{demand: d}
	}
	heap.Push(&q.lines[w.line].waiters, w)
	q.places[svc.Key] = w
}

func (q *queue) remove(key lb.ServiceKey) {
	w := q.places[key]
	if w == nil {
		return
	}
	delete(q.places, key)
	ln := q.lines[w.line]
	heap.Remove(&ln.waiters, w.index)
	if len(ln.waiters) == 0 {
		delete(q.lines, w.line)
	}
}

// serveWaiting hands what became free to those who wait: each time to the oldest who
// has a use for it. Nobody could be served before the offers came in, so only
// those who have a use for an offer need to be asked.
func (l *Ledger) serveWaiting() {
	for len(l.offers) > 0 && l.serveOldest() {
	}
	l.offers = l.offers[:0]
}

func (l *Ledger) serveOldest() bool {
	for _, ln := range l.interested() {
		if l.fill(ln.demand) == nil {
			continue
		}
		svc := ln.waiters[0].svc
		l.settle(svc)
		l.woken = append(l.woken, svc.Key)
		return true
	}
	return false
}

// interested returns the lines that have a use for one of the offers, the one that
// is headed by the oldest service first.
func (l *Ledger) interested() []*line {
	var lines []*line
	for _, ln := range l.waiting.lines {
		if slices.ContainsFunc(l.offers, func(a netip.Addr) bool { return l.suits(a, ln.demand) }) {
			lines = append(lines, ln)
		}
	}
	slices.SortFunc(lines, func(a, b *line) int { return byAge(&a.waiters[0].svc, &b.waiters[0].svc) })
	return lines
}

// suits reports whether the address could be a part of what is demanded.
func (l *Ledger) suits(a netip.Addr, d demand) bool {
	if !l.tenants[a].admits(d.tenant) {
		return false
	}
	if len(d.addresses) > 0 {
		return slices.Contains(d.addresses, a)
	}
	return d.need.wants(a) && d.tries(l.poolOf(a))
}

// byAge puts the oldest service first.
func byAge(a, b *lb.Service) int {
	return cmp.Or(a.Created.Compare(b.Created), a.Key.Compare(b.Key))
}

// ageHeap is a container/heap with the oldest service on top.
type ageHeap []*waiter

func (h ageHeap) Len() int           { return len(h) }
func (h ageHeap) Less(i, j int) bool { return byAge(&h[i].svc, &h[j].svc) < 0 }
func (h ageHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *ageHeap) Push(x any) {
	w := x.(*waiter)
	w.index = len(*h)
	*h = append(*h, w)
}

func (h *ageHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
