package kube

import (
	"testing"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

func l2Of(object, service, node string) *v1beta1.ServiceL2Status {
	return &v1beta1.ServiceL2Status{
		ObjectMeta: metav1.ObjectMeta{Name: object},
		Status:     v1beta1.ServiceL2StatusStatus{Node: node, ServiceName: service, ServiceNamespace: "default"},
	}
}

func bgpOf(object, node string, peers ...string) *v1beta1.ServiceBGPStatus {
	return &v1beta1.ServiceBGPStatus{
		ObjectMeta: metav1.ObjectMeta{Name: object},
		Status:     v1beta1.ServiceBGPStatusStatus{Node: node, ServiceName: "web", ServiceNamespace: "default", Peers: peers},
	}
}

func TestWhoSaysThatTheyAnnounce(t *testing.T) {
	changed, known := map[string]int{}, 0
	a := NewAnnouncers(log.NewNopLogger(), nil, "metallb-system", func(key lb.ServiceKey) { changed[key.Name]++ }, func() { known++ })
	l2, bgp := &statements{Announcers: a, kind: kindL2Status}, &statements{Announcers: a, kind: kindBGPStatus}
	check := func(when string, news map[string]int, want map[string][]Announcer) {
		t.Helper()
		got := map[string][]Announcer{}
		for _, service := range []string{"web", "api"} {
			if by := a.Of(lb.ServiceKey{Namespace: "default", Name: service}); by != nil {
				got[service] = by
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, who announces (-want +got):\n%s", when, diff)
		}
		if diff := cmp.Diff(news, changed); diff != "" {
			t.Errorf("%s, what has changed (-want +got):\n%s", when, diff)
		}
		clear(changed)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	must(bgp.Replace([]any{bgpOf("bgp-2", "node-b", "tor"), bgpOf("bgp-1", "node-a", "spine", "tor")}, "1"))
	if a.Known() || known != 0 {
		t.Error("all is known before all was read")
	}
	must(l2.Replace(nil, "1"))
	if !a.Known() || known != 1 {
		t.Error("nothing is known when all was read")
	}
	web := []Announcer{{"node-a", []lb.PeerName{"spine", "tor"}}, {"node-b", []lb.PeerName{"tor"}}}
	check("at first", map[string]int{"web": 2}, map[string][]Announcer{"web": web})

	must(l2.Add(l2Of("l2-1", "", "")))
	check("made, and not filled in yet", map[string]int{}, map[string][]Announcer{"web": web})
	must(l2.Update(l2Of("l2-1", "web", "node-c")))
	check("over layer 2 as well", map[string]int{"web": 1}, map[string][]Announcer{"web": append([]Announcer{{Node: "node-c"}}, web...)})
	must(l2.Update(l2Of("l2-1", "api", "node-c")))
	check("another service", map[string]int{"web": 1, "api": 1}, map[string][]Announcer{"web": web, "api": {{Node: "node-c"}}})

	must(bgp.Delete(bgpOf("bgp-1", "node-a")))
	must(bgp.Update(bgpOf("bgp-2", "node-b")))
	check("all are withdrawn", map[string]int{"web": 2}, map[string][]Announcer{"api": {{Node: "node-c"}}})
	must(l2.Replace([]any{l2Of("l2-2", "web", "node-a")}, "9"))
	check("read anew after a gap", map[string]int{"web": 1, "api": 1}, map[string][]Announcer{"web": {{Node: "node-a"}}})
	if a.forget(); a.Known() || known != 1 {
		t.Error("what was forgotten is known")
	}
}
