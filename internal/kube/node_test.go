package kube_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

func TestNodes(t *testing.T) {
	const exclude = "node.kubernetes.io/exclude-from-external-load-balancers"
	for name, tc := range map[string]struct {
		labels     map[string]string
		conditions []corev1.NodeCondition
		want       lb.Node
	}{
		"an ordinary node": {map[string]string{"zone": "z1"}, nil, lb.Node{Labels: map[string]string{"zone": "z1"}}},
		"the exclude label counts whatever its value": {
			map[string]string{exclude: "false"},
			nil,
			lb.Node{Labels: map[string]string{exclude: "false"}, Excluded: true},
		},
		"a network that is unavailable":                            {nil, []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}, {Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue}}, lb.Node{NetworkUnavailable: true}},
		"a network that may be unavailable is taken for available": {nil, []corev1.NodeCondition{{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionUnknown}}, lb.Node{}},
		"a node that is not ready may announce":                    {nil, []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}, lb.Node{}},
	} {
		t.Run(name, func(t *testing.T) {
			n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: tc.labels}, Status: corev1.NodeStatus{Conditions: tc.conditions}}
			tc.want.Name = "a"
			if diff := cmp.Diff(tc.want, kube.Node(n)); diff != "" {
				t.Errorf("node (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhichEndpointsCanServe(t *testing.T) {
	yes, no := true, false
	for name, tc := range map[string]struct {
		conditions discoveryv1.EndpointConditions
		want       bool
	}{
		"one of which nothing is said":                  {discoveryv1.EndpointConditions{}, true},
		"one that is ready":                             {discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes}, true},
		"one that is not":                               {discoveryv1.EndpointConditions{Ready: &no, Serving: &no}, false},
		"one that is not, where nothing more is said":   {discoveryv1.EndpointConditions{Ready: &no}, false},
		"one that terminates and still serves":          {discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}, true},
		"one that terminates and does not serve":        {discoveryv1.EndpointConditions{Ready: &no, Serving: &no, Terminating: &yes}, false},
		"one that is ready though it does not serve it": {discoveryv1.EndpointConditions{Ready: &yes, Serving: &no}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := kube.Endpoints([]discoveryv1.EndpointSlice{{Endpoints: []discoveryv1.Endpoint{{Conditions: tc.conditions}}}})
			if diff := cmp.Diff([]lb.Endpoint{{Serving: tc.want}}, got); diff != "" {
				t.Errorf("endpoints (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEndpointsAreThoseOfAllSlices(t *testing.T) {
	a, b := "a", "b"
	got := kube.Endpoints([]discoveryv1.EndpointSlice{
		{Endpoints: []discoveryv1.Endpoint{{NodeName: &a}, {}}},
		{},
		{Endpoints: []discoveryv1.Endpoint{{NodeName: &b}}},
	})
	want := []lb.Endpoint{{Node: "a", Serving: true}, {Serving: true}, {Node: "b", Serving: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}
