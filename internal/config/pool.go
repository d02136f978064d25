package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

const poolKind = "IPAddressPool"

// claim is a range that a valid pool has taken, with the text that users know it by.
type claim struct {
	lb.Range
	text string
	pool string
}

func parsePools(r *report, o Objects) []lb.Pool {
	var pools []lb.Pool
	var claims []claim
	for _, raw := range inPrecedence(poolKind, o.Pools, o.past.standing) {
		f := r.about(poolKind, &raw)
		pool := parsePool(f, raw, o.Namespaces)
		claims = parseRanges(f, &pool, raw, claims)
		if !f.any {
			pools = append(pools, pool)
		}
	}
	slices.SortFunc(pools, comparePools)
	return pools
}

// comparePools orders by priority, where 0 stands for the last place, then by name.
func comparePools(a, b lb.Pool) int {
	return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name))
}

func rank(p lb.Pool) int {
	if p.Pinning == nil || p.Pinning.Priority == 0 {
		return math.MaxInt
	}
	return p.Pinning.Priority
}

func parsePool(f *findings, raw v1beta1.IPAddressPool, namespaces []Namespace) lb.Pool {
	pool := lb.Pool{
		Name:          lb.PoolName(raw.Name),
		AutoAssign:    raw.Spec.AutoAssign == nil || *raw.Spec.AutoAssign,
		AvoidBuggyIPs: raw.Spec.AvoidBuggyIPs,
	}
	if raw.Spec.AllocateTo != nil {
		pool.Pinning = parsePinning(f, *raw.Spec.AllocateTo, namespaces)
	}
	return pool
}

func parsePinning(f *findings, raw v1beta1.ServiceAllocation, namespaces []Namespace) *lb.Pinning {
	const at = "spec.serviceAllocation"
	f.distinct(at+".namespaces", raw.Namespaces)
	selected := f.selectors(at+".namespaceSelectors", raw.NamespaceSelectors)
	p := &lb.Pinning{
		Priority:         raw.Priority,
		AnyNamespace:     len(raw.Namespaces) == 0 && len(raw.NamespaceSelectors) == 0,
		Namespaces:       slices.Clone(raw.Namespaces),
		ServiceSelectors: f.selectors(at+".serviceSelectors", raw.ServiceSelectors),
	}
	for _, ns := range namespaces {
		if selected.Contains(ns.Labels) {
			p.Namespaces = append(p.Namespaces, ns.Name)
		}
	}
	p.Namespaces = sortedSet(p.Namespaces)
	return p
}

// parseRanges fills in the pool's ranges and returns the claims with those of this
// pool added, unless it has a problem.
func parseRanges(f *findings, pool *lb.Pool, raw v1beta1.IPAddressPool, claims []claim) []claim {
	if len(raw.Spec.Addresses) == 0 {
		f.add("spec.addresses", "pool %q has no prefixes defined", raw.Name)
	}
	mine := slices.Clip(claims)
	for i, text := range raw.Spec.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		r, err := ParseRange(text)
		if err != nil {
			f.add(field, "%s", err)
			continue
		}
		if j := slices.IndexFunc(mine, func(c claim) bool { return c.Overlaps(r) }); j >= 0 {
			f.add(field, "CIDR %q in pool %q overlaps with already defined CIDR %q in pool %q", text, raw.Name, mine[j].text, mine[j].pool)
			continue
		}
		mine = append(mine, claim{Range: r, text: text, pool: raw.Name})
		pool.Ranges = append(pool.Ranges, r)
	}
	if f.any {
		return claims
	}
	return mine
}

// ParseRange reads a range as users write it: a CIDR, whose host bits do not matter,
// or first-last with optional spaces. Both ends belong to the range.
func ParseRange(text string) (lb.Range, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		return parseCIDR(text)
	}
	from, err := parseAddr(first)
	if err != nil {
		return lb.Range{}, fmt.Errorf("invalid IP range %q: invalid start IP %q", text, strings.TrimSpace(first))
	}
	to, err := parseAddr(last)
	if err != nil {
		return lb.Range{}, fmt.Errorf("invalid IP range %q: invalid end IP %q", text, strings.TrimSpace(last))
	}
	if from.BitLen() != to.BitLen() {
		return lb.Range{}, fmt.Errorf("invalid IP range %q: start and end are of different families", text)
	}
	if to.Less(from) {
		return lb.Range{}, fmt.Errorf("invalid IP range %q: start IP %s is after end IP %s", text, from, to)
	}
	return lb.Range{First: from, Last: to}, nil
}

func parseCIDR(text string) (lb.Range, error) {
	p, err := netip.ParsePrefix(strings.TrimSpace(text))
	if err != nil || p.Addr().Zone() != "" {
		return lb.Range{}, fmt.Errorf("invalid CIDR %q", text)
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return lb.Range{}, fmt.Errorf("invalid CIDR %q: the prefix of an IPv4-mapped address is 96 bits at least", text)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	r := netipx.RangeOfPrefix(p.Masked())
	return lb.Range{First: r.From(), Last: r.To()}, nil
}

func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil {
		return netip.Addr{}, err
	}
	if a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q has a zone", text)
	}
	return a.Unmap(), nil
}
