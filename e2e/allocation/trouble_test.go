//go:build e2e

package allocation

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd/api"
)

// behindProxy has the controller speak to the API server through a proxy for the time of a test.
func (s *stage) behindProxy(lag time.Duration, failures int64) *proxy {
	s.Helper()
	p, err := startProxy(s.ctx, world)
	s.must(err)
	s.Cleanup(func() { s.must(p.stop()) })
	p.lag.Store(int64(lag))
	p.failures.Store(failures)
	kubeconfig := filepath.Join(s.TempDir(), "kubeconfig")
	s.must(WriteKubeconfig(kubeconfig, &api.Cluster{Server: p.url}, ""))
	instead(s.ctx, s.T, kubeconfig)
	return p
}

func TestAWatchThatLagsBehindOwnWrites(t *testing.T) {
	s := newStage(t)
	s.pool("lagging", ranges("10.17.0.0/28", "fd11::/64"))
	s.behindProxy(2*time.Second, 0)

	// What is given is not yet seen to be held when the next one asks.
	var all []*corev1.Service
	for i := range 16 {
		all = append(all, s.service(fmt.Sprintf("lagging-%d", i), both))
	}
	s.await("all Services to be served", func() error { return atLeast(len(all), "lagging-") })
	starved := s.service("starved")
	s.waits(starved, "AllocationFailed", "lagging")

	// What is changed while the address is not yet seen.
	changed := s.change(all[3], labelled("touched", "yes"), port(8080))
	s.change(all[4], v4)
	s.remove(all[5])
	s.settle()
	for i, svc := range all {
		if got := observed.assignments(svc.UID); i != 4 && len(got) != 2 {
			s.Errorf("Service %s was given %q one after the other", svc.Name, got)
		}
	}
	if got := addresses(s.get(changed)); len(got) != 2 {
		s.Errorf("Service %s holds %v", changed.Name, got)
	}
	if got := addresses(s.get(starved)); len(got) != 1 {
		s.Errorf("Service %s holds %v, though one was released", starved.Name, got)
	}
	s.noViolations()
}

func TestWritesThatFail(t *testing.T) {
	s := newStage(t)
	s.pool("failing", ranges("10.18.0.0/26"))
	p := s.behindProxy(500*time.Millisecond, 40)

	var all []*corev1.Service
	for i := range 80 {
		all = append(all, s.service(fmt.Sprintf("failing-%d", i)))
	}
	s.await("the pool to be given away", func() error { return atLeast(64, "failing-") })
	for i := range 24 {
		s.remove(all[i*3])
	}
	all = slices.DeleteFunc(all, func(svc *corev1.Service) bool { return slices.Index(all, svc)%3 == 0 && slices.Index(all, svc) < 72 })
	s.await("all Services that are left to be served", func() error { return atLeast(len(all), "failing-") })
	p.failures.Store(0)
	s.settle()
	for _, svc := range all {
		if got := observed.assignments(svc.UID); len(got) != 2 {
			s.Errorf("Service %s was given %q one after the other", svc.Name, got)
		}
	}
	if p.failed.Load() == 0 {
		s.Error("no write has failed: nothing was tested")
	}
	s.noViolations()
}
