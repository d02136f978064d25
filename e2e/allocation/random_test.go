//go:build e2e

package allocation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestManyUsersAtOnce has users who know nothing of each other create, change and delete Services, an administrator who
// changes pools, and a controller that is killed now and then. Its judge is the observer, who sees what users see.
func TestManyUsersAtOnce(t *testing.T) {
	s := newStage(t)
	seed := uint64(time.Now().UnixNano())
	s.Logf("seed %d", seed)
	s.administer(rand.New(rand.NewPCG(seed, 0)))

	end := time.Now().Add(40 * time.Second)
	done := make(chan error)
	const users = 6
	for u := range users {
		go func() { done <- user{s.ctx, u, rand.New(rand.NewPCG(seed, uint64(u+1)))}.act(end) }()
	}
	var kills []time.Time
	chance := rand.New(rand.NewPCG(seed, 100))
	for time.Now().Before(end) {
		s.administer(chance)
		if chance.IntN(8) == 0 {
			kills = append(kills, time.Now())
			restart(s.ctx, s.T, (*Controller).Kill, func() {})
		}
		time.Sleep(upTo(chance, time.Second))
	}
	for range users {
		s.must(<-done)
	}
	s.pool("crowd-a", ranges("10.19.0.0/24", "fd13::/64"))
	s.everybodyServed()
	s.noViolations()
	s.lossesWereTold(kills)
	s.must(removeCrowd(s.ctx))
}

// administer gives the pools other ranges, which always leave room for all.
func (s *stage) administer(chance *rand.Rand) {
	s.Helper()
	choices := []spec{
		ranges("10.19.0.0/24", "fd13::/64"),
		ranges("10.19.0.0/28", "fd13::/124"),
		ranges("10.19.0.8/29", "fd13::/64"),
		ranges("10.19.0.0/24", "fd13::/64").with(`{"avoidBuggyIPs": true}`),
		ranges("10.19.0.0/24", "fd13::/64").with(`{"autoAssign": false}`),
		ranges("10.19.0.0/24", "fd13::/64").with(`{"serviceAllocation": {"serviceSelectors": [{"matchLabels": {"tier": "0"}}]}}`),
	}
	s.pool("crowd-a", choices[chance.IntN(len(choices))])
	s.pool("crowd-b", ranges("10.19.1.0/24", "fd13:1::/64"))
}

func upTo(chance *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(chance.Int64N(int64(d)))
}

type user struct {
	ctx    context.Context
	number int
	chance *rand.Rand
}

// act does what users do, to ten Services of its own.
func (u user) act(end time.Time) error {
	for time.Now().Before(end) {
		name := fmt.Sprintf("crowd-%d-%d", u.number, u.chance.IntN(10))
		if err := u.once(name); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return fmt.Errorf("user %d: %w", u.number, err)
		}
		time.Sleep(upTo(u.chance, 100*time.Millisecond))
	}
	return nil
}

func (u user) once(name string) error {
	services := world.Client.CoreV1().Services("default")
	now, err := services.Get(u.ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = services.Create(u.ctx, newService(name, u.wish(), u.wish(), u.wish()), metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	if u.chance.IntN(5) == 0 {
		return services.Delete(u.ctx, name, metav1.DeleteOptions{})
	}
	u.wish()(now)
	_, err = services.Update(u.ctx, now, metav1.UpdateOptions{})
	return err
}

// wish is one thing that a Service may ask for.
func (u user) wish() option {
	n := u.chance.IntN(1000)
	wishes := []option{
		v4, both, prefer,
		port(int32(1 + n%3)), port(int32(1 + n%3)),
		sharing(fmt.Sprintf("key-%d", n%3)), sharing(fmt.Sprintf("key-%d", n%3)), without("metallb.io/allow-shared-ip"),
		local, cluster, selecting(fmt.Sprintf("app-%d", n%2)),
		labelled("tier", fmt.Sprint(n%2)),
		fromPool("crowd-b"), without("metallb.io/address-pool"),
	}
	return wishes[u.chance.IntN(len(wishes))]
}

func cluster(svc *corev1.Service) {
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
}

// everybodyServed waits until each of the crowd has the addresses that its families ask for: there are enough.
func (s *stage) everybodyServed() {
	s.Helper()
	s.await("everybody to be served", func() error {
		list, err := world.Client.CoreV1().Services("default").List(s.ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, svc := range list.Items {
			if isCrowd(svc.Name) && len(addresses(&svc)) != len(svc.Spec.ClusterIPs) {
				return fmt.Errorf("Service %s has %v, and its families are %v", svc.Name, addresses(&svc), svc.Spec.IPFamilies)
			}
		}
		return apart(list.Items)
	})
	s.settle()
}

func isCrowd(name string) bool { return len(name) > 6 && name[:6] == "crowd-" }

// apart says who holds an address together with whom it may not share it.
func apart(services []corev1.Service) error {
	for i := range services {
		for j := range i {
			a, b := &services[i], &services[j]
			common := slices.ContainsFunc(addresses(a), func(ip string) bool { return slices.Contains(addresses(b), ip) })
			if common && !mayShare(a, b) {
				return fmt.Errorf("%s and %s both hold one of %v", a.Name, b.Name, addresses(a))
			}
		}
	}
	return nil
}

// lossesWereTold checks that whoever lost an address without having changed was told why. A controller that is killed
// may have written the status, and not the event yet.
func (s *stage) lossesWereTold(kills []time.Time) {
	s.Helper()
	for uid, moments := range observed.losses() {
		moments = slices.DeleteFunc(moments, func(m time.Time) bool { return isNear(m, kills) })
		if len(moments) > 0 && isCrowd(observed.name(uid)) && !slices.ContainsFunc(s.events(uid, "default"), isClearance) {
			s.Errorf("Service %s (%s) lost an address and was not told why: %q", observed.name(uid), uid, observed.assignments(uid))
		}
	}
}

func isNear(moment time.Time, kills []time.Time) bool {
	return slices.ContainsFunc(kills, func(kill time.Time) bool { return moment.Sub(kill).Abs() < 3*time.Second })
}

func isClearance(e corev1.Event) bool { return e.Reason == "ClearAssignment" }

func (o *observer) name(uid types.UID) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.histories[uid].versions[0].svc.Name
}

func removeCrowd(ctx context.Context) error {
	services := world.Client.CoreV1().Services("default")
	list, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, svc := range list.Items {
		if !isCrowd(svc.Name) {
			continue
		}
		if err := services.Delete(ctx, svc.Name, metav1.DeleteOptions{}); err != nil {
			return err
		}
	}
	return nil
}
