package main

import (
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
