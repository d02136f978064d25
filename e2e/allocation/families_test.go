//go:build e2e

package allocation

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestFamilies(t *testing.T) {
	s := newStage(t)
	s.pool("a-v4", ranges("10.5.0.0/24"))
	s.pool("b-v6", ranges("fd05::/64"))
	s.pool("c-dual", ranges("10.5.1.0/24", "fd05:1::/64"))

	for _, c := range []struct {
		name  string
		wish  []option
		pool  string
		holds []string
	}{
		{"one IPv4 address for a SingleStack Service", []option{v4}, "a-v4", []string{"10.5.0.0"}},
		{"one IPv6 address for a SingleStack Service", []option{v6}, "b-v6", []string{"fd05::"}},
		{"one of each from one pool, where both are required", []option{both}, "c-dual", []string{"10.5.1.0", "fd05:1::"}},
		{"one of each, where both are preferred and a later pool has both", []option{prefer}, "c-dual", []string{"10.5.1.0", "fd05:1::"}},
		{"IPv4 first, whatever the order of the Service's families", []option{families(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv6Protocol, corev1.IPv4Protocol)}, "c-dual", []string{"10.5.1.0", "fd05:1::"}},
		{"the first family alone, where both are preferred and the pool has no more", []option{prefer, fromPool("a-v4")}, "a-v4", []string{"10.5.0.0"}},
		{"the second family, where both are preferred and the pool has it alone", []option{prefer, fromPool("b-v6")}, "b-v6", []string{"fd05::"}},
	} {
		s.on(c.name, func(s *stage) {
			svc := s.service("family", c.wish...)
			s.holds(svc, c.pool, c.holds...)
			s.had(svc, "", strings.Join(c.holds, ","))
		})
	}

	s.on("nothing, where both are required and the pool has one", func(s *stage) {
		svc := s.service("family", both, fromPool("a-v4"))
		s.waits(svc, "AllocationFailed", "a-v4")
	})
}

func TestFamiliesThatChange(t *testing.T) {
	s := newStage(t)
	s.pool("a-dual", ranges("10.6.0.0/24", "fd06::/64"))
	s.pool("b-v4", ranges("10.6.1.0/24"))

	s.on("a Service that gets its second family gets the second address, and keeps the first", func(s *stage) {
		svc := s.service("upgraded", v4)
		s.holds(svc, "a-dual", "10.6.0.0")
		s.change(svc, prefer)
		s.holds(svc, "a-dual", "10.6.0.0", "fd06::")
		s.change(svc, v4)
		s.holds(svc, "a-dual", "10.6.0.0")
		s.had(svc, "", "10.6.0.0", "10.6.0.0,fd06::", "10.6.0.0")
	})
	s.on("the same where both are required", func(s *stage) {
		svc := s.service("upgraded", v4)
		s.holds(svc, "a-dual", "10.6.0.0")
		s.change(svc, both)
		s.holds(svc, "a-dual", "10.6.0.0", "fd06::")
		s.had(svc, "", "10.6.0.0", "10.6.0.0,fd06::")
	})
	s.on("the second family comes from the same pool or not at all, and is had as soon as it is there", func(s *stage) {
		svc := s.service("completed", prefer, fromPool("b-v4"))
		s.holds(svc, "b-v4", "10.6.1.0")
		s.had(svc, "", "10.6.1.0")
		s.pool("b-v4", ranges("10.6.1.0/24", "fd06:1::/64"))
		s.holds(svc, "b-v4", "10.6.1.0", "fd06:1::")
		s.had(svc, "", "10.6.1.0", "10.6.1.0,fd06:1::")
	})
	s.on("a second family that another holds is had when it is released", func(s *stage) {
		s.pool("c-one", ranges("10.6.2.0/24", "fd06:2::1/128").with(`{"autoAssign": false}`))
		holder := s.service("holder", v6, fromPool("c-one"))
		s.holds(holder, "c-one", "fd06:2::1")
		svc := s.service("completed", prefer, fromPool("c-one"))
		s.holds(svc, "c-one", "10.6.2.0")
		s.remove(holder)
		s.holds(svc, "c-one", "10.6.2.0", "fd06:2::1")
		s.had(svc, "", "10.6.2.0", "10.6.2.0,fd06:2::1")
	})
}
