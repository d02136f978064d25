package ipam

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// decide computes what the service should hold, and what it has to wait for. A
// service that may not keep what it holds lets go of it here; what it is given
// instead is recorded by the caller.
func (l *Ledger) decide(svc lb.Service) (lb.Decision, demand) {
	shown := svc.Held
	svc.Held = l.heldBy(svc)
	need, refusal := families(svc)
	if refusal.Reason != "" {
		refusal.Cleared = cleared(svc, refusal.Message)
		return refusal, demand{}
	}

	kept, why := l.keep(svc, need)
	if problem := requestProblem(svc, need); problem.Reason != "" {
		problem.Addresses, problem.Pool, problem.Cleared = kept, l.poolName(svc, kept), cleared(svc, why)
		return problem, demand{}
	}
	if len(kept) > 0 {
		d, unmet := l.complete(svc, need, kept)
		if d.Reason != lb.AdditionalAssignFailed || need.flexible {
			d.Cleared = cleared(svc, why)
			return news(d, shown), unmet
		}
		why = d.Message
	}

	l.free(svc.Key)
	d, unmet := l.allocate(svc, need)
	d.Cleared = cleared(svc, why)
	return news(d, shown), unmet
}

// heldBy is what the service holds: what its status says or, where it does not show
// yet all that was decided, that.
func (l *Ledger) heldBy(svc lb.Service) []netip.Addr {
	if recorded := l.holdings[svc.Key].addresses; within(svc.Held, recorded) {
		return recorded
	}
	return svc.Held
}

// within reports whether all of some are among others.
func within(some, others []netip.Addr) bool {
	return !slices.ContainsFunc(some, func(a netip.Addr) bool { return !slices.Contains(others, a) })
}

// cleared words the loss of what was held, if anything was.
func cleared(svc lb.Service, why string) string {
	if why == "" || len(svc.Held) == 0 {
		return ""
	}
	return fmt.Sprintf("%s may no longer be held: %s", lb.Join(svc.Held), why)
}

// news words a decision by what it adds to the addresses that the status shows, so
// that deciding again before the status was written says the same again.
func news(d lb.Decision, shown []netip.Addr) lb.Decision {
	if within(d.Addresses, shown) {
		return d
	}
	added := slices.DeleteFunc(slices.Clone(d.Addresses), func(a netip.Addr) bool { return slices.Contains(shown, a) })
	d.Reason, d.Message = lb.IPAllocated, fmt.Sprintf("Assigned IP %q", added)
	if len(added) < len(d.Addresses) {
		d.Message = fmt.Sprintf("Assigned additional IP %q", added)
	}
	return d
}

// family is what a service needs: one address of IPv4, of IPv6, or of each.
type family struct {
	v4, v6 bool
	// flexible: one of the two will do if both are not to be had in one pool.
	flexible bool
	// v6First: IPv6 is to be preferred when only one is to be had.
	v6First bool
}

// only returns the need for one address of one family.
func only(v4 bool) family { return family{v4: v4, v6: !v4} }

func (f family) dual() bool { return f.v4 && f.v6 }

// wants reports whether an address of this family belongs to the service.
func (f family) wants(a netip.Addr) bool {
	if a.Is4() {
		return f.v4
	}
	return f.v6
}

// matches reports whether the addresses are one of each family needed.
func (f family) matches(addrs []netip.Addr) bool {
	v4, v6 := count(addrs)
	return v4 <= 1 && v6 <= 1 && f.v4 == (v4 == 1) && f.v6 == (v6 == 1)
}

// String returns "IPv4", "IPv6" or "IPv4 and IPv6".
func (f family) String() string {
	switch {
	case f.dual():
		return "IPv4 and IPv6"
	case f.v4:
		return "IPv4"
	}
	return "IPv6"
}

// families derives what the service needs from its cluster IPs, or refuses it. A
// service has at most one of each family
// (https://kubernetes.io/docs/concepts/services-networking/dual-stack/#services).
func families(svc lb.Service) (family, lb.Decision) {
	v4, v6 := count(svc.ClusterIPs)
	if v4 > 1 || v6 > 1 || v4+v6 == 0 {
		return family{}, lb.Decision{Reason: lb.NoClusterIPFamily, Message: "the service has no cluster IP that names its IP family"}
	}
	if svc.FamilyPolicy == lb.RequireDualStack && v4+v6 < 2 {
		return family{}, lb.Decision{
			Reason:  lb.NotEnoughClusterIPs,
			Message: "ipFamilyPolicy RequireDualStack needs a cluster IP of each family",
		}
	}
	return family{
		v4: v4 == 1, v6: v6 == 1,
		flexible: svc.FamilyPolicy == lb.PreferDualStack,
		v6First:  svc.ClusterIPs[0].Is6(),
	}, lb.Decision{}
}

func count(addrs []netip.Addr) (v4, v6 int) {
	for _, a := range addrs {
		if a.Is4() {
			v4++
		} else {
			v6++
		}
	}
	return v4, v6
}

// requestProblem finds what makes a request impossible to fulfil as it is written.
// The service keeps what it has until the request is mended.
func requestProblem(svc lb.Service, need family) lb.Decision {
	if svc.Request.Invalid != "" {
		return lb.Decision{Reason: lb.LoadBalancerFailed, Message: svc.Request.Invalid}
	}
	if asked := svc.Request.Addresses; len(asked) > 0 && !need.matches(asked) {
		return lb.Decision{
			Reason: lb.AllocationFailed,
			Message: fmt.Sprintf("the requested addresses %s do not match the IP families of the cluster IPs %s",
				lb.Join(asked), lb.Join(svc.ClusterIPs)),
		}
	}
	return lb.Decision{}
}

// keep returns those of the held addresses that the service may go on holding, and
// why it may not hold the others. An address of a family that it has no use for is
// no part of the judgement: it may be another's already while the status shows it yet.
func (l *Ledger) keep(svc lb.Service, need family) ([]netip.Addr, string) {
	held := len(svc.Held)
	svc.Held = slices.DeleteFunc(slices.Clone(svc.Held), func(a netip.Addr) bool { return !need.wants(a) })
	v4, v6 := count(svc.Held)
	switch {
	case held == 0:
		return nil, ""
	case v4+v6 == 0:
		return nil, fmt.Sprintf("its IP family is not that of the cluster IP %s", lb.Join(svc.ClusterIPs))
	case v4 > 1 || v6 > 1:
		return nil, "a service holds one address of each family"
	}
	if why := l.lost(svc, need); why != "" {
		return nil, why
	}
	if len(svc.Held) < held {
		return svc.Held, fmt.Sprintf("the cluster IP %s needs one address only", lb.Join(svc.ClusterIPs))
	}
	return svc.Held, ""
}

// lost says why the held addresses may not be held any more; empty if they may.
func (l *Ledger) lost(svc lb.Service, need family) string {
	t := newTenant(svc)
	var home *pool
	for _, a := range svc.Held {
		if rival, why := l.tenants[a].conflict(svc.Key, t); why != "" {
			return fmt.Sprintf("%s is held by %s: %s", a, rival, why)
		}
		s := l.spaceOf(a)
		switch {
		case s == nil && l.incomplete:
			continue
		case s == nil:
			return fmt.Sprintf("%s is in no pool", a)
		case s.pool.withholds(a):
			return fmt.Sprintf("pool %q withholds %s, which ends in .0 or .255", s.pool.Name, a)
		case home != nil && s.pool != home:
			return fmt.Sprintf("%s are of the two pools %q and %q", lb.Join(svc.Held), home.Name, s.pool.Name)
		case !s.pool.Pinning.Contains(svc.Key.Namespace, svc.Labels):
			return s.pool.incompatible()
		}
		home = s.pool
	}
	return l.unasked(svc, home, need)
}

// unasked says why what is held, from the pool home or from none that is known, is
// not what the service asks for; empty if it is. A malformed request takes no address
// away, nor does one that may concern a pool that cannot be read at present.
func (l *Ledger) unasked(svc lb.Service, home *pool, need family) string {
	if l.incomplete && l.unknown(svc.Request) {
		return ""
	}
	if wish := svc.Request.Pool; wish != "" && (home == nil || wish != home.Name) {
		return fmt.Sprintf("the service asks for pool %q", wish)
	}
	asked := svc.Request.Addresses
	if len(asked) == 0 || requestProblem(svc, need).Reason != "" || within(asked, svc.Held) {
		return ""
	}
	return "the service asks for " + lb.Join(asked)
}

// unknown reports whether the request names a pool, or an address of a pool, that
// is not there.
func (l *Ledger) unknown(r lb.Request) bool {
	return r.Pool != "" && l.poolNamed(r.Pool) == nil ||
		slices.ContainsFunc(r.Addresses, func(a netip.Addr) bool { return l.spaceOf(a) == nil })
}

// complete gives a dual-stack service that holds one address the other, from the
// same pool, if it is to be had there.
func (l *Ledger) complete(svc lb.Service, need family, kept []netip.Addr) (lb.Decision, demand) {
	d := lb.Decision{Addresses: kept, Pool: l.poolName(svc, kept), Reason: lb.IPKept}
	missing := l.missing(svc, need, kept)
	if missing.empty() {
		return d, demand{}
	}
	other := l.fill(missing)
	if other == nil {
		d.Reason = lb.AdditionalAssignFailed
		d.Message = fmt.Sprintf("pool %q has no free %s address to add to %s", d.Pool, missing.need, kept[0])
		return d, missing
	}
	d.Addresses = ordered(kept[0], other[0])
	return d, demand{}
}

// missing is what a dual-stack service that holds one address still needs. It comes
// from the same pool or not at all; while that cannot be read, there is none.
func (l *Ledger) missing(svc lb.Service, need family, held []netip.Addr) demand {
	home := l.poolOf(held[0])
	if !need.dual() || len(held) == 2 || home == nil {
		return demand{}
	}
	return demand{turns: [][]*pool{{home}}, need: only(held[0].Is6()), tenant: newTenant(svc)}
}

// poolName names the pool of the held addresses; while it cannot be read, the one
// that they were recorded to come from.
func (l *Ledger) poolName(svc lb.Service, addrs []netip.Addr) lb.PoolName {
	if len(addrs) == 0 {
		return ""
	}
	if p := l.poolOf(addrs[0]); p != nil {
		return p.Name
	}
	return svc.HeldFrom
}

// ordered returns both addresses, IPv4 first.
func ordered(a, b netip.Addr) []netip.Addr {
	if a.Is4() {
		return []netip.Addr{a, b}
	}
	return []netip.Addr{b, a}
}
