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

// NewAssignments registers how long Services wait for an address, in seconds.
func NewAssignments(r prometheus.Registerer) prometheus.Observer {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: "allocator", Name: "assignment_duration_seconds",
		Help: "Time from the creation of a Service until its first address is in its status. " + aboutCreation,
		// From one request to the API server to somebody who makes a pool larger.
		Buckets: []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600},
	})
	r.MustRegister(h)
	return h
}

// aboutCreation says how exact a time is that begins with the creation of a Service.
const aboutCreation = "Kubernetes keeps the second of the creation: the time begins when this process saw the Service, " +
	"or at the end of that second where that is earlier, so that it is never too long, and less than a second too short."

// RegisterWaiting registers how many Services hold no address; waiting is called on each
// scrape, and counts them by the reason for it.
func RegisterWaiting(r prometheus.Registerer, waiting func() map[string]int) {
	registerCounts(r, desc("allocator", "services_waiting", "Number of Services that hold no address, by the reason that their events give.", "reason"), waiting)
}

// RegisterProblems registers how many problems the configuration has; problems is called on
// each scrape, and counts those of each kind of object.
func RegisterProblems(r prometheus.Registerer, problems func() map[string]int) {
	registerCounts(r, desc("k8s_client", "config_problems", "Number of problems of the configuration, by the kind of object that has them.", "kind"), problems)
}

// registerCounts registers a gauge with one label, of which each count is a value.
func registerCounts(r prometheus.Registerer, d *prometheus.Desc, counts func() map[string]int) {
	r.MustRegister(source{descs: []*prometheus.Desc{d}, collect: func(ch chan<- prometheus.Metric) {
		for value, n := range counts() {
			ch <- gauge(d, float64(n), value)
		}
	}})
}
