package main

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

var (
	here     = lb.Verdict{Reason: lb.Announced, Owner: "node-a", Announcements: []lb.Announcement{on()}}
	there    = lb.Verdict{Reason: lb.NotOwner, Owner: "node-b"}
	nobody   = lb.Verdict{Reason: lb.NotOwner}
	offering = lb.BGPVerdict{Reason: lb.Announced, Offers: []lb.Offer{{}}}
)

// Each row is what a speaker concludes about a service, a second after the other, and when the
// first frame is sent; and what is measured then, in seconds.
func TestWhatIsMeasured(t *testing.T) {
	const frame = "frame"
	died := lost{lb.MemberDead, time.Time{}}
	for name, tc := range map[string]struct {
		existed bool // with an address, when it was first seen
		steps   []any
		want    map[string]float64
	}{
		"a new service, which this node announces": {
			false,
			[]any{verdicts{layer2: lb.Verdict{Reason: lb.NoAddress}}, verdicts{layer2: here}, frame, frame},
			map[string]float64{"metallb_speaker_first_announcement_duration_seconds layer2": 3},
		},
		"a new service, which has to wait for endpoints": {
			false,
			[]any{verdicts{layer2: nobody}, verdicts{layer2: nobody}, verdicts{layer2: here}, frame},
			map[string]float64{"metallb_speaker_first_announcement_duration_seconds layer2": 4},
		},
		"a new service, which another node announces first": {false, []any{verdicts{layer2: there}, verdicts{layer2: here}, frame}, nil},
		"a new service over BGP": {
			false,
			[]any{verdicts{bgp: lb.BGPVerdict{Reason: lb.NoEndpoints}}, verdicts{bgp: offering}, verdicts{}, verdicts{bgp: offering}},
			map[string]float64{"metallb_speaker_first_announcement_duration_seconds bgp": 2},
		},
		"a service that goes before anybody announces it": {
			false, []any{verdicts{gone, goneFromBGP}, verdicts{layer2: here}, frame}, nil,
		},
		"a service that was there before": {true, []any{verdicts{layer2: here}, frame}, nil},
		"the address of a node that died": {
			true,
			[]any{verdicts{layer2: there}, died, verdicts{layer2: here}, frame, frame},
			map[string]float64{"metallb_layer2_failover_duration_seconds memberDead": 2},
		},
		"an address that goes again before its first frame": {
			true, []any{verdicts{layer2: there}, died, verdicts{layer2: here}, verdicts{layer2: there}, frame}, nil,
		},
		"an address that others leave to this node": {true, []any{verdicts{layer2: there}, verdicts{layer2: here}, frame}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := prometheus.NewRegistry()
				d := newDurations(r)
				svc := service("web")
				if tc.existed {
					svc = service("web", "192.0.2.1")
				}
				svc.CreationTimestamp = metav1.Now()
				d.appeared(svc, time.Now())
				var before verdicts
				var loss lost
				for _, step := range tc.steps {
					time.Sleep(time.Second)
					switch step := step.(type) {
					case lost:
						loss = lost{step.reason, time.Now()}
					case verdicts:
						d.concluded(key("web"), before, step, loss)
						before, loss = step, lost{}
					default:
						d.sent(netip.MustParseAddr("192.0.2.1"))
					}
				}
				if diff := gocmp.Diff(tc.want, sums(t, r)); diff != "" {
					t.Errorf("measured (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// sums are what was measured, by the metric and the value of its label, where anything was.
func sums(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]float64
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h.GetSampleCount() > 0 {
				if out == nil {
					out = map[string]float64{}
				}
				out[f.GetName()+" "+m.GetLabel()[0].GetValue()] = h.GetSampleSum()
			}
		}
	}
	return out
}

func TestWhyAnOwnerIsOneNoMore(t *testing.T) {
	view := plan.View{
		Nodes:    []lb.Node{{Name: "ok"}, {Name: "excluded", Excluded: true}, {Name: "cut-off", NetworkUnavailable: true}, {Name: "silent"}},
		Speakers: []lb.NodeName{"ok", "excluded", "cut-off"},
	}
	local := plan.Served{Service: lb.Service{LocalTraffic: true}, Endpoints: []lb.Endpoint{{Node: "ok"}, {Node: "excluded", Serving: true}}}
	for _, tc := range []struct {
		node lb.NodeName
		sub  plan.Served
		want lb.Reason
	}{
		{"ok", plan.Served{}, ""},
		{"ok", local, lb.NoLocalEndpoints},
		{"excluded", local, lb.NodeLabeledExcludeBalancers},
		{"cut-off", plan.Served{}, lb.NodeNetworkUnavailable},
		{"silent", plan.Served{}, lb.MemberDead},
		{"gone", plan.Served{}, lb.MemberDead},
	} {
		if got := why(tc.node, view, tc.sub); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.node, got, tc.want)
		}
	}
}

// The speakers of these nodes were alive when the round before was made.
func TestTheLossOfAnOwnerBeginsWithTheNews(t *testing.T) {
	s := newTestSpeaker(t, interceptor.Funcs{}, ordinary()...)
	s.view = plan.View{Nodes: []lb.Node{{Name: "node-b", Excluded: true}}}
	s.news = time.Now().Add(-time.Minute)
	sub := subject{object: service("web")}
	for owner, want := range map[lb.NodeName]lost{
		"":       {},
		"node-a": {}, // itself
		"node-b": {lb.NodeLabeledExcludeBalancers, s.news},
		"node-c": {lb.MemberDead, s.news},
	} {
		if got := s.lossOf(owner, sub); got != want {
			t.Errorf("loss of %q: %v, want %v", owner, got, want)
		}
	}
}
