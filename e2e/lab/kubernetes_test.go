package lab

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestANodeIsReadyByWhatItSaysSinceItWasSwitchedOn(t *testing.T) {
	switchedOn := time.Date(2026, 7, 1, 12, 0, 7, 300_000_000, time.UTC)
	for name, tc := range map[string]struct {
		heartbeat time.Time
		status    corev1.ConditionStatus
		taint     string
		want      bool
	}{
		"what it said before it died does not count":          {switchedOn.Add(-10 * time.Second), corev1.ConditionTrue, "", false},
		"a heartbeat within the same second, told in seconds": {switchedOn.Truncate(time.Second), corev1.ConditionTrue, "", true},
		"a later heartbeat":                                     {switchedOn.Add(3 * time.Second), corev1.ConditionTrue, "", true},
		"a heartbeat that says otherwise":                       {switchedOn.Add(3 * time.Second), corev1.ConditionFalse, "", false},
		"a node that pods are still kept off is not ready, too": {switchedOn.Add(3 * time.Second), corev1.ConditionTrue, corev1.TaintNodeNotReady, false},
	} {
		t.Run(name, func(t *testing.T) {
			var n corev1.Node
			n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: tc.status, LastHeartbeatTime: metav1.NewTime(tc.heartbeat)}}
			if tc.taint != "" {
				n.Spec.Taints = []corev1.Taint{{Key: tc.taint}}
			}
			if got := nodeIsReady(n, switchedOn); got != tc.want {
				t.Errorf("ready: %t, want %t", got, tc.want)
			}
		})
	}
}
