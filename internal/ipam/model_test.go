package ipam_test

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// model is the reference that the ledger is measured against: the same rules, spelled
// out by trying everything in order, with no memory but who holds what.
type model struct {
	pools      []lb.Pool
	incomplete bool
	services   map[lb.ServiceKey]lb.Service
	holds      map[lb.ServiceKey][]netip.Addr
	// decided are the services assigned since the pools were set.
	decided map[lb.ServiceKey]bool
	woken   []lb.ServiceKey
}

func newModel() *model {
	return &model{
		services: map[lb.ServiceKey]lb.Service{},
		holds:    map[lb.ServiceKey][]netip.Addr{},
		decided:  map[lb.ServiceKey]bool{},
	}
}

func (m *model) setPools(pools []lb.Pool, incomplete bool) {
	m.pools, m.incomplete = pools, incomplete
	clear(m.decided)
}

func (m *model) restore(services []lb.Service) {
	for _, svc := range slices.SortedFunc(slices.Values(services), older) {
		if m.holds[svc.Key] == nil && serviceable(svc) {
			m.services[svc.Key] = svc
			m.holds[svc.Key] = m.mayKeep(svc, svc.Held)
		}
	}
}

func (m *model) assign(svc lb.Service) []netip.Addr {
	if m.services[svc.Key].UID != svc.UID && len(svc.Held) == 0 {
		m.release(svc.Key)
	}
	held := svc.Held
	if subset(held, m.holds[svc.Key]) {
		held = m.holds[svc.Key] // the status lags behind
	}
	m.services[svc.Key], m.decided[svc.Key] = svc, true
	m.holds[svc.Key] = m.due(svc, held)
	decision := m.holds[svc.Key]
	m.serve()
	return decision
}

func (m *model) release(key lb.ServiceKey) {
	delete(m.services, key)
	delete(m.holds, key)
	delete(m.decided, key)
	m.serve()
}

// serve lets the oldest service that would now get more than it holds have it,
// until there is none.
func (m *model) serve() {
	for {
		svc, addrs, ok := m.next()
		if !ok {
			return
		}
		m.holds[svc.Key] = addrs
		m.woken = append(m.woken, svc.Key)
	}
}

func (m *model) next() (lb.Service, []netip.Addr, bool) {
	var lacking []lb.Service
	for key := range m.decided {
		if svc := m.services[key]; serviceable(svc) && len(m.holds[key]) < len(svc.ClusterIPs) {
			lacking = append(lacking, svc)
		}
	}
	slices.SortFunc(lacking, older)
	for _, svc := range lacking {
		if addrs := m.due(svc, m.holds[svc.Key]); len(addrs) > len(m.holds[svc.Key]) {
			return svc, addrs, true
		}
	}
	return lb.Service{}, nil, false
}

// due is what a service that holds these addresses has a right to.
func (m *model) due(svc lb.Service, held []netip.Addr) []netip.Addr {
	if !serviceable(svc) {
		return nil
	}
	kept := m.mayKeep(svc, held)
	if malformed(svc) || len(kept) == len(svc.ClusterIPs) {
		return kept
	}
	if len(kept) == 1 {
		home, known := m.poolOf(kept[0])
		if !known {
			return kept
		}
		for _, other := range walk(home, kept[0].Is6()) {
			if m.joinable(svc, other) {
				return fourFirst(kept[0], other)
			}
		}
		if svc.FamilyPolicy == lb.PreferDualStack {
			return kept
		}
	}
	return m.fresh(svc)
}

// fresh is the first choice of a service that holds nothing.
func (m *model) fresh(svc lb.Service) []netip.Addr {
	for _, choice := range m.choices(svc) {
		free := !slices.ContainsFunc(choice, func(a netip.Addr) bool { return !m.joinable(svc, a) })
		if free && m.onePool(svc, choice, false) {
			return choice
		}
	}
	return nil
}

// choices are all that would do, whoever holds it, the best first.
func (m *model) choices(svc lb.Service) [][]netip.Addr {
	if asked := svc.Request.Addresses; len(asked) > 0 {
		return [][]netip.Addr{asked}
	}
	var all [][]netip.Addr
	for _, pinned := range []bool{true, false} {
		for _, families := range alternatives(svc) {
			for _, p := range m.pools {
				if svc.Request.Pool == "" && p.AutoAssign && (p.Pinning != nil) == pinned || svc.Request.Pool == p.Name && pinned {
					all = append(all, product(p, families)...)
				}
			}
		}
	}
	return all
}

// alternatives are the families that would do, in status order, the best first.
func alternatives(svc lb.Service) [][]bool {
	if len(svc.ClusterIPs) == 1 {
		return [][]bool{{svc.ClusterIPs[0].Is4()}}
	}
	both := []bool{true, false}
	if svc.FamilyPolicy != lb.PreferDualStack {
		return [][]bool{both}
	}
	return [][]bool{both, {svc.ClusterIPs[0].Is4()}, {svc.ClusterIPs[1].Is4()}}
}

// product is every way to take one address of each family from the pool.
func product(p lb.Pool, families []bool) [][]netip.Addr {
	ways := [][]netip.Addr{nil}
	for _, v4 := range families {
		var longer [][]netip.Addr
		for _, way := range ways {
			for _, a := range walk(p, v4) {
				longer = append(longer, append(slices.Clone(way), a))
			}
		}
		ways = longer
	}
	return ways
}

// walk is the pool's addresses of one family in the order in which they are tried.
func walk(p lb.Pool, v4 bool) []netip.Addr {
	var all []netip.Addr
	for _, r := range p.Ranges {
		for a := r.First; r.Contains(a); a = a.Next() {
			if a.Is4() == v4 && p.Contains(a) {
				all = append(all, a)
			}
		}
	}
	return all
}

// mayKeep is what the service may go on holding of what it holds: all that is of its
// families, if the rules allow all of that.
func (m *model) mayKeep(svc lb.Service, held []netip.Addr) []netip.Addr {
	held = slices.DeleteFunc(slices.Clone(held), func(a netip.Addr) bool {
		return !slices.ContainsFunc(svc.ClusterIPs, func(c netip.Addr) bool { return c.Is4() == a.Is4() })
	})
	for _, a := range held {
		if !m.joinable(svc, a) {
			return nil
		}
	}
	asked := svc.Request.Addresses
	excused := len(asked) == 0 || malformed(svc) || m.incomplete && m.asksForTheUnknown(svc)
	granted := subset(asked, held) && subset(held, asked)
	switch {
	case !m.onePool(svc, held, m.incomplete):
		return nil
	case !granted && !excused:
		return nil
	case len(familiesOf(held)) > len(slices.Compact(familiesOf(held))):
		return nil
	}
	return held
}

// onePool reports whether all addresses are handed out by one pool that the service
// may draw from and asks for. A lenient look, while a pool cannot be read, lets pass
// what may be that pool's.
func (m *model) onePool(svc lb.Service, held []netip.Addr, lenient bool) bool {
	homes := map[lb.PoolName]bool{}
	for _, a := range held {
		p, known := m.poolOf(a)
		switch {
		case lenient && !m.inRange(a):
		case !known || !p.Pinning.Contains(svc.Key.Namespace, svc.Labels):
			return false
		default:
			homes[p.Name] = true
		}
	}
	wish := svc.Request.Pool
	return len(homes) <= 1 && (wish == "" || homes[wish] || lenient && m.asksForTheUnknown(svc))
}

func (m *model) asksForTheUnknown(svc lb.Service) bool {
	knowsPool := slices.ContainsFunc(m.pools, func(p lb.Pool) bool { return p.Name == svc.Request.Pool })
	foreign := slices.ContainsFunc(svc.Request.Addresses, func(a netip.Addr) bool { return !m.inRange(a) })
	return svc.Request.Pool != "" && !knowsPool || foreign
}

// joinable reports whether nobody else keeps the service off the address.
func (m *model) joinable(svc lb.Service, a netip.Addr) bool {
	for key, held := range m.holds {
		if key != svc.Key && slices.Contains(held, a) && !mayShare(svc, m.services[key]) {
			return false
		}
	}
	return true
}

func (m *model) poolOf(a netip.Addr) (lb.Pool, bool) {
	for _, p := range m.pools {
		if p.Contains(a) {
			return p, true
		}
	}
	return lb.Pool{}, false
}

func (m *model) inRange(a netip.Addr) bool {
	return slices.ContainsFunc(m.pools, func(p lb.Pool) bool {
		return slices.ContainsFunc(p.Ranges, func(r lb.Range) bool { return r.Contains(a) })
	})
}

// mayShare is the rule of sharing, for any two services.
func mayShare(a, b lb.Service) bool {
	backends := func(s lb.Service) string {
		if s.LocalTraffic {
			return s.PodSelector
		}
		return ""
	}
	overlap := slices.ContainsFunc(a.Ports, func(p lb.Port) bool { return slices.Contains(b.Ports, p) })
	return a.Request.SharingKey != "" && a.Request.SharingKey == b.Request.SharingKey && backends(a) == backends(b) && !overlap
}

// serviceable reports whether the service's cluster IPs allow it any address.
func serviceable(svc lb.Service) bool {
	needs := 1
	if svc.FamilyPolicy == lb.RequireDualStack {
		needs = 2
	}
	return len(svc.ClusterIPs) >= needs
}

// malformed reports whether the request cannot be fulfilled as it is written.
func malformed(svc lb.Service) bool {
	asked := svc.Request.Addresses
	if svc.Request.Invalid != "" || len(asked) == 0 {
		return svc.Request.Invalid != ""
	}
	return !slices.Equal(familiesOf(asked), familiesOf(svc.ClusterIPs))
}

func subset(some, others []netip.Addr) bool {
	return !slices.ContainsFunc(some, func(a netip.Addr) bool { return !slices.Contains(others, a) })
}

func fourFirst(a, b netip.Addr) []netip.Addr {
	if a.Is4() {
		return []netip.Addr{a, b}
	}
	return []netip.Addr{b, a}
}

func familiesOf(addrs []netip.Addr) []int {
	var bits []int
	for _, a := range addrs {
		bits = append(bits, a.BitLen())
	}
	slices.Sort(bits)
	return bits
}
