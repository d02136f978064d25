//go:build e2e

package allocation

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWhichServicesAreHandled(t *testing.T) {
	s := newStage(t)
	s.pool("handled", ranges("10.1.0.0/24"))

	s.on("a Service of another load balancer's class is left alone, whatever its status says", func(s *stage) {
		other := s.service("class-of-another", classed("example.com/other"))
		now := s.get(other)
		now.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.9"}}
		_, err := world.Client.CoreV1().Services(now.Namespace).UpdateStatus(s.ctx, now, metav1.UpdateOptions{})
		s.must(err)
		s.had(other, "", "203.0.113.9")
	})
	s.on("a Service of another type is left alone", func(s *stage) {
		svc := s.service("cluster-ip", typed(corev1.ServiceTypeClusterIP), noNodePortsToAvoid)
		s.had(svc, "")
	})
	s.on("a Service that becomes one of type LoadBalancer is given an address, and loses it when it stops being one", func(s *stage) {
		svc := s.service("retyped", typed(corev1.ServiceTypeClusterIP), noNodePortsToAvoid)
		s.change(svc, typed(corev1.ServiceTypeLoadBalancer))
		s.holds(svc, "handled", "10.1.0.0")
		s.change(svc, typed(corev1.ServiceTypeClusterIP), noNodePortsToAvoid)
		s.holds(svc, "")
		next := s.service("next")
		s.holds(next, "handled", "10.1.0.0")
	})
	s.on("with --lb-class only Services of that class are handled", func(s *stage) {
		instead(s.ctx, s.T, credentials, "--lb-class=example.com/ours")
		ours := s.service("class-of-ours", classed("example.com/ours"))
		none := s.service("class-of-nobody")
		other := s.service("class-of-others", classed("example.com/other"))
		s.holds(ours, "handled", "10.1.0.0")
		s.quiet()
		for _, svc := range []*corev1.Service{none, other} {
			s.holds(svc, "")
		}
	})
}

func TestRequestedAddresses(t *testing.T) {
	s := newStage(t)
	s.pool("asked-v4", ranges("10.2.0.0/24"))
	s.pool("asked-v6", ranges("fd02::/64"))
	s.pool("asked-dual", ranges("10.2.1.0/24", "fd02:1::/64"))
	s.pool("asked-manual", ranges("10.2.2.0/24").with(`{"autoAssign": false}`))

	for _, c := range []struct {
		name  string
		wish  []option
		pool  string
		holds []string
	}{
		{"an IPv4 address by the annotation", []option{asking("10.2.0.7")}, "asked-v4", []string{"10.2.0.7"}},
		{"an IPv6 address by the annotation", []option{asking("fd02::7"), v6}, "asked-v6", []string{"fd02::7"}},
		{"one of each family, with spaces, in the order asked for", []option{asking(" fd02:1::7 , 10.2.1.7 "), both}, "asked-dual", []string{"fd02:1::7", "10.2.1.7"}},
		{"one of each family where both are preferred", []option{asking("10.2.1.8,fd02:1::8"), prefer}, "asked-dual", []string{"10.2.1.8", "fd02:1::8"}},
		{"an address by spec.loadBalancerIP", []option{specifically("10.2.0.9")}, "asked-v4", []string{"10.2.0.9"}},
		{"an address by the annotation of old", []option{annotated("metallb.universe.tf/loadBalancerIPs", "10.2.0.10")}, "asked-v4", []string{"10.2.0.10"}},
		{"an address of a pool that assigns none by itself", []option{asking("10.2.2.7")}, "asked-manual", []string{"10.2.2.7"}},
		{"an address and its pool", []option{asking("10.2.0.11"), fromPool("asked-v4")}, "asked-v4", []string{"10.2.0.11"}},
	} {
		s.on(c.name, func(s *stage) {
			svc := s.service("asking", c.wish...)
			s.holds(svc, c.pool, c.holds...)
		})
	}

	for _, c := range []struct {
		name        string
		wish        []option
		reason, why string
	}{
		{"both kinds of request at once are refused", []option{asking("10.2.0.7"), specifically("10.2.0.7")}, "LoadBalancerFailed", "both set"},
		{"what is no address is refused", []option{asking("10.2.0.256")}, "LoadBalancerFailed", "10.2.0.256"},
		{"two addresses of one family are refused", []option{asking("10.2.1.7,10.2.1.8"), prefer}, "LoadBalancerFailed", "10.2.1.7,10.2.1.8"},
		{"an address of a family that the Service does not have is refused", []option{asking("fd02::7"), v4}, "AllocationFailed", "fd02::7"},
		{"one address alone is refused to a Service of both families", []option{asking("10.2.1.7"), prefer}, "AllocationFailed", "10.2.1.7"},
		{"addresses of two pools are refused", []option{asking("10.2.0.7,fd02::7"), both}, "AllocationFailed", "two pools"},
		{"an address of no pool is refused", []option{asking("192.0.2.1")}, "AllocationFailed", "192.0.2.1"},
		{"an address of another pool than the one asked for is refused", []option{asking("10.2.0.7"), fromPool("asked-dual")}, "AllocationFailed", "asked-dual"},
	} {
		s.on(c.name, func(s *stage) {
			svc := s.service("refused", c.wish...)
			s.waits(svc, c.reason, c.why)
		})
	}

	s.on("another request moves the Service", func(s *stage) {
		svc := s.service("moved", asking("10.2.0.20"))
		s.holds(svc, "asked-v4", "10.2.0.20")
		s.change(svc, asking("10.2.0.21"))
		s.holds(svc, "asked-v4", "10.2.0.21")
		s.told(svc, corev1.EventTypeNormal, "ClearAssignment", "10.2.0.20")
		s.told(svc, corev1.EventTypeNormal, "IPAllocated", "10.2.0.21")
	})
	s.on("the same request in another order changes nothing", func(s *stage) {
		svc := s.service("reordered", asking("10.2.1.30,fd02:1::30"), both)
		s.holds(svc, "asked-dual", "10.2.1.30", "fd02:1::30")
		s.change(svc, asking("fd02:1::30,10.2.1.30"))
		s.had(svc, "", "10.2.1.30,fd02:1::30")
	})
	s.on("a request that is withdrawn leaves the address", func(s *stage) {
		svc := s.service("withdrawn", asking("10.2.0.22"))
		s.holds(svc, "asked-v4", "10.2.0.22")
		s.change(svc, without("metallb.io/loadBalancerIPs"))
		s.had(svc, "", "10.2.0.22")
	})
	s.on("a request that becomes malformed leaves the address, and the user is told", func(s *stage) {
		svc := s.service("malformed", asking("10.2.0.23"))
		s.holds(svc, "asked-v4", "10.2.0.23")
		s.change(svc, asking("10.2.0.two"))
		s.told(svc, corev1.EventTypeWarning, "LoadBalancerFailed", "10.2.0.two")
		s.had(svc, "", "10.2.0.23")
	})
	s.on("an address that another holds is had as soon as it is released", func(s *stage) {
		holder := s.service("holder", asking("10.2.0.24"))
		s.holds(holder, "asked-v4", "10.2.0.24")
		waiting := s.service("waiting", asking("10.2.0.24"))
		s.waits(waiting, "AllocationFailed", "10.2.0.24")
		s.remove(holder)
		s.holds(waiting, "asked-v4", "10.2.0.24")
	})
}

func TestRequestedPools(t *testing.T) {
	s := newStage(t)
	s.pool("first", ranges("10.3.0.0/24"))
	s.pool("second", ranges("10.3.1.0/24", "fd03:1::/64"))
	s.pool("third", ranges("10.3.2.0/24").with(`{"autoAssign": false}`))
	s.pool("theirs", ranges("10.3.3.0/24").with(`{"serviceAllocation": {"namespaces": ["elsewhere"]}}`))

	s.on("the pool that the annotation names is drawn from", func(s *stage) {
		svc := s.service("from-second", fromPool("second"))
		s.holds(svc, "second", "10.3.1.0")
	})
	s.on("over both families", func(s *stage) {
		svc := s.service("from-second", fromPool("second"), both)
		s.holds(svc, "second", "10.3.1.0", "fd03:1::")
	})
	s.on("the annotation of old names one too, and is said to be old once", func(s *stage) {
		svc := s.service("of-old", annotated("metallb.universe.tf/address-pool", "second"))
		s.holds(svc, "second", "10.3.1.0")
		s.told(svc, corev1.EventTypeWarning, "deprecatedAnnotation", "metallb.universe.tf/address-pool")
		for _, touch := range []option{labelled("touched", "yes"), annotated("example.com/touched", "yes"), port(8080), labelled("touched", "again")} {
			s.change(svc, touch)
			s.settle()
		}
		// Events are written one after the other: once this one is there, so are all before it.
		later := s.service("after-of-old", fromPool("second"))
		s.told(later, corev1.EventTypeNormal, "IPAllocated", "10.3.1.1")
		if n := s.toldOf(svc, "deprecatedAnnotation"); n != 1 {
			s.Errorf("said %d times to be old", n)
		}
	})
	s.on("of both annotations the new one counts", func(s *stage) {
		s.settle() // the address of the one before is free again
		svc := s.service("of-both", annotated("metallb.universe.tf/address-pool", "first"), fromPool("second"))
		s.holds(svc, "second", "10.3.1.0")
	})
	s.on("a pool that assigns none by itself may be named", func(s *stage) {
		svc := s.service("from-third", fromPool("third"))
		s.holds(svc, "third", "10.3.2.0")
	})
	s.on("a pool that nobody has made is waited for", func(s *stage) {
		svc := s.service("from-none", fromPool("later"))
		s.waits(svc, "AllocationFailed", `unknown pool "later"`)
		s.pool("later", ranges("10.3.4.0/24"))
		s.holds(svc, "later", "10.3.4.0")
	})
	s.on("a pool that is pinned to others is refused", func(s *stage) {
		svc := s.service("from-theirs", fromPool("theirs"))
		s.waits(svc, "AllocationFailed", "pool theirs not compatible for ip assignment")
	})
	s.on("a pool without the family is refused", func(s *stage) {
		svc := s.service("from-first", fromPool("first"), v6)
		s.waits(svc, "AllocationFailed", "first")
	})
	s.on("another name moves the Service, and none leaves it", func(s *stage) {
		svc := s.service("mover", fromPool("first"))
		s.holds(svc, "first", "10.3.0.0")
		s.change(svc, fromPool("second"))
		s.holds(svc, "second", "10.3.1.0")
		s.told(svc, corev1.EventTypeNormal, "ClearAssignment", `asks for pool "second"`)
		s.change(svc, without("metallb.io/address-pool"))
		s.had(svc, "", "10.3.0.0", "10.3.1.0")
	})
}
