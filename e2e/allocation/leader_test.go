//go:build e2e

package allocation

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// leads waits until the controller on a host leads.
func (s *stage) leads(host lab.Host) {
	s.Helper()
	s.await(fmt.Sprintf("the controller on %s to lead", host), func() error {
		lease, err := world.Client.CoordinationV1().Leases(herald.Namespace).Get(s.ctx, "metallb-controller", metav1.GetOptions{})
		if err == nil && (lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != string(host)) {
			err = fmt.Errorf("the Lease is %+v", lease.Spec)
		}
		return err
	})
}

// writes counts what a controller has written.
func (s *stage) writes(c *Controller) int {
	s.Helper()
	requests, err := c.Requests(s.ctx)
	s.must(err)
	return requests.Writes()
}

// explained waits until Services say whether they are announced, which is written some time after their addresses.
func (s *stage) explained(prefix string) {
	s.Helper()
	s.await("Services "+prefix+" to say whether they are announced", func() error {
		all, err := world.Client.CoreV1().Services("default").List(s.ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, svc := range all.Items {
			if strings.HasPrefix(svc.Name, prefix) && meta.FindStatusCondition(svc.Status.Conditions, "metallb.io/Announced") == nil {
				return fmt.Errorf("%s does not", svc.Name)
			}
		}
		return nil
	})
}

func TestAReplicaTakesOver(t *testing.T) {
	s := newStage(t)
	s.pool("led", ranges("10.30.0.0/27"))
	for i := range 20 {
		s.service(fmt.Sprintf("led-%d", i))
	}
	s.await("Services to be served", func() error { return atLeast(20, "led-") })
	s.explained("led-")
	for _, end := range []struct {
		name string
		by   func(*Controller)
	}{{"that ends in good order", (*Controller).Stop}, {"that is killed", (*Controller).Kill}} {
		s.on("from one "+end.name, func(s *stage) {
			s.leads(lab.Control)
			other := second(s.ctx, s.T)
			s.settle()
			if n := s.writes(other); n != 0 {
				s.Errorf("the replica that stands by has written %d times", n)
			}
			before := observed.versions()
			end.by(running)
			s.leads(lab.Client)
			s.quiet()
			if after := observed.versions(); !maps.Equal(before, after) {
				s.Errorf("Services were written: %v before, %v after", before, after)
			}
			s.settle() // a new Service is served
			restart(s.ctx, s.T, (*Controller).Stop, func() {})
			other.Stop()
			s.leads(lab.Control)
		})
	}
	s.noViolations()
}

// A leader that is stopped in the middle of its work and goes on when another leads must
// not give away what the other has given away by then.
func TestALeaderThatWasFrozen(t *testing.T) {
	const count = 400
	s := newStage(t)
	s.pool("frozen", ranges("10.31.0.0/23"))
	s.leads(lab.Control)
	other := second(s.ctx, s.T)
	var created [count]*corev1.Service
	done := make(chan error)
	go func() {
		done <- InParallel(8, count, func(i int) (err error) {
			svc := newService(fmt.Sprintf("frozen-%d", i))
			created[i], err = world.Client.CoreV1().Services(svc.Namespace).Create(s.ctx, svc, metav1.CreateOptions{})
			return err
		})
	}()
	s.await("some Services to be served", func() error { return atLeast(count/8, "frozen-") })
	frozen := running
	s.must(frozen.Freeze())
	s.must(<-done)
	s.Cleanup(func() {
		for _, svc := range created {
			s.remove(svc)
		}
	})
	s.leads(lab.Client)
	s.await("all Services to be served", func() error { return atLeast(count, "frozen-") })
	s.must(frozen.Thaw())
	before := s.writes(frozen)
	s.settle()
	if after := s.writes(frozen); after != before {
		s.Errorf("who was frozen has written %d times since", after-before)
	}
	s.once(created[:])
	s.noViolations()
	other.Stop()
	s.leads(lab.Control) // who was frozen is fit to lead again
	s.settle()
}

// once checks that each Service was given one address, and no two the same.
func (s *stage) once(services []*corev1.Service) {
	s.Helper()
	holders := map[string]string{}
	for _, svc := range services {
		assignments := observed.assignments(svc.UID)
		if final := assignments[len(assignments)-1]; len(assignments) > 2 || holders[final] != "" {
			s.Errorf("Service %s was given %q one after the other; %s has %s too", svc.Name, assignments, holders[final], final)
		} else {
			holders[final] = svc.Name
		}
	}
}
