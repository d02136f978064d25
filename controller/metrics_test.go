package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestServicesWithoutAnAddressAreCountedByTheReason(t *testing.T) {
	bad := annotated("metallb.io/loadBalancerIPs", "nonsense")
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.2"), service("web", 0), service("bad", 1, bad), service("kept", 2, holding("192.0.2.2", "blue"), bad),
		service("late", 3), service("later", 4))
	c.lookAtPools()
	want := func(when string, failed, malformed int) {
		t.Helper()
		counts := map[string]int{"AllocationFailed": failed, "LoadBalancerFailed": malformed, "not enough clusterips": 0, "noclusterIPsIPFamily": 0}
		if diff := cmp.Diff(counts, c.waitingMetrics()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	c.look("web", "bad", "kept", "late", "later")
	want("who holds an address does not wait", 2, 1)
	c.remove(service("web", 0))
	c.look("web", "late")
	want("one has been served", 1, 1)
	c.remove(service("bad", 1))
	c.look("bad")
	want("one is gone", 1, 0)
}
