// Package ipam decides which Service holds which addresses, and why a Service
// holds none.
//
// A [Ledger] is rebuilt from the Services' own status after a restart and keeps
// nothing else: hand it the pools, let it Restore what the Services hold, then
// Assign each (holders first, then the oldest first). It is a deterministic value
// without clock, goroutine or I/O: the same calls give the same decisions.
//
// The files in the order of the story: ledger.go records who holds what, decide.go
// judges what a Service may keep, allocate.go finds it addresses, space.go knows
// what is free, sharing.go who may live beside whom, waiting.go who is served when
// an address becomes free, usage.go how full the pools are.
package ipam

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// Ledger is the record of who holds which address. It is not safe for
// concurrent use.
type Ledger struct {
	pools []*pool
	// index finds the pool of an address: all spaces, sorted by first address.
	index []*space
	// incomplete: some pool could not be read, so an address in no pool may be its.
	incomplete bool

	holdings map[lb.ServiceKey]holding
	tenants  map[netip.Addr]tenancy
	// shared finds the addresses held under a sharing key.
	shared map[string]*commune

	waiting queue
	// offers are the addresses that somebody let go of, or came to share on other
	// terms, since those who wait were last served.
	offers []netip.Addr
	woken  []lb.ServiceKey
}

// holding is what one service holds.
type holding struct {
	uid       string
	addresses []netip.Addr
	tenant    tenant
}

// NewLedger returns a Ledger without pools, in which nobody holds anything.
func NewLedger() *Ledger {
	return &Ledger{
		holdings: map[lb.ServiceKey]holding{},
		tenants:  map[netip.Addr]tenancy{},
		shared:   map[string]*commune{},
		waiting:  newQueue(),
	}
}

// SetPools replaces the pools, in the order in which they are to be tried; their
// ranges do not overlap. What services hold stays as it is until each is assigned
// again, which the caller does for all of them, holders first, then oldest first:
// until its turn has come, nobody waits, so that a holder who must move is served
// before those who never held anything. Set incomplete while some pool is invalid:
// an address that lies in no pool is then kept by who holds it.
func (l *Ledger) SetPools(pools []lb.Pool, incomplete bool) {
	l.incomplete = incomplete
	l.pools, l.index = nil, nil
	l.waiting, l.offers = newQueue(), nil
	for _, p := range pools {
		np := newPool(p)
		l.pools = append(l.pools, np)
		l.index = append(l.index, np.spaces...)
	}
	slices.SortFunc(l.index, func(a, b *space) int { return a.First.Compare(b.First) })
	for addr := range l.tenants {
		l.count(addr, +1)
	}
}

// Restore records what the services hold by their status. The caller does so after
// a restart, for all of them, before it assigns the first: else one that has to move
// could be given what another, not yet seen, holds. Where two hold what they may not
// share, the older keeps it. Services that the ledger knows stay as they are.
func (l *Ledger) Restore(services []lb.Service) {
	inTurn := make([]*lb.Service, len(services))
	for i := range services {
		inTurn[i] = &services[i]
	}
	slices.SortFunc(inTurn, byAge)
	for _, svc := range inTurn {
		if _, known := l.holdings[svc.Key]; !known {
			l.restore(*svc)
		}
	}
}

func (l *Ledger) restore(svc lb.Service) {
	if need, refusal := families(svc); refusal.Reason == "" {
		kept, _ := l.keep(svc, need)
		l.record(svc, kept)
	}
}

// Assign decides what the service holds from now on and records it. Deciding twice
// changes nothing, and no decision changes what another service holds, unless it
// waits for an address: see [Ledger.Woken].
func (l *Ledger) Assign(svc lb.Service) lb.Decision {
	if l.succeeds(svc) {
		l.Release(svc.Key)
	}
	d := l.settle(svc)
	l.serveWaiting()
	return d
}

// succeeds reports whether the service is a new one under the name of one that is
// gone. What that held goes to those who waited longer.
func (l *Ledger) succeeds(svc lb.Service) bool {
	former, ok := l.holdings[svc.Key]
	return ok && former.uid != svc.UID && len(svc.Held) == 0
}

// settle decides one service, records what it holds and queues it for what it lacks.
func (l *Ledger) settle(svc lb.Service) lb.Decision {
	l.waiting.remove(svc.Key)
	d, unmet := l.decide(svc)
	l.record(svc, d.Addresses)
	if !unmet.empty() {
		l.waiting.add(svc, unmet)
	}
	return d
}

// Release takes from a service all that it holds, because it is gone or no longer ours.
func (l *Ledger) Release(key lb.ServiceKey) {
	l.waiting.remove(key)
	l.free(key)
	l.serveWaiting()
}

// Woken returns the services that waited in vain and were given addresses since,
// because others let go of them, in the order in which they were served, and forgets
// them. The caller assigns each again to learn the decision.
func (l *Ledger) Woken() []lb.ServiceKey {
	woken := l.woken
	l.woken = nil
	return woken
}

// Holder reports what the ledger has recorded for the service.
func (l *Ledger) Holder(key lb.ServiceKey) []netip.Addr {
	return slices.Clone(l.holdings[key].addresses)
}

// record makes the service hold exactly these addresses.
func (l *Ledger) record(svc lb.Service, addrs []netip.Addr) {
	t := newTenant(svc)
	if h, ok := l.holdings[svc.Key]; ok && slices.Equal(h.addresses, addrs) && h.tenant.equal(t) {
		h.uid = svc.UID
		l.holdings[svc.Key] = h
		return
	}
	l.free(svc.Key)
	if len(addrs) == 0 {
		return
	}
	l.holdings[svc.Key] = holding{uid: svc.UID, addresses: slices.Clone(addrs), tenant: t}
	for _, a := range addrs {
		l.occupy(a, svc.Key, t)
	}
}

func (l *Ledger) occupy(addr netip.Addr, key lb.ServiceKey, t tenant) {
	if len(l.tenants[addr]) == 0 {
		l.count(addr, +1)
	}
	l.tenants[addr] = append(l.tenants[addr], occupant{key, t})
	if t.sharingKey == "" {
		return
	}
	if l.shared[t.sharingKey] == nil {
		l.shared[t.sharingKey] = newCommune()
	}
	l.shared[t.sharingKey].enter(addr, t)
}

func (l *Ledger) free(key lb.ServiceKey) {
	h, ok := l.holdings[key]
	if !ok {
		return
	}
	delete(l.holdings, key)
	for _, addr := range h.addresses {
		l.vacate(addr, key, h.tenant)
	}
}

func (l *Ledger) vacate(addr netip.Addr, key lb.ServiceKey, t tenant) {
	l.offers = append(l.offers, addr)
	rest := l.tenants[addr].without(key)
	if c := l.shared[t.sharingKey]; c != nil && c.leave(addr, t, len(rest) == 0) {
		delete(l.shared, t.sharingKey)
	}
	if len(rest) > 0 {
		l.tenants[addr] = rest
		return
	}
	delete(l.tenants, addr)
	l.count(addr, -1)
	if s := l.spaceOf(addr); s != nil {
		s.release(addr)
	}
}

// spaceOf finds the range that holds the address, or nil.
func (l *Ledger) spaceOf(addr netip.Addr) *space {
	i, exact := slices.BinarySearchFunc(l.index, addr, func(s *space, a netip.Addr) int { return s.First.Compare(a) })
	if !exact {
		i--
	}
	if i < 0 || !l.index[i].Contains(addr) {
		return nil
	}
	return l.index[i]
}

// poolOf finds the pool that hands out the address, or nil.
func (l *Ledger) poolOf(addr netip.Addr) *pool {
	s := l.spaceOf(addr)
	if s == nil || s.pool.withholds(addr) {
		return nil
	}
	return s.pool
}

// poolNamed finds a pool, or nil.
func (l *Ledger) poolNamed(name lb.PoolName) *pool {
	for _, p := range l.pools {
		if p.Name == name {
			return p
		}
	}
	return nil
}
