//go:build e2e

package upgrade

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

func TestAnotherVersionTakesOver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	next := must(current())(t)
	for _, version := range []string{next, other} {
		t.Run("version "+version+" takes over with no address and no connection lost", func(t *testing.T) {
			replace(ctx, t, version)
		})
	}
}

func replace(ctx context.Context, t *testing.T, version string) {
	manifest := must(manifestOf(version))(t)
	settle(ctx, t)
	before := held(ctx, t)
	clients := herald.Clients{}
	for on, service := range map[lab.Host]string{lab.Client: "web", lab.Far: "routed"} {
		clients = append(clients, must(herald.StartPatientClients(ctx, cluster, on, before["default/"+service]))(t)...)
	}
	births := bear(ctx, t, fmt.Sprintf("born-%d", time.Now().Unix()))

	began := time.Now()
	check(t, cluster.Apply(ctx, manifest))
	check(t, herald.AwaitReady(ctx, cluster))
	took := time.Since(began)
	settle(ctx, t)
	born := births(t)
	check(t, clients.AwaitSteady(ctx, time.Now()))

	for _, f := range clients.Failures() {
		t.Errorf("%v after the manifest was applied: %v", f.Start.Sub(began), f.Err)
	}
	after := held(ctx, t)
	for service, addresses := range before {
		if !slices.Equal(addresses, after[service]) {
			t.Errorf("Service %s held %v and holds %v", service, addresses, after[service])
		}
	}
	checkDistinct(t, after)
	checkVersion(ctx, t, version)
	t.Logf("in %v; %d new Services, of which one waited longest for its address: %v", took, len(born), slices.MaxFunc(born, longer).Took)
}

// settle waits until each address on the LAN has an owner, and the router's kernel spreads connections over all nodes.
func settle(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, address := range must(herald.AwaitAddresses(ctx, cluster, "default", "web", 2))(t) {
		must(herald.AwaitOwner(ctx, cluster, address, herald.Anyone))(t)
	}
	routed := must(herald.AwaitAddresses(ctx, cluster, "default", "routed", 2))(t)
	check(t, herald.Await(ctx, "routes through all nodes", func(ctx context.Context) error {
		routes, err := router.KernelRoutes(ctx, cluster, lab.Router)
		if err != nil {
			return err
		}
		whole := func(r router.KernelRoute) bool {
			return slices.Contains(routed, r.Prefix.Addr()) && slices.Equal(r.Hosts(cluster), cluster.NodeNames())
		}
		if n := len(slices.DeleteFunc(slices.Clone(routes), func(r router.KernelRoute) bool { return !whole(r) })); n != len(routed) {
			return fmt.Errorf("they are %v", routes)
		}
		return nil
	}))
}

// held are the addresses of all Services that have any.
func held(ctx context.Context, t *testing.T) map[string][]netip.Addr {
	t.Helper()
	list := must(cluster.Client().CoreV1().Services("").List(ctx, metav1.ListOptions{}))(t)
	all := map[string][]netip.Addr{}
	for _, svc := range list.Items {
		if addresses := must(herald.AddressesOf(&svc))(t); len(addresses) > 0 {
			all[svc.Namespace+"/"+svc.Name] = addresses
		}
	}
	return all
}

// bear creates a Service each 100 ms until it is told to end. It then returns when all of them have addresses.
func bear(ctx context.Context, t *testing.T, name string) (end func(*testing.T) []herald.Assignment) {
	t.Helper()
	watch := must(herald.WatchAssignments(ctx, cluster, "default"))(t)
	bearing, stop := context.WithCancel(ctx)
	failed := make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-bearing.Done():
				failed <- nil
				return
			case <-time.After(100 * time.Millisecond):
			}
			if err := watch.Create(ctx, newService(fmt.Sprintf("%s-%d", name, n))); err != nil {
				failed <- err
				return
			}
		}
	}()
	return func(t *testing.T) []herald.Assignment {
		t.Helper()
		defer watch.Stop()
		stop()
		check(t, <-failed)
		return must(watch.Await(ctx))(t)
	}
}

func newService(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"metallb.io/address-pool": "new"}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

func longer(a, b herald.Assignment) int { return int(a.Took - b.Took) }

// checkDistinct: no Service of these may share.
func checkDistinct(t *testing.T, held map[string][]netip.Addr) {
	t.Helper()
	holders := map[netip.Addr]string{}
	for service, addresses := range held {
		for _, a := range addresses {
			if other, taken := holders[a]; taken {
				t.Errorf("%s is held by %s and by %s", a, other, service)
			}
			holders[a] = service
		}
	}
}

// checkVersion: every pod is of a version, and the programs say so.
func checkVersion(ctx context.Context, t *testing.T, version string) {
	t.Helper()
	for component, workload := range map[string]string{"controller": "deployment/controller", "speaker": "daemonset/speaker"} {
		for _, p := range must(herald.Pods(ctx, cluster, component))(t) {
			if image := p.Spec.Containers[0].Image; !strings.HasSuffix(image, ":"+version) {
				t.Errorf("pod %s runs %s", p.Name, image)
			}
		}
		log := string(must(cluster.Kubectl(ctx, "logs", "--namespace", herald.Namespace, workload).Output())(t))
		if !strings.Contains(log, `"version":"`+version+" ") {
			t.Errorf("the %s does not say that it is of version %s: %.300s", component, version, log)
		}
	}
}

// must ends a test if what was called returned an error: must(f())(t).
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return value
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
