package ipam

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/herald-lb/herald/internal/lb"
)

// allocate finds addresses for a service that holds none: those it asks for, else
// from the pool it asks for, else from the first pool in order that has them. It
// also returns what the service has to wait for.
func (l *Ledger) allocate(svc lb.Service, need family) (lb.Decision, demand) {
	want, why := l.demandOf(svc, need)
	if why == "" {
		if addrs := l.fill(want); addrs != nil {
			d := lb.Decision{Addresses: addrs, Pool: l.poolOf(addrs[0]).Name, Reason: lb.IPKept}
			return d, l.missing(svc, need, addrs)
		}
		why = l.shortage(want)
	}
	return lb.Decision{
		Reason:  lb.AllocationFailed,
		Message: fmt.Sprintf("Failed to allocate IP for %q: %s", svc.Key, why),
	}, want
}

// demand is what a service lacks and where it may come from. Equal demands are
// filled with equal addresses.
type demand struct {
	// addresses are the very ones asked for; they make up the whole demand.
	addresses []netip.Addr
	// turns are the pools to try, those of the first turn first.
	turns [][]*pool
	need  family
	// tenant has no ports unless it has a sharing key: they do not matter then.
	tenant tenant
}

func (d demand) empty() bool { return len(d.addresses) == 0 && len(d.turns) == 0 }

func (d demand) tries(p *pool) bool {
	return slices.ContainsFunc(d.turns, func(turn []*pool) bool { return slices.Contains(turn, p) })
}

// String returns a text that equal demands, and no others, have in common.
func (d demand) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %t %t %q %q %v", d.need, d.need.flexible, d.need.v6First, d.tenant.sharingKey, d.tenant.backendKey, d.tenant.ports)
	for _, a := range d.addresses {
		fmt.Fprintf(&b, " %s", a)
	}
	for i, turn := range d.turns {
		for _, p := range turn {
			fmt.Fprintf(&b, " %d:%s", i, p.Name)
		}
	}
	return b.String()
}

// demandOf works out what a service without addresses asks for, or why that cannot
// be had whatever others hold.
func (l *Ledger) demandOf(svc lb.Service, need family) (demand, string) {
	d := demand{need: need, tenant: newTenant(svc)}
	var why string
	switch {
	case len(l.pools) == 0:
		why = "there is no IPAddressPool"
	case len(svc.Request.Addresses) > 0:
		d.addresses, why = l.requested(svc)
	case svc.Request.Pool != "":
		d.turns, why = l.requestedPool(svc)
	default:
		d.turns, why = l.automatic(svc)
	}
	if why != "" {
		return demand{}, why
	}
	return d, ""
}

// requested returns the very addresses that the service asks for, in its order.
func (l *Ledger) requested(svc lb.Service) ([]netip.Addr, string) {
	var home *pool
	for _, a := range svc.Request.Addresses {
		s := l.spaceOf(a)
		switch {
		case s == nil:
			return nil, fmt.Sprintf("%q is not allowed in config: it is in no pool", a)
		case s.pool.withholds(a):
			return nil, fmt.Sprintf("%q is not allowed in config: pool %q withholds addresses that end in .0 or .255", a, s.pool.Name)
		case home != nil && s.pool != home:
			return nil, fmt.Sprintf("%s are of the two pools %q and %q", lb.Join(svc.Request.Addresses), home.Name, s.pool.Name)
		case svc.Request.Pool != "" && svc.Request.Pool != s.pool.Name:
			return nil, fmt.Sprintf("%q is of pool %q, but the service asks for pool %q", a, s.pool.Name, svc.Request.Pool)
		case !s.pool.Pinning.Contains(svc.Key.Namespace, svc.Labels):
			return nil, s.pool.incompatible()
		}
		home = s.pool
	}
	return slices.Clone(svc.Request.Addresses), ""
}

func (l *Ledger) requestedPool(svc lb.Service) ([][]*pool, string) {
	p := l.poolNamed(svc.Request.Pool)
	if p == nil {
		return nil, fmt.Sprintf("unknown pool %q", svc.Request.Pool)
	}
	if !p.Pinning.Contains(svc.Key.Namespace, svc.Labels) {
		return nil, p.incompatible()
	}
	return [][]*pool{{p}}, ""
}

// automatic returns the pools pinned to services such as this one, then, for the
// second turn, those open to all: being pinned weighs more than having both families.
func (l *Ledger) automatic(svc lb.Service) ([][]*pool, string) {
	var pinned, open []*pool
	for _, p := range l.pools {
		switch {
		case !p.AutoAssign || !p.Pinning.Contains(svc.Key.Namespace, svc.Labels):
		case p.Pinning != nil:
			pinned = append(pinned, p)
		default:
			open = append(open, p)
		}
	}
	if len(pinned)+len(open) == 0 {
		return nil, "no pool is open to the service: none that assigns automatically accepts it"
	}
	return [][]*pool{pinned, open}, ""
}

// fill finds the addresses that a demand is given at present, or nil. A service that
// prefers both families takes one where no pool of a turn has both.
func (l *Ledger) fill(d demand) []netip.Addr {
	if len(d.addresses) > 0 {
		if slices.ContainsFunc(d.addresses, func(a netip.Addr) bool { return !l.tenants[a].admits(d.tenant) }) {
			return nil
		}
		return d.addresses
	}
	for _, pools := range d.turns {
		for _, need := range d.need.alternatives() {
			for _, p := range pools {
				if addrs := l.draw(p, need, d.tenant); addrs != nil {
					return addrs
				}
			}
		}
	}
	return nil
}

// alternatives are the needs that will do, the best first.
func (f family) alternatives() []family {
	if !f.dual() || !f.flexible {
		return []family{f}
	}
	return []family{f, only(!f.v6First), only(f.v6First)}
}

// rivalry says who keeps the service off the addresses that it asks for.
func (l *Ledger) rivalry(d demand) string {
	for _, a := range d.addresses {
		if rival, why := l.tenants[a].conflict(nobody, d.tenant); why != "" {
			return fmt.Sprintf("can't share %q with %s: %s", a, rival, why)
		}
	}
	return ""
}

// shortage says why a demand cannot be filled at present.
func (l *Ledger) shortage(d demand) string {
	if len(d.addresses) > 0 {
		return l.rivalry(d)
	}
	var names []string
	for _, p := range slices.Concat(d.turns...) {
		names = append(names, fmt.Sprintf("%q", p.Name))
	}
	word := "pool"
	if len(names) > 1 {
		word = "pools"
	}
	return fmt.Sprintf("no available IPs in %s %s for %s", word, strings.Join(names, ", "), d.need)
}

// draw takes one address of each family needed from the pool, IPv4 first, or nothing.
func (l *Ledger) draw(p *pool, need family, t tenant) []netip.Addr {
	var addrs []netip.Addr
	for _, v4 := range []bool{true, false} {
		if v4 && !need.v4 || !v4 && !need.v6 {
			continue
		}
		a, ok := l.pick(p, v4, t)
		if !ok {
			return nil
		}
		addrs = append(addrs, a)
	}
	return addrs
}

// pick finds the first address in the order of the pool's ranges that is free, or
// that the tenant may share.
func (l *Ledger) pick(p *pool, v4 bool, t tenant) (netip.Addr, bool) {
	best, found := l.shareable(p, v4, t)
	for _, s := range p.spaces {
		if s.First.Is4() != v4 {
			continue
		}
		if found && best.order < s.order {
			break
		}
		if a, ok := s.lowest(l.tenants); ok {
			if free := (place{order: s.order, addr: a}); !found || free.compare(best) < 0 {
				best, found = free, true
			}
			break
		}
	}
	return best.addr, found
}

// place is an address and where it stands in the order in which a pool is walked.
type place struct {
	order int
	addr  netip.Addr
}

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.order, o.order), p.addr.Compare(o.addr))
}

// shareable finds the first address of the pool that others hold under the
// tenant's sharing key and that it may join.
func (l *Ledger) shareable(p *pool, v4 bool, t tenant) (place, bool) {
	var best place
	found := false
	c := l.shared[t.sharingKey]
	if c == nil || c.full(t) {
		return best, false
	}
	for a := range c.addrs {
		s := l.spaceOf(a)
		if a.Is4() != v4 || s == nil || s.pool != p || p.withholds(a) || !l.tenants[a].admits(t) {
			continue
		}
		if at := (place{order: s.order, addr: a}); !found || at.compare(best) < 0 {
			best, found = at, true
		}
	}
	return best, found
}
