package metrics

import "github.com/prometheus/client_golang/prometheus"

// Session is how one BGP session goes, and what was exchanged over it.
type Session struct {
	// Peer is the router's address and port, VRF the device that the session runs in.
	Peer, VRF                          string
	Up                                 bool
	Announced, Pending                 int
	OpensSent, OpensReceived           uint64
	NotificationsSent                  uint64
	UpdatesSent, UpdatesReceived       uint64
	KeepalivesSent, KeepalivesReceived uint64
	RouteRefreshSent                   uint64
	TotalSent, TotalReceived           uint64
}

// RegisterBGP registers the metrics of BGP sessions; sessions is called on each scrape.
func RegisterBGP(r prometheus.Registerer, sessions func() []Session) {
	register(r, "bgp", []column[Session]{
		{"session_up", "1 while the BGP session is established.", func(s Session) float64 { return oneIf(s.Up) }, prometheus.GaugeValue},
		{"announced_prefixes_total", "Number of prefixes that the router holds of this node.", func(s Session) float64 { return float64(s.Announced) }, prometheus.GaugeValue},
		{"pending_prefixes_total", "Number of prefixes that the router is still to be offered.", func(s Session) float64 { return float64(s.Pending) }, prometheus.GaugeValue},
		{"opens_sent", "Number of BGP OPEN messages sent.", func(s Session) float64 { return float64(s.OpensSent) }, prometheus.CounterValue},
		{"opens_received", "Number of BGP OPEN messages received.", func(s Session) float64 { return float64(s.OpensReceived) }, prometheus.CounterValue},
		{"notifications_sent", "Number of BGP NOTIFICATION messages sent.", func(s Session) float64 { return float64(s.NotificationsSent) }, prometheus.CounterValue},
		{"updates_total", "Number of BGP UPDATE messages sent.", func(s Session) float64 { return float64(s.UpdatesSent) }, prometheus.CounterValue},
		{"updates_total_received", "Number of BGP UPDATE messages received.", func(s Session) float64 { return float64(s.UpdatesReceived) }, prometheus.CounterValue},
		{"keepalives_sent", "Number of BGP KEEPALIVE messages sent.", func(s Session) float64 { return float64(s.KeepalivesSent) }, prometheus.CounterValue},
		{"keepalives_received", "Number of BGP KEEPALIVE messages received.", func(s Session) float64 { return float64(s.KeepalivesReceived) }, prometheus.CounterValue},
		{"route_refresh_sent", "Number of BGP ROUTE-REFRESH messages sent.", func(s Session) float64 { return float64(s.RouteRefreshSent) }, prometheus.CounterValue},
		{"total_sent", "Number of BGP messages sent.", func(s Session) float64 { return float64(s.TotalSent) }, prometheus.CounterValue},
		{"total_received", "Number of BGP messages received.", func(s Session) float64 { return float64(s.TotalReceived) }, prometheus.CounterValue},
	}, func(s Session) []string { return []string{s.Peer, vrf(s.VRF)} }, sessions)
}

// Path is how one BFD session goes, and what was exchanged over it.
type Path struct {
	// Peer is the address of the other end, VRF the device that the session runs in.
	Peer, VRF                           string
	Up                                  bool
	ControlInput, ControlOutput         uint64
	EchoInput, EchoOutput               uint64
	UpEvents, DownEvents, Notifications uint64
}

// RegisterBFD registers the metrics of BFD sessions; the functions are called on each scrape.
func RegisterBFD(r prometheus.Registerer, paths func() []Path, drops func() []Drop) {
	dropped := desc("bfd", "packets_dropped_total", "Number of BFD packets that changed nothing, by reason.", "reason")
	r.MustRegister(source{descs: []*prometheus.Desc{dropped}, collect: func(ch chan<- prometheus.Metric) {
		for _, d := range drops() {
			ch <- counter(dropped, d.Count, d.Reason)
		}
	}})
	register(r, "bfd", []column[Path]{
		{"session_up", "1 while the BFD session is up.", func(p Path) float64 { return oneIf(p.Up) }, prometheus.GaugeValue},
		{"control_packet_input", "Number of BFD control packets received.", func(p Path) float64 { return float64(p.ControlInput) }, prometheus.CounterValue},
		{"control_packet_output", "Number of BFD control packets sent.", func(p Path) float64 { return float64(p.ControlOutput) }, prometheus.CounterValue},
		{"echo_packet_input", "Number of BFD echo packets that came back.", func(p Path) float64 { return float64(p.EchoInput) }, prometheus.CounterValue},
		{"echo_packet_output", "Number of BFD echo packets sent.", func(p Path) float64 { return float64(p.EchoOutput) }, prometheus.CounterValue},
		{"session_up_events", "Number of times that the BFD session came up.", func(p Path) float64 { return float64(p.UpEvents) }, prometheus.CounterValue},
		{"session_down_events", "Number of times that the BFD session went down.", func(p Path) float64 { return float64(p.DownEvents) }, prometheus.CounterValue},
		{"zebra_notifications", "Number of times that BGP was told of the BFD session.", func(p Path) float64 { return float64(p.Notifications) }, prometheus.CounterValue},
	}, func(p Path) []string { return []string{p.Peer, vrf(p.VRF)} }, paths)
}

// column is one metric of a table whose rows have the labels peer and vrf.
type column[T any] struct {
	name, help string
	of         func(T) float64
	kind       prometheus.ValueType
}

func register[T any](r prometheus.Registerer, subsystem string, columns []column[T], labels func(T) []string, rows func() []T) {
	s := source{}
	for _, c := range columns {
		s.descs = append(s.descs, desc(subsystem, c.name, c.help, "peer", "vrf"))
	}
	s.collect = func(ch chan<- prometheus.Metric) {
		for _, row := range rows() {
			for i, c := range columns {
				ch <- prometheus.MustNewConstMetric(s.descs[i], c.kind, c.of(row), labels(row)...)
			}
		}
	}
	r.MustRegister(s)
}

// vrf is the name of a VRF as FRR gives it, whose numbers dashboards were made for.
func vrf(device string) string {
	if device == "" {
		return "default"
	}
	return device
}

func oneIf(so bool) float64 {
	if so {
		return 1
	}
	return 0
}
