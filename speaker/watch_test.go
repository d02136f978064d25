package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

func node(change func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a", Labels: map[string]string{"zone": "z1"}}}
	change(n)
	return n
}

func pool(change func(*v1beta1.IPAddressPool)) *v1beta1.IPAddressPool {
	p := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "blue", Generation: 1}}
	change(p)
	return p
}

func TestWhatIsLookedAtAfterAChange(t *testing.T) {
	s := newSpeaker(parts{inbox: newInbox(), durations: newDurations(prometheus.NewRegistry())})
	nodes, config := onChange(s.nodeChanged), onChange(s.configChanged)
	services, endpoints := onChange(s.serviceChanged), onChange(s.sliceChanged)

	same := node(func(*corev1.Node) {})
	blue := pool(func(*v1beta1.IPAddressPool) {})
	web := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "web-x7k", Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
	}}
	for name, tc := range map[string]struct {
		change     func()
		services   map[lb.ServiceKey]struct{}
		everything bool
	}{
		"a node that comes": {func() { nodes.OnAdd(same, false) }, nil, true},
		"a node that goes":  {func() { nodes.OnDelete(same) }, nil, true},
		"a node that went unseen": {func() {
			nodes.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "node-a", Obj: same})
		}, nil, true},
		"a node's heartbeat": {func() {
			nodes.OnUpdate(same, node(func(n *corev1.Node) {
				n.ResourceVersion = "2"
				n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
			}))
		}, nil, false},
		"a node's labels": {func() { nodes.OnUpdate(same, node(func(n *corev1.Node) { n.Labels = nil })) }, nil, true},
		"a node's network": {func() {
			nodes.OnUpdate(same, node(func(n *corev1.Node) {
				n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue}}
			}))
		}, nil, true},
		"a pool that comes":  {func() { config.OnAdd(blue, false) }, nil, true},
		"a pool that goes":   {func() { config.OnDelete(blue) }, nil, true},
		"a pool's status":    {func() { config.OnUpdate(blue, pool(func(p *v1beta1.IPAddressPool) { p.Status.AssignedIPv4 = 1 })) }, nil, false},
		"a pool's addresses": {func() { config.OnUpdate(blue, pool(func(p *v1beta1.IPAddressPool) { p.Generation = 2 })) }, nil, true},
		"a pool's labels": {func() {
			config.OnUpdate(blue, pool(func(p *v1beta1.IPAddressPool) { p.Labels = map[string]string{"a": "b"} }))
		}, nil, true},
		"a service":                  {func() { services.OnUpdate(web, web) }, keys("web"), false},
		"a service that goes":        {func() { services.OnDelete(web) }, keys("web"), false},
		"the endpoints of a service": {func() { endpoints.OnUpdate(slice, slice) }, keys("web"), false},
		"endpoints that go unseen": {func() {
			endpoints.OnDelete(toolscache.DeletedFinalStateUnknown{Key: "default/web-x7k", Obj: slice})
		}, keys("web"), false},
	} {
		t.Run(name, func(t *testing.T) {
			tc.change()
			services, everything, _ := s.inbox.take()
			if diff := cmp.Diff(tc.services, services, cmpopts.EquateEmpty()); diff != "" || everything != tc.everything {
				t.Errorf("everything: %t, want %t; services (-want +got):\n%s", everything, tc.everything, diff)
			}
		})
	}
}
