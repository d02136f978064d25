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
