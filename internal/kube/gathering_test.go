package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

func heardOf(t *testing.T, change func(*corev1.Node)) *corev1.Node {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"zone": "1"}, Annotations: map[string]string{"big": "one"}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), Message: "kubelet is posting ready status"}}
	n.Status.Addresses = []corev1.NodeAddress{{Address: "192.0.2.1"}}
	change(n)
	out, err := stripNode(n)
	if err != nil {
		t.Fatal(err)
	}
	return out.(*corev1.Node)
}

func TestOfANodeLittleIsKept(t *testing.T) {
	want := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"zone": "1"}}}
	want.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if diff := cmp.Diff(want, heardOf(t, func(*corev1.Node) {})); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
}

func TestAHeartbeatIsNoChange(t *testing.T) {
	before := heardOf(t, func(*corev1.Node) {})
	for name, tc := range map[string]struct {
		now  client.Object
		want bool
	}{
		"a heartbeat":       {heardOf(t, func(n *corev1.Node) { n.ResourceVersion = "2" }), true},
		"another condition": {heardOf(t, func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown }), false},
		"another label":     {heardOf(t, func(n *corev1.Node) { n.Labels["zone"] = "2" }), false},
	} {
		if got := isHeartbeat(before, tc.now); got != tc.want {
			t.Errorf("%s is taken for a heartbeat: %v", name, got)
		}
	}
	if isHeartbeat(&v1beta1.BGPSessionState{}, &v1beta1.BGPSessionState{}) {
		t.Error("what a speaker says is taken for a heartbeat")
	}
}

func TestAConditionKeepsItsTimeWhileItsStatusIsTheSame(t *testing.T) {
	since := metav1.Unix(1000, 0)
	pool := &v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
	theirs := metav1.Condition{Type: "Theirs", Status: metav1.ConditionTrue, Reason: "Said", LastTransitionTime: since}
	pool.Status.Conditions = []metav1.Condition{theirs, {Type: "Valid", Status: metav1.ConditionFalse, Reason: "Other", LastTransitionTime: since}}
	SetCondition(pool, Condition{Type: "Valid", Status: metav1.ConditionFalse, Reason: lb.NodeNotReady, Message: "it is bad"})
	want := []metav1.Condition{theirs, {
		Type: "Valid", Status: metav1.ConditionFalse, Reason: "NodeNotReady", Message: "it is bad", ObservedGeneration: 3, LastTransitionTime: since,
	}}
	if diff := cmp.Diff(want, pool.Status.Conditions); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}
}
