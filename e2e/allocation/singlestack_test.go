//go:build e2e

package allocation

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// Where Services have one cluster address, one external address is all that can be used. A Service that requires both
// families is refused by the API server itself.
func TestAServicePrefersBothFamiliesInAClusterWithOne(t *testing.T) {
	elsewhere(t, lab.Options{Name: *labName + "1", SingleStack: true})
	s := newStage(t)
	s.pool("a-dual", ranges("10.7.0.0/24", "fd07::/64"))

	svc := s.service("preferring", prefer)
	s.holds(svc, "a-dual", "10.7.0.0")
	restart(s.ctx, t, (*Controller).Stop, func() {})
	s.change(svc, labelled("touched", "yes"))
	s.holds(svc, "a-dual", "10.7.0.0")
	s.had(svc, "", "10.7.0.0")

	asking := s.service("asking-for-both", prefer, asking("10.7.0.9,fd07::9"))
	s.waits(asking, "AllocationFailed", "")
	s.change(asking, without("metallb.io/loadBalancerIPs"))
	s.holds(asking, "a-dual", "10.7.0.1")

	_, err := world.Client.CoreV1().Services("default").Create(s.ctx, newService("requiring", both), metav1.CreateOptions{})
	if err == nil {
		t.Error("the API server takes a Service that requires both families: then the controller has to be asked too")
	}
}
