package chaos

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// TestWhoIsElected has what users of the API are used to.
func TestWhoIsElected(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1 node-a node-b node-c": "node-b", "10.0.0.2 node-a node-b node-c": "node-b", "10.20.30.1 node-a node-b": "node-b",
		"192.168.10.1 kind-control-plane kind-worker kind-worker2": "kind-worker2",
	} {
		words := strings.Fields(text)
		var nodes []lab.Host
		for _, w := range words[1:] {
			nodes = append(nodes, lab.Host(w))
		}
		if got := elected(netip.MustParseAddr(words[0]), nodes); got != lab.Host(want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestWhoMayShare(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []wish
		want bool
	}{
		{"one key, two ports", []wish{sharing("k")}, []wish{sharing("k"), port(81)}, true},
		{"no key", []wish{}, []wish{port(81)}, false},
		{"two keys", []wish{sharing("k")}, []wish{sharing("l"), port(81)}, false},
		{"one port", []wish{sharing("k")}, []wish{sharing("k")}, false},
		{"one local", []wish{sharing("k")}, []wish{sharing("k"), port(81), localTraffic}, false},
		{"both local, before the same pods", []wish{sharing("k"), localTraffic}, []wish{sharing("k"), port(81), localTraffic}, true},
	} {
		if got := mayShare(newService("a", c.a...), newService("b", c.b...)); got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
}

// holding is a Service with addresses.
func holding(name, addresses string, wishes ...wish) corev1.Service {
	svc := newService(name, wishes...)
	for a := range strings.FieldsSeq(addresses) {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return *svc
}

// served says on which nodes a Service has pods that are ready.
func served(name string, nodes ...string) discoveryv1.EndpointSlice {
	s := discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelServiceName: name}}}
	for _, n := range nodes {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{NodeName: &n})
	}
	return s
}

func TestWhoShouldAnswer(t *testing.T) {
	w := world{
		eligible: []lab.Host{"node-a", "node-b", "node-c"},
		services: []corev1.Service{
			holding("alone", "10.0.0.1 2001:db8::1"), holding("nowhere", "10.0.0.3"), holding("local", "10.0.0.4", localTraffic),
			holding("one", "10.0.0.5", sharing("k")), holding("other", "10.0.0.5", sharing("k"), port(81)),
			holding("routed", "198.51.100.1"), holding("routed-local", "198.51.100.2", localTraffic),
		},
		slices: []discoveryv1.EndpointSlice{
			served("alone", "node-x"), served("local", "node-a", "node-x"), served("one", "node-a"), served("other", "node-a"),
			served("routed", "node-a"), served("routed-local", "node-c"),
		},
	}
	if got, want := fmt.Sprint(w.answers()), "map[10.0.0.1:[node-b] 10.0.0.3:[] 10.0.0.4:[node-a] 10.0.0.5:[node-a node-b node-c] 2001:db8::1:[node-b]]"; got != want {
		t.Errorf("on the LAN: %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(w.routes()), "map[198.51.100.1/32:[node-a node-b node-c] 198.51.100.2/32:[node-c]]"; got != want {
		t.Errorf("on the router: %s, want %s", got, want)
	}
}

func TestWhatIsWrongWithAssignments(t *testing.T) {
	w := world{services: []corev1.Service{holding("a", "10.0.0.1"), holding("b", "10.0.0.1"), holding("c", "10.0.0.2")}}
	for i := range w.services {
		w.services[i].Spec.ClusterIPs = []string{"10.96.0.1"}
	}
	if got := w.apart(); len(got) != 1 || !strings.Contains(got[0], "10.0.0.1") {
		t.Errorf("%q, want one complaint about 10.0.0.1", got)
	}
	if got := w.unserved(); len(got) > 0 {
		t.Errorf("%q, want none", got)
	}
	w.services[2].Spec.ClusterIPs = append(w.services[2].Spec.ClusterIPs, "fd00::1")
	w.services[0].Spec.Type = corev1.ServiceTypeClusterIP
	if got := w.unserved(); len(got) != 2 {
		t.Errorf("%q, want complaints about a, which holds too much, and c, which holds too little", got)
	}
}

func TestWhichEventsExplainALoss(t *testing.T) {
	seen := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) metav1.Time { return metav1.Time{Time: seen.Add(d).Truncate(time.Second)} }
	cleared := func(first, last time.Duration) corev1.Event {
		return corev1.Event{Reason: "ClearAssignment", FirstTimestamp: at(first), LastTimestamp: at(last), Count: 2}
	}
	allocated := func(count int32) corev1.Event {
		return corev1.Event{Reason: "IPAllocated", LastTimestamp: at(0), Count: count, Source: corev1.EventSource{Component: "metallb-controller"}}
	}
	for _, c := range []struct {
		name   string
		events []corev1.Event
		want   bool
	}{
		{"none", nil, false},
		{"one of the moment", []corev1.Event{cleared(0, 0)}, true},
		{"one whose second began before", []corev1.Event{cleared(-10*time.Millisecond, -10*time.Millisecond)}, true},
		{"one of much later, as the watch was interrupted", []corev1.Event{cleared(time.Minute, time.Minute)}, true},
		{"one of long ago", []corev1.Event{cleared(-time.Minute, -time.Minute)}, false},
		{"one of long ago that came again", []corev1.Event{cleared(-time.Minute, 0)}, true},
		{"a series", []corev1.Event{{Reason: "ClearAssignment", Series: &corev1.EventSeries{LastObservedTime: metav1.MicroTime{Time: seen}}}}, true},
		{"another", []corev1.Event{allocated(1)}, false},
		{"so many that others may have been dropped", []corev1.Event{allocated(20), allocated(0), allocated(4)}, true},
	} {
		if got := (loss{seen: seen}).isExplained(c.events); got != c.want {
			t.Errorf("%s: explained is %t, want %t", c.name, got, c.want)
		}
	}
}

func TestWhichWishesAreForOtherAddresses(t *testing.T) {
	for _, c := range []struct {
		name         string
		before, then []wish
		same         bool
	}{
		{"another port", []wish{}, []wish{port(81)}, true},
		{"another port, sharing", []wish{sharing("k")}, []wish{sharing("k"), port(81)}, false},
		{"local traffic", []wish{}, []wish{localTraffic}, true},
		{"local traffic, sharing", []wish{sharing("k")}, []wish{sharing("k"), localTraffic}, false},
		{"an annotation of others", []wish{}, []wish{annotated("example.com/a", "b")}, true},
		{"a pool", []wish{}, []wish{fromPool("p")}, false},
		{"a sharing key", []wish{sharing("k")}, []wish{sharing("l")}, false},
		{"an address", []wish{}, []wish{annotated("metallb.io/loadBalancerIPs", "10.0.0.1")}, false},
		{"both families", []wish{ipv4}, []wish{dualStack}, false},
		{"no load balancer", []wish{}, []wish{noLoadBalancer}, false},
	} {
		if got := sameWish(newService("a", c.before...), newService("a", c.then...)); got != c.same {
			t.Errorf("%s: the same is %t, want %t", c.name, got, c.same)
		}
	}
}
