package main

import (
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
)

// poolMetrics says how full the pools are, for a scrape.
func (a *allocator) poolMetrics() []metrics.Pool {
	usage, holders := a.snapshot()
	var out []metrics.Pool
	for _, u := range usage {
		out = append(out, metrics.Pool{
			Name:      string(u.Pool),
			TotalIPv4: float64(u.AssignedIPv4) + float64(u.AvailableIPv4),
			TotalIPv6: float64(u.AssignedIPv6) + float64(u.AvailableIPv6),
			InUseIPv4: float64(u.AssignedIPv4),
			InUseIPv6: float64(u.AssignedIPv6),
			Services:  float64(holders[u.Pool]),
		})
	}
	return out
}

// waitingMetrics counts the services that hold no address, by what they are told, for a scrape.
func (a *allocator) waitingMetrics() map[string]int {
	out := map[string]int{}
	for _, reason := range []lb.Reason{lb.AllocationFailed, lb.LoadBalancerFailed, lb.NotEnoughClusterIPs, lb.NoClusterIPFamily} {
		out[string(reason)] = 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, t := range a.told {
		if t.reason != "" && len(a.ledger.Holder(key)) == 0 {
			out[string(t.reason)]++
		}
	}
	return out
}

// problemMetrics counts the problems of the configuration by kind, for a scrape: of all of
// it, where that is gathered.
func (a *allocator) problemMetrics() map[string]int {
	if all := a.announcements.problems.Load(); all != nil {
		return byKind(*all)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return byKind(a.problems)
}

// byKind counts problems by the kind of object that has them.
func byKind(problems []lb.Problem) map[string]int {
	out := map[string]int{}
	for _, kind := range config.Kinds() {
		out[kind] = 0
	}
	for _, p := range problems {
		out[p.Object.Kind]++
	}
	return out
}
