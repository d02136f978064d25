package main

import (
	"testing"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func TestWhoIsWaitedForBeforeTheFirstWrite(t *testing.T) {
	pod := func(name, account string, elects bool, phase corev1.PodPhase) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name},
			Spec:       corev1.PodSpec{ServiceAccountName: account},
			Status:     corev1.PodStatus{Phase: phase},
		}
		if elects {
			p.Labels = map[string]string{labelElects: "lease"}
		}
		return p
	}
	self := pod("self", "controller", true, corev1.PodRunning)
	for name, tc := range map[string]struct {
		self  *corev1.Pod
		other *corev1.Pod
		want  []string
	}{
		"a controller that knows of no lease": {self, pod("old", "controller", false, corev1.PodRunning), []string{"old"}},
		"not one that has ended":              {self, pod("old", "controller", false, corev1.PodSucceeded), nil},
		"not one that has failed":             {self, pod("old", "controller", false, corev1.PodFailed), nil},
		"not another replica":                 {self, pod("other", "controller", true, corev1.PodRunning), nil},
		"not a speaker":                       {self, pod("speaker", "speaker", false, corev1.PodRunning), nil},
		"nobody, where no pod has the label":  {pod("self", "controller", false, corev1.PodRunning), pod("other", "controller", false, corev1.PodRunning), nil},
		"nobody, outside of a pod":            {pod("elsewhere", "controller", true, corev1.PodRunning), pod("old", "controller", false, corev1.PodRunning), nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := predecessors{
				logger: log.NewNopLogger(), reader: fake.NewClientBuilder().WithObjects(tc.self, tc.other).Build(),
				self: types.NamespacedName{Namespace: "metallb-system", Name: "self"},
			}
			got, err := p.alive(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("waited for (-want +got):\n%s", diff)
			}
		})
	}
}
