package ipam

import (
	"math"
	"math/big"
	"net/netip"

	"github.com/herald-lb/herald/internal/lb"
)

// Usage is how much of a pool is in use. Addresses count once, however many
// services share them.
type Usage struct {
	Pool                         lb.PoolName
	AssignedIPv4, AssignedIPv6   int64
	AvailableIPv4, AvailableIPv6 int64
}

// Usage returns the state of every pool, in their order.
func (l *Ledger) Usage() []Usage {
	usage := make([]Usage, len(l.pools))
	for i, p := range l.pools {
		usage[i] = Usage{
			Pool:         p.Name,
			AssignedIPv4: p.assigned.v4, AssignedIPv6: p.assigned.v6,
			AvailableIPv4: available(p.capacity.v4, p.assigned.v4), AvailableIPv6: available(p.capacity.v6, p.assigned.v6),
		}
	}
	return usage
}

// tally counts addresses by family.
type tally struct{ v4, v6 int64 }

// count keeps the tally of the pool that an address lies in.
func (l *Ledger) count(addr netip.Addr, n int64) {
	s := l.spaceOf(addr)
	switch {
	case s == nil:
	case addr.Is4():
		s.pool.assigned.v4 += n
	default:
		s.pool.assigned.v6 += n
	}
}

// available is what is left; a family too large to count stays so.
func available(capacity, assigned int64) int64 {
	if capacity == math.MaxInt64 {
		return capacity
	}
	return max(0, capacity-assigned)
}

// capacity counts the addresses that a pool can hand out. A range of 2^62 addresses
// or more counts as MaxInt64.
func capacity(p lb.Pool) tally {
	var n tally
	for _, r := range p.Ranges {
		switch {
		case !r.First.Is4():
			n.v6 = saturate(n.v6, size(r))
		case p.AvoidBuggyIPs:
			n.v4 += size(r) - buggy(r)
		default:
			n.v4 += size(r)
		}
	}
	return n
}

func saturate(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func size(r lb.Range) int64 {
	n := new(big.Int).SetBytes(r.Last.AsSlice())
	n.Sub(n, new(big.Int).SetBytes(r.First.AsSlice())).Add(n, big.NewInt(1))
	if n.BitLen() > 62 {
		return math.MaxInt64
	}
	return n.Int64()
}

// buggy counts the addresses of an IPv4 range that end in .0 or .255.
func buggy(r lb.Range) int64 {
	n := buggyUpTo(r.Last) - buggyUpTo(r.First)
	if lb.Buggy(r.First) {
		n++
	}
	return n
}

// buggyUpTo counts them from 0.0.0.0 to a, both included.
func buggyUpTo(a netip.Addr) int64 {
	b := a.As4()
	n := 2*(int64(b[0])<<16|int64(b[1])<<8|int64(b[2])) + 1
	if b[3] == 255 {
		n++
	}
	return n
}

// Holders counts the services that hold addresses of each pool. A pool that serves
// nobody is not in it.
func (l *Ledger) Holders() map[lb.PoolName]int {
	holders := map[lb.PoolName]int{}
	for _, h := range l.holdings {
		if s := l.spaceOf(h.addresses[0]); s != nil {
			holders[s.pool.Name]++
		}
	}
	return holders
}
