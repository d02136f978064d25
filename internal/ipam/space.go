package ipam

import (
	"container/heap"
	"fmt"
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
)

// pool is a configured pool with the record of what is free in it.
type pool struct {
	lb.Pool
	spaces []*space
	// capacity counts the addresses that can be handed out, assigned those in use.
	capacity, assigned tally
}

func newPool(p lb.Pool) *pool {
	np := &pool{Pool: p, capacity: capacity(p)}
	for i, r := range p.Ranges {
		np.spaces = append(np.spaces, &space{Range: r, pool: np, order: i, next: r.First, queued: map[netip.Addr]struct{}{}})
	}
	return np
}

// withholds reports whether the pool never hands out the address though a range contains it.
func (p *pool) withholds(a netip.Addr) bool { return p.AvoidBuggyIPs && lb.Buggy(a) }

// incompatible words the refusal of a service that the pool is not open to.
func (p *pool) incompatible() string {
	return fmt.Sprintf("pool %s not compatible for ip assignment: its serviceAllocation does not select the service", p.Name)
}

// space finds the lowest free address of one range without searching it: every
// free address below next is in freed, and none at or above next was looked at yet.
// Taking and releasing cost O(log n), however full the range is.
type space struct {
	lb.Range
	pool  *pool
	order int
	next  netip.Addr
	freed addrHeap
	// queued are the members of freed; an address is in it once.
	queued map[netip.Addr]struct{}
}

// lowest returns the lowest address that nobody holds.
func (s *space) lowest(held map[netip.Addr]tenancy) (netip.Addr, bool) {
	unavailable := func(a netip.Addr) bool { return len(held[a]) > 0 || s.pool.withholds(a) }
	for len(s.freed) > 0 && unavailable(s.freed[0]) {
		delete(s.queued, heap.Pop(&s.freed).(netip.Addr))
	}
	if len(s.freed) > 0 {
		return s.freed[0], true
	}
	for s.Contains(s.next) && unavailable(s.next) {
		s.next = s.next.Next()
	}
	return s.next, s.Contains(s.next)
}

// release notes that an address is free again.
func (s *space) release(a netip.Addr) {
	if s.Contains(s.next) && a.Compare(s.next) >= 0 {
		return
	}
	if _, ok := s.queued[a]; !ok {
		s.queued[a] = struct{}{}
		heap.Push(&s.freed, a)
	}
}

// addrHeap is a container/heap with the lowest address on top.
type addrHeap []netip.Addr

func (h addrHeap) Len() int           { return len(h) }
func (h addrHeap) Less(i, j int) bool { return h[i].Less(h[j]) }
func (h addrHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *addrHeap) Push(x any)        { *h = append(*h, x.(netip.Addr)) }
func (h *addrHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
