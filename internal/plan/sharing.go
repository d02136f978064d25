package plan

import (
	"iter"
	"maps"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/election"
	"github.com/herald-lb/herald/internal/lb"
)

// Served is a service with the places where it is served.
type Served struct {
	Service   lb.Service
	Endpoints []lb.Endpoint
}

// Layer2Shared decides about services that share addresses, and must be given all that
// do: a group of [Holders]. The verdicts are in the order of the services.
//
// One election decides for the group, so that no two nodes answer for one address. No
// rule that looks at one service at a time can promise that: of two services that share
// their IPv6 address, the one that holds an IPv4 address before it is decided by that,
// and the other by what they share. The first address of the oldest service decides, so
// that who joins a group moves nobody; and those nodes stand that can serve the most of
// the services. For a group of one this is the rule of a service on its own.
func (p *Planner) Layer2Shared(group []Served) []lb.Verdict {
	standings := make([]standing, len(group))
	for i, s := range group {
		standings[i] = p.standing(s.Service, s.Endpoints)
	}
	var owner lb.NodeName
	candidates := together(standings)
	found := len(candidates) > 0
	if found {
		owner, _ = election.Owner(oldest(group).Held[0], candidates)
	}
	verdicts := make([]lb.Verdict, len(group))
	for i, s := range group {
		verdicts[i] = p.verdict(s.Service, standings[i], owner, found)
	}
	return verdicts
}

// oldest returns the oldest of those services that hold an address; of the same age, the
// first by name.
func oldest(group []Served) lb.Service {
	var first lb.Service
	for _, s := range group {
		byAge := s.Service.Created.Compare(first.Created)
		older := byAge < 0 || byAge == 0 && s.Service.Key.Compare(first.Key) < 0
		if len(s.Service.Held) > 0 && (len(first.Held) == 0 || older) {
			first = s.Service
		}
	}
	return first
}

// together returns the nodes that stand for the most of the services, each with the sum
// of its scores. Where traffic stays local, that may not be all of them.
func together(standings []standing) []election.Candidate {
	if len(standings) == 1 {
		return standings[0].candidates
	}
	type tally struct{ services, score int }
	tallies, most := map[lb.NodeName]tally{}, 0
	for _, s := range standings {
		for _, c := range s.candidates {
			t := tallies[c.Node]
			t = tally{t.services + 1, t.score + c.Score}
			tallies[c.Node], most = t, max(most, t.services)
		}
	}
	var out []election.Candidate
	for node, t := range tallies {
		if t.services == most {
			out = append(out, election.Candidate{Node: node, Score: t.score})
		}
	}
	return out
}

// Holders knows which services hold which addresses.
type Holders struct {
	held map[lb.ServiceKey][]netip.Addr
	at   map[netip.Addr][]lb.ServiceKey
}

// NewHolders returns Holders of nothing.
func NewHolders() *Holders {
	return &Holders{held: map[lb.ServiceKey][]netip.Addr{}, at: map[netip.Addr][]lb.ServiceKey{}}
}

// Set notes what a service holds from now on; nothing, if it is gone.
func (h *Holders) Set(key lb.ServiceKey, addrs []netip.Addr) {
	if slices.Equal(h.held[key], addrs) {
		return
	}
	for _, a := range h.held[key] {
		h.at[a] = slices.DeleteFunc(h.at[a], func(k lb.ServiceKey) bool { return k == key })
		if len(h.at[a]) == 0 {
			delete(h.at, a)
		}
	}
	delete(h.held, key)
	for _, a := range addrs {
		h.at[a] = append(h.at[a], key)
		h.held[key] = addrs
	}
}

// All are the services that hold an address, with what they hold, in no order.
func (h *Holders) All() iter.Seq2[lb.ServiceKey, []netip.Addr] { return maps.All(h.held) }

// At returns the services that hold an address. It is shared; do not change it.
func (h *Holders) At(addr netip.Addr) []lb.ServiceKey { return h.at[addr] }

// Group returns the services that are decided together with this one, sorted, itself
// among them: those that hold an address of it, those that hold one of theirs, and so on.
func (h *Holders) Group(key lb.ServiceKey) []lb.ServiceKey {
	group := []lb.ServiceKey{key}
	if !h.shares(key) {
		return group
	}
	seen := map[lb.ServiceKey]bool{key: true}
	for i := 0; i < len(group); i++ {
		for _, a := range h.held[group[i]] {
			for _, k := range h.at[a] {
				if !seen[k] {
					seen[k] = true
					group = append(group, k)
				}
			}
		}
	}
	slices.SortFunc(group, lb.ServiceKey.Compare)
	return group
}

func (h *Holders) shares(key lb.ServiceKey) bool {
	return slices.ContainsFunc(h.held[key], func(a netip.Addr) bool { return len(h.at[a]) > 1 })
}
