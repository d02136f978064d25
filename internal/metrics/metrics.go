// Package metrics defines what Herald counts, under the names that dashboards and
// alerts know. Everything is registered with the Registerer that is handed in.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
)

const namespace = "metallb"

// Client counts what a process writes to the API server, and how it stands with its
// configuration.
type Client struct {
	updates, updateErrors prometheus.Counter
	loaded, stale         prometheus.Gauge
}

// NewClient registers the metrics of a Kubernetes client.
func NewClient(r prometheus.Registerer) *Client {
	c := &Client{
		updates: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "k8s_client", Name: "updates_total",
			Help: "Number of Service statuses written to the API server.",
		}),
		updateErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "k8s_client", Name: "update_errors_total",
			Help: "Number of Service statuses that could not be written.",
		}),
		loaded: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "k8s_client", Name: "config_loaded_bool",
			Help: "1 once a configuration is in force.",
		}),
		stale: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "k8s_client", Name: "config_stale_bool",
			Help: "1 while some object of the configuration has a problem; the last valid version of it stays in force.",
		}),
	}
	r.MustRegister(c.updates, c.updateErrors, c.loaded, c.stale)
	return c
}

// Wrote counts a write and whether it failed.
func (c *Client) Wrote(err error) {
	if err != nil {
		c.updateErrors.Inc()
		return
	}
	c.updates.Inc()
}

// Loaded says that a configuration is in force, with or without problems.
func (c *Client) Loaded(problems bool) {
	c.loaded.Set(1)
	c.stale.Set(0)
	if problems {
		c.stale.Set(1)
	}
}

// source is a collector that asks for the values when it is scraped, so that nothing
// has to be kept up to date in between.
type source struct {
	descs   []*prometheus.Desc
	collect func(chan<- prometheus.Metric)
}

// Describe sends the descriptions.
func (s source) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range s.descs {
		ch <- d
	}
}

// Collect sends the values.
func (s source) Collect(ch chan<- prometheus.Metric) { s.collect(ch) }

func desc(subsystem, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(d *prometheus.Desc, v uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}
