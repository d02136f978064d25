//go:build e2e

package allocation

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestARestartChangesNothing(t *testing.T) {
	s := newStage(t)
	s.pool("kept", ranges("10.12.0.0/27", "fd0c::/64"))
	s.pool("full", ranges("10.12.1.1/32").with(`{"autoAssign": false}`))
	for name, options := range map[string][]option{
		"four": {v4}, "six": {v6}, "dual": {both}, "preferring": {prefer},
		"asking": {asking("10.12.0.9")}, "swapped": {asking("fd0c::9,10.12.0.10"), both},
		"sharing-1": {sharing("k"), port(80), asking("10.12.0.20")}, "sharing-2": {sharing("k"), port(443), asking("10.12.0.20")},
		"local": {sharing("l"), local, port(80)}, "legacy": {annotated("metallb.universe.tf/address-pool", "kept")},
		"full-1": {fromPool("full")}, "full-2": {fromPool("full")}, "wrong": {asking("nonsense")}, "other": {classed("example.com/other")},
	} {
		s.service(name, options...)
	}
	for _, end := range []struct {
		name string
		by   func(*Controller)
	}{{"in good order", (*Controller).Stop}, {"by SIGKILL", (*Controller).Kill}} {
		s.on(end.name, func(s *stage) {
			s.settle()
			s.written()
			before := observed.versions()
			restart(s.ctx, s.T, end.by, func() {})
			s.quiet()
			if after := observed.versions(); !maps.Equal(before, after) {
				s.Errorf("Services were written: %v before, %v after", before, after)
			}
			requests, err := running.Requests(s.ctx)
			s.must(err)
			if requests.Writes() != 0 {
				s.Errorf("the controller has written at its start: %v", requests)
			}
		})
	}
}

// written waits until the controller has written all that it has to: pool statuses come a second later than Services.
func (s *stage) written() {
	s.Helper()
	last := -1
	s.await("the controller to have written all", func() error {
		time.Sleep(2 * time.Second)
		requests, err := running.Requests(s.ctx)
		if err != nil {
			return err
		}
		before := last
		if last = requests.Writes(); last != before {
			return fmt.Errorf("it has written %d times", last)
		}
		return nil
	})
}

func TestSIGKILLInABurst(t *testing.T) {
	const count = 400
	s := newStage(t)
	s.pool("burst", ranges("10.13.0.0/22", "fd0d::/64"))
	created := make([]*corev1.Service, count)
	done := make(chan error)
	go func() {
		done <- InParallel(8, count, func(i int) (err error) {
			svc := newService(fmt.Sprintf("burst-%d", i), both)
			created[i], err = world.Client.CoreV1().Services(svc.Namespace).Create(s.ctx, svc, metav1.CreateOptions{})
			return err
		})
	}()
	for _, served := range []int{count / 8, count / 3, count / 2} {
		s.await(fmt.Sprintf("%d Services to be served", served), func() error { return atLeast(served, "burst-") })
		restart(s.ctx, s.T, (*Controller).Kill, func() {})
	}
	s.must(<-done)
	s.Cleanup(func() {
		for _, svc := range created {
			s.remove(svc)
		}
	})
	s.await("all Services to be served", func() error { return atLeast(count, "burst-") })
	s.settle()
	s.once(created)
	s.noViolations()
}

// atLeast says how many Services with a prefix still lack addresses.
func atLeast(count int, prefix string) error {
	if served := observed.served(prefix); served < count {
		return fmt.Errorf("there are %d", served)
	}
	return nil
}

// statusOf writes a status as another controller would have left it.
func (s *stage) statusOf(svc *corev1.Service, pool string, ips ...string) {
	s.Helper()
	now := s.get(svc)
	now.Status.LoadBalancer.Ingress = nil
	for _, ip := range ips {
		now.Status.LoadBalancer.Ingress = append(now.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	if pool != "" {
		metav1.SetMetaDataAnnotation(&now.ObjectMeta, allocatedFrom, pool)
	}
	_, err := world.Client.CoreV1().Services(now.Namespace).UpdateStatus(s.ctx, now, metav1.UpdateOptions{})
	s.must(err)
}

func TestStatusesThatConflict(t *testing.T) {
	s := newStage(t)
	s.pool("disputed", ranges("10.14.0.0/24"))
	var older, younger, sharer, friend *corev1.Service
	restart(s.ctx, s.T, (*Controller).Stop, func() {
		older = s.service("z-older")
		s.await("a second to pass", func() error {
			if metav1.Now().Unix() <= s.get(older).CreationTimestamp.Unix() {
				return fmt.Errorf("it has not")
			}
			return nil
		})
		younger = s.service("a-younger")
		sharer, friend = s.service("sharer", sharing("k"), port(80)), s.service("friend", sharing("k"), port(443))
		for _, svc := range []*corev1.Service{younger, older} {
			s.statusOf(svc, "disputed", "10.14.0.5")
		}
		for _, svc := range []*corev1.Service{sharer, friend} {
			s.statusOf(svc, "disputed", "10.14.0.6")
		}
	})
	s.holds(older, "disputed", "10.14.0.5")
	s.holds(younger, "disputed", "10.14.0.0")
	s.told(younger, corev1.EventTypeNormal, "ClearAssignment", "10.14.0.5")
	s.had(older, "", "10.14.0.5")
	s.had(sharer, "", "10.14.0.6")
	s.had(friend, "", "10.14.0.6")
}

func TestStartingOverAClusterThatWasServedBefore(t *testing.T) {
	s := newStage(t)
	s.pool("inherited", ranges("10.15.0.0/24", "fd0f::/64"))
	var heirs []heir
	restart(s.ctx, s.T, (*Controller).Stop, func() {
		for _, i := range rand.Perm(30) {
			four, six := fmt.Sprintf("10.15.0.%d", 100-i), fmt.Sprintf("fd0f::%x", 100-i)
			h := inherits(i, four, six)
			svc := s.service(fmt.Sprintf("heir-%d", i), h.families)
			pool := "inherited"
			if i%5 == 0 {
				pool = "" // older versions wrote no annotation
			}
			s.statusOf(svc, pool, h.addresses...)
			h.svc = svc
			heirs = append(heirs, h)
		}
		// Those that wait come first in every order but the right one.
		for i := range 5 {
			s.service(fmt.Sprintf("a-%d", i), both)
		}
	})
	for _, h := range heirs {
		s.holds(h.svc, "inherited", h.addresses...)
	}
	s.settle()
	for _, h := range heirs {
		if got := observed.assignments(h.svc.UID); len(got) != 2 {
			s.Errorf("Service %s was given %q one after the other", h.svc.Name, got)
		}
		s.await("a condition of "+h.svc.Name, func() error {
			if now := s.get(h.svc); !meta.IsStatusConditionTrue(now.Status.Conditions, "metallb.io/AddressAssigned") {
				return fmt.Errorf("they are %v", now.Status.Conditions)
			}
			return nil
		})
	}
	for i := range 5 {
		first := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("a-%d", i)}}
		s.await("who waited to be served", func() error {
			if got := addresses(s.get(first)); len(got) != 2 {
				return fmt.Errorf("%s has %v", first.Name, got)
			}
			return nil
		})
	}
	s.noViolations()
}

// heir is a Service with the addresses that it had.
type heir struct {
	svc       *corev1.Service
	families  option
	addresses []string
}

func inherits(i int, four, six string) heir {
	return []heir{
		{families: v4, addresses: []string{four}},
		{families: v6, addresses: []string{six}},
		{families: both, addresses: []string{four, six}},
		{families: prefer, addresses: []string{six, four}},
	}[i%4]
}
