package metrics

import "github.com/prometheus/client_golang/prometheus"

// NewLeaseWrites registers the counter of how often a replica took or renewed the Lease
// that it leads by: the one thing that an idle cluster has written.
func NewLeaseWrites(r prometheus.Registerer) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: "controller", Name: "lease_writes_total",
		Help: "Number of times that this replica tried to take or renew the Lease of the leader.",
	})
	r.MustRegister(c)
	return c
}
