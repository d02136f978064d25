package metrics_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/herald-lb/herald/internal/metrics"
)

// want compares all that a scrape shows, but for the help texts.
func want(t *testing.T, r *prometheus.Registry, text string) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var expected strings.Builder
	for _, f := range families {
		expected.WriteString("# HELP " + f.GetName() + " " + f.GetHelp() + "\n")
	}
	expected.WriteString(text)
	if err := testutil.GatherAndCompare(r, strings.NewReader(expected.String())); err != nil {
		t.Error(err)
	}
}

// The names are those that dashboards and alerts know.
func TestPoolsAreShownUnderTheirKnownNames(t *testing.T) {
	r := prometheus.NewRegistry()
	metrics.RegisterPools(r, func() []metrics.Pool {
		return []metrics.Pool{{Name: "blue", TotalIPv4: 9, TotalIPv6: 4, InUseIPv4: 2, InUseIPv6: 1, Services: 5}}
	})
	want(t, r, `
# TYPE metallb_allocator_addresses_in_use_total gauge
metallb_allocator_addresses_in_use_total{pool="blue"} 3
# TYPE metallb_allocator_addresses_total gauge
metallb_allocator_addresses_total{pool="blue"} 13
# TYPE metallb_allocator_ipv4_addresses_in_use_total gauge
metallb_allocator_ipv4_addresses_in_use_total{pool="blue"} 2
# TYPE metallb_allocator_ipv4_addresses_total gauge
metallb_allocator_ipv4_addresses_total{pool="blue"} 9
# TYPE metallb_allocator_ipv6_addresses_in_use_total gauge
metallb_allocator_ipv6_addresses_in_use_total{pool="blue"} 1
# TYPE metallb_allocator_ipv6_addresses_total gauge
metallb_allocator_ipv6_addresses_total{pool="blue"} 4
# TYPE metallb_allocator_services_allocated_total gauge
metallb_allocator_services_allocated_total{pool="blue"} 5
`)
}

func TestAPoolThatIsGoneIsNotShown(t *testing.T) {
	r := prometheus.NewRegistry()
	pools := []metrics.Pool{{Name: "blue"}}
	metrics.RegisterPools(r, func() []metrics.Pool { return pools })
	shown := func() int {
		n, err := testutil.GatherAndCount(r)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if shown() == 0 {
		t.Error("a pool is not shown")
	}
	if pools = nil; shown() != 0 {
		t.Error("a pool is shown that is gone")
	}
}

func TestAnnouncementsAndPacketsAreShownUnderTheirKnownNames(t *testing.T) {
	r := prometheus.NewRegistry()
	metrics.RegisterSpeaker(r, func() []metrics.Announced {
		return []metrics.Announced{{Service: "default/web", Protocol: "layer2", Node: "node-a", IP: "192.0.2.1"}}
	}, func() ([]metrics.Layer2, []metrics.Drop) {
		return []metrics.Layer2{{IP: "192.0.2.1", Requests: 3, Responses: 2, Gratuitous: 10}}, []metrics.Drop{{Reason: "unknownAddress", Count: 7}}
	})
	want(t, r, `
# TYPE metallb_layer2_gratuitous_sent counter
metallb_layer2_gratuitous_sent{ip="192.0.2.1"} 10
# TYPE metallb_layer2_requests_dropped_total counter
metallb_layer2_requests_dropped_total{reason="unknownAddress"} 7
# TYPE metallb_layer2_requests_received counter
metallb_layer2_requests_received{ip="192.0.2.1"} 3
# TYPE metallb_layer2_responses_sent counter
metallb_layer2_responses_sent{ip="192.0.2.1"} 2
# TYPE metallb_speaker_announced gauge
metallb_speaker_announced{ip="192.0.2.1",node="node-a",protocol="layer2",service="default/web"} 1
`)
}

func TestTheClientCountsItsWritesAndKnowsItsConfiguration(t *testing.T) {
	r := prometheus.NewRegistry()
	c := metrics.NewClient(r)
	c.Wrote(nil)
	c.Wrote(nil)
	c.Wrote(errors.New("no"))
	text := func(loaded, stale string) string {
		return `
# TYPE metallb_k8s_client_config_loaded_bool gauge
metallb_k8s_client_config_loaded_bool ` + loaded + `
# TYPE metallb_k8s_client_config_stale_bool gauge
metallb_k8s_client_config_stale_bool ` + stale + `
# TYPE metallb_k8s_client_update_errors_total counter
metallb_k8s_client_update_errors_total 1
# TYPE metallb_k8s_client_updates_total counter
metallb_k8s_client_updates_total 2
`
	}
	want(t, r, text("0", "0"))
	c.Loaded(true)
	want(t, r, text("1", "1"))
	c.Loaded(false)
	want(t, r, text("1", "0"))
}

func TestSessionsAndPathsAreShownUnderTheirKnownNames(t *testing.T) {
	r := prometheus.NewRegistry()
	metrics.RegisterBGP(r, func() []metrics.Session {
		return []metrics.Session{{
			Peer: "192.0.2.1:179", Up: true, Announced: 1, Pending: 2, OpensSent: 3, OpensReceived: 4, NotificationsSent: 5,
			UpdatesSent: 6, UpdatesReceived: 7, KeepalivesSent: 8, KeepalivesReceived: 9, RouteRefreshSent: 10, TotalSent: 11, TotalReceived: 12,
		}}
	})
	metrics.RegisterBFD(r, func() []metrics.Path {
		return []metrics.Path{{
			Peer: "192.0.2.1", VRF: "red", Up: true, ControlInput: 1, ControlOutput: 2, EchoInput: 3, EchoOutput: 4,
			UpEvents: 5, DownEvents: 6, Notifications: 7,
		}}
	}, func() []metrics.Drop { return []metrics.Drop{{Reason: "ttl", Count: 8}} })
	want(t, r, `
# TYPE metallb_bfd_control_packet_input counter
metallb_bfd_control_packet_input{peer="192.0.2.1",vrf="red"} 1
# TYPE metallb_bfd_control_packet_output counter
metallb_bfd_control_packet_output{peer="192.0.2.1",vrf="red"} 2
# TYPE metallb_bfd_echo_packet_input counter
metallb_bfd_echo_packet_input{peer="192.0.2.1",vrf="red"} 3
# TYPE metallb_bfd_echo_packet_output counter
metallb_bfd_echo_packet_output{peer="192.0.2.1",vrf="red"} 4
# TYPE metallb_bfd_packets_dropped_total counter
metallb_bfd_packets_dropped_total{reason="ttl"} 8
# TYPE metallb_bfd_session_down_events counter
metallb_bfd_session_down_events{peer="192.0.2.1",vrf="red"} 6
# TYPE metallb_bfd_session_up gauge
metallb_bfd_session_up{peer="192.0.2.1",vrf="red"} 1
# TYPE metallb_bfd_session_up_events counter
metallb_bfd_session_up_events{peer="192.0.2.1",vrf="red"} 5
# TYPE metallb_bfd_zebra_notifications counter
metallb_bfd_zebra_notifications{peer="192.0.2.1",vrf="red"} 7
# TYPE metallb_bgp_announced_prefixes_total gauge
metallb_bgp_announced_prefixes_total{peer="192.0.2.1:179",vrf="default"} 1
# TYPE metallb_bgp_keepalives_received counter
metallb_bgp_keepalives_received{peer="192.0.2.1:179",vrf="default"} 9
# TYPE metallb_bgp_keepalives_sent counter
metallb_bgp_keepalives_sent{peer="192.0.2.1:179",vrf="default"} 8
# TYPE metallb_bgp_notifications_sent counter
metallb_bgp_notifications_sent{peer="192.0.2.1:179",vrf="default"} 5
# TYPE metallb_bgp_opens_received counter
metallb_bgp_opens_received{peer="192.0.2.1:179",vrf="default"} 4
# TYPE metallb_bgp_opens_sent counter
metallb_bgp_opens_sent{peer="192.0.2.1:179",vrf="default"} 3
# TYPE metallb_bgp_pending_prefixes_total gauge
metallb_bgp_pending_prefixes_total{peer="192.0.2.1:179",vrf="default"} 2
# TYPE metallb_bgp_route_refresh_sent counter
metallb_bgp_route_refresh_sent{peer="192.0.2.1:179",vrf="default"} 10
# TYPE metallb_bgp_session_up gauge
metallb_bgp_session_up{peer="192.0.2.1:179",vrf="default"} 1
# TYPE metallb_bgp_total_received counter
metallb_bgp_total_received{peer="192.0.2.1:179",vrf="default"} 12
# TYPE metallb_bgp_total_sent counter
metallb_bgp_total_sent{peer="192.0.2.1:179",vrf="default"} 11
# TYPE metallb_bgp_updates_total counter
metallb_bgp_updates_total{peer="192.0.2.1:179",vrf="default"} 6
# TYPE metallb_bgp_updates_total_received counter
metallb_bgp_updates_total_received{peer="192.0.2.1:179",vrf="default"} 7
`)
}

func TestDurationsAndCountsAreShownUnderTheirKnownNames(t *testing.T) {
	r := prometheus.NewRegistry()
	metrics.NewAssignments(r).Observe(0.004)
	metrics.RegisterWaiting(r, func() map[string]int { return map[string]int{"AllocationFailed": 3} })
	metrics.RegisterProblems(r, func() map[string]int { return map[string]int{"BGPPeer": 2} })
	d := metrics.NewDurations(r, []string{"memberDead", "memberLeft"}, []string{"layer2"})
	d.Failover("memberDead").Observe(0.35)
	d.FirstAnnouncement("layer2").Observe(2)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			text := f.GetName()
			for _, l := range m.GetLabel() {
				text += fmt.Sprintf(" %s=%s", l.GetName(), l.GetValue())
			}
			got = append(got, fmt.Sprintf("%s: %v", text, cmp.Or(m.GetGauge().GetValue(), m.GetHistogram().GetSampleSum())))
		}
	}
	want := []string{
		"metallb_allocator_assignment_duration_seconds: 0.004",
		"metallb_allocator_services_waiting reason=AllocationFailed: 3",
		"metallb_k8s_client_config_problems kind=BGPPeer: 2",
		"metallb_layer2_failover_duration_seconds reason=memberDead: 0.35",
		"metallb_layer2_failover_duration_seconds reason=memberLeft: 0",
		"metallb_speaker_first_announcement_duration_seconds protocol=layer2: 2",
	}
	if !slices.Equal(got, want) {
		t.Errorf("shown are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
