package metrics

import "github.com/prometheus/client_golang/prometheus"

// Announced is one address that this node announces for a service.
type Announced struct{ Service, Protocol, Node, IP string }

// Layer2 is what was seen and sent for one address.
type Layer2 struct {
	IP                              string
	Requests, Responses, Gratuitous uint64
}

// Drop is how many packets got no answer for one reason.
type Drop struct {
	Reason string
	Count  uint64
}

// RegisterSpeaker registers the metrics of a speaker; the functions are called on each scrape.
func RegisterSpeaker(r prometheus.Registerer, announced func() []Announced, layer2 func() ([]Layer2, []Drop)) {
	up := desc("speaker", "announced", "1 for each address of a Service that this node announces.", "service", "protocol", "node", "ip")
	requests := desc("layer2", "requests_received", "Number of ARP requests and neighbour solicitations for the address.", "ip")
	responses := desc("layer2", "responses_sent", "Number of answers given for the address.", "ip")
	gratuitous := desc("layer2", "gratuitous_sent", "Number of unsolicited ARP and NDP packets sent for the address.", "ip")
	drops := desc("layer2", "requests_dropped_total", "Number of ARP and NDP packets that got no answer, by reason.", "reason")

	r.MustRegister(source{
		descs: []*prometheus.Desc{up, requests, responses, gratuitous, drops},
		collect: func(ch chan<- prometheus.Metric) {
			for _, a := range announced() {
				ch <- gauge(up, 1, a.Service, a.Protocol, a.Node, a.IP)
			}
			addresses, dropped := layer2()
			for _, a := range addresses {
				ch <- counter(requests, a.Requests, a.IP)
				ch <- counter(responses, a.Responses, a.IP)
				ch <- counter(gratuitous, a.Gratuitous, a.IP)
			}
			for _, d := range dropped {
				ch <- counter(drops, d.Count, d.Reason)
			}
		},
	})
}

// Durations measures how long clients were without an address, in seconds.
type Durations struct{ failovers, announcements *prometheus.HistogramVec }

// NewDurations registers the metrics of a speaker's durations, for these reasons of
// failovers and these ways to announce.
func NewDurations(r prometheus.Registerer, reasons, protocols []string) *Durations {
	d := &Durations{
		failovers: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "layer2", Name: "failover_duration_seconds",
			Help: "Time from the loss of an address's owner until this node, which takes its place, has sent the first unasked packet for it. " +
				"The loss of a member that died begins with its last answer to a probe of this node's, and any other with when this node heard of it. By reason.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .2, .3, .4, .5, .6, .8, 1, 1.5, 2, 5, 10, 30},
		}, []string{"reason"}),
		announcements: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "speaker", Name: "first_announcement_duration_seconds",
			Help: "Time from the creation of a Service until this node has sent the first packet for its address (layer2) " +
				"or has given its routes to the sessions (bgp), where no node was known to announce it before. " + aboutCreation,
			Buckets: []float64{.0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 3600},
		}, []string{"protocol"}),
	}
	for _, reason := range reasons {
		d.failovers.WithLabelValues(reason)
	}
	for _, protocol := range protocols {
		d.announcements.WithLabelValues(protocol)
	}
	r.MustRegister(d.failovers, d.announcements)
	return d
}

// Failover is where the durations of failovers go that have a reason.
func (d *Durations) Failover(reason string) prometheus.Observer {
	return d.failovers.WithLabelValues(reason)
}

// FirstAnnouncement is where the times go until Services are announced for the first time.
func (d *Durations) FirstAnnouncement(protocol string) prometheus.Observer {
	return d.announcements.WithLabelValues(protocol)
}
