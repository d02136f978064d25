//go:build e2e

package allocation

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestSharedAddresses(t *testing.T) {
	s := newStage(t)
	s.pool("shared", ranges("10.4.0.0/24", "fd04::/64"))

	// Each pair is asked to share 10.4.0.7.
	for _, c := range []struct {
		name          string
		first, second []option
		why           string // "" where they may share
	}{
		{"Cluster and Cluster share, whatever their pods", []option{sharing("k"), port(80)}, []option{sharing("k"), port(443), selecting("other")}, ""},
		{"one port is two over TCP and UDP", []option{sharing("k"), port(53)}, []option{sharing("k"), port(53), udp}, ""},
		{"Local and Local share before the same pods", []option{sharing("k"), local, port(80)}, []option{sharing("k"), local, port(443)}, ""},
		{"Local and Local do not before others", []option{sharing("k"), local, port(80)}, []option{sharing("k"), local, port(443), selecting("other")}, "pod selectors"},
		{"Local and Cluster do not", []option{sharing("k"), local, port(80)}, []option{sharing("k"), port(443)}, "pod selectors"},
		{"not with the same port", []option{sharing("k"), port(80)}, []option{sharing("k"), port(80)}, "TCP/80"},
		{"not with different keys", []option{sharing("k"), port(80)}, []option{sharing("l"), port(443)}, "keys differ"},
		{"not where one has no key", []option{sharing("k"), port(80)}, []option{port(443)}, "not shared"},
		{"not with empty keys", []option{sharing(""), port(80)}, []option{sharing(""), port(443)}, "not shared"},
		{"the key of old counts", []option{annotated("metallb.universe.tf/allow-shared-ip", "k"), port(80)}, []option{sharing("k"), port(443)}, ""},
	} {
		s.on(c.name, func(s *stage) {
			first := s.service("first", append(c.first, asking("10.4.0.7"))...)
			s.holds(first, "shared", "10.4.0.7")
			second := s.service("second", append(c.second, asking("10.4.0.7"))...)
			if c.why == "" {
				s.holds(second, "shared", "10.4.0.7")
			} else {
				s.waits(second, "AllocationFailed", c.why)
			}
			s.holds(first, "shared", "10.4.0.7")
		})
	}

	s.on("Services that ask for no address share one if they may, over both families", func(s *stage) {
		first := s.service("first", sharing("k"), port(80), both)
		s.holds(first, "shared", "10.4.0.0", "fd04::")
		second := s.service("second", sharing("k"), port(443), both)
		s.holds(second, "shared", "10.4.0.0", "fd04::")
		third := s.service("third", sharing("k"), port(80), both)
		s.holds(third, "shared", "10.4.0.1", "fd04::1")
	})
	s.on("a sole holder changes its key in place, and who waits for that joins", func(s *stage) {
		holder := s.service("holder", asking("10.4.0.7"), port(80))
		s.holds(holder, "shared", "10.4.0.7")
		waiting := s.service("waiting", asking("10.4.0.7"), port(443), sharing("k"))
		s.waits(waiting, "AllocationFailed", "10.4.0.7")
		s.change(holder, sharing("k"))
		s.holds(waiting, "shared", "10.4.0.7")
		s.had(holder, "", "10.4.0.7")
	})
	s.on("a sharer that changes its key is given another address", func(s *stage) {
		stays := s.service("stays", sharing("k"), port(80))
		s.holds(stays, "shared", "10.4.0.0")
		leaves := s.service("leaves", sharing("k"), port(443))
		s.holds(leaves, "shared", "10.4.0.0")
		s.change(leaves, sharing("l"))
		s.holds(leaves, "shared", "10.4.0.1")
		s.told(leaves, corev1.EventTypeNormal, "ClearAssignment", "10.4.0.0")
		s.had(stays, "", "10.4.0.0")
	})
	s.on("a sharer that becomes Local is given another address", func(s *stage) {
		stays := s.service("stays", sharing("k"), port(80))
		leaves := s.service("leaves", sharing("k"), port(443), asking("10.4.0.0"))
		s.holds(stays, "shared", "10.4.0.0")
		s.holds(leaves, "shared", "10.4.0.0")
		s.change(leaves, local, without("metallb.io/loadBalancerIPs"))
		s.holds(leaves, "shared", "10.4.0.1")
		s.had(stays, "", "10.4.0.0")
	})
	s.on("a sharer that takes a port of another's is given another address", func(s *stage) {
		stays := s.service("stays", sharing("k"), port(80))
		s.holds(stays, "shared", "10.4.0.0")
		leaves := s.service("leaves", sharing("k"), port(443))
		s.holds(leaves, "shared", "10.4.0.0")
		s.change(leaves, port(80))
		s.holds(leaves, "shared", "10.4.0.1")
		s.had(stays, "", "10.4.0.0")
	})
	s.on("who is left alone keeps the address", func(s *stage) {
		stays := s.service("stays", sharing("k"), port(80))
		s.holds(stays, "shared", "10.4.0.0")
		leaves := s.service("leaves", sharing("k"), port(443))
		s.holds(leaves, "shared", "10.4.0.0")
		s.remove(leaves)
		s.had(stays, "", "10.4.0.0")
	})
}
