package metrics

import "github.com/prometheus/client_golang/prometheus"

// Pool is how full a pool is, in addresses.
type Pool struct {
	Name                 string
	TotalIPv4, TotalIPv6 float64
	InUseIPv4, InUseIPv6 float64
	Services             float64
}

// RegisterPools registers the metrics of the allocator; pools is called on each scrape.
func RegisterPools(r prometheus.Registerer, pools func() []Pool) {
	type value struct {
		desc *prometheus.Desc
		of   func(Pool) float64
	}
	d := func(name, help string) *prometheus.Desc { return desc("allocator", name, help, "pool") }
	values := []value{
		{d("addresses_total", "Number of addresses of the pool."), func(p Pool) float64 { return p.TotalIPv4 + p.TotalIPv6 }},
		{d("ipv4_addresses_total", "Number of IPv4 addresses of the pool."), func(p Pool) float64 { return p.TotalIPv4 }},
		{d("ipv6_addresses_total", "Number of IPv6 addresses of the pool."), func(p Pool) float64 { return p.TotalIPv6 }},
		{d("addresses_in_use_total", "Number of addresses that Services hold."), func(p Pool) float64 { return p.InUseIPv4 + p.InUseIPv6 }},
		{d("ipv4_addresses_in_use_total", "Number of IPv4 addresses that Services hold."), func(p Pool) float64 { return p.InUseIPv4 }},
		{d("ipv6_addresses_in_use_total", "Number of IPv6 addresses that Services hold."), func(p Pool) float64 { return p.InUseIPv6 }},
		{d("services_allocated_total", "Number of Services that hold an address of the pool."), func(p Pool) float64 { return p.Services }},
	}
	s := source{collect: func(ch chan<- prometheus.Metric) {
		for _, p := range pools() {
			for _, v := range values {
				ch <- gauge(v.desc, v.of(p), p.Name)
			}
		}
	}}
	for _, v := range values {
		s.descs = append(s.descs, v.desc)
	}
	r.MustRegister(s)
}
