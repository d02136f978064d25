package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
)

// crowd is the namespace of the Services that are created in numbers.
const crowd = "crowd"

const crowdPool = `
apiVersion: v1
kind: Namespace
metadata:
  name: crowd
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: crowd
  namespace: metallb-system
spec:
  addresses: [10.200.0.0/16]
  serviceAllocation:
    namespaces: [crowd]
`

// crowdService needs no node port, of which there are fewer than Services here, and no rules of kube-proxy, whose work
// would take the machine's cores from what is measured.
func crowdService(name string) *corev1.Service {
	none := false
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"service.kubernetes.io/service-proxy-name": "none"}},
		Spec: corev1.ServiceSpec{
			Type:                          corev1.ServiceTypeLoadBalancer,
			AllocateLoadBalancerNodePorts: &none,
			Ports:                         []corev1.ServicePort{{Port: 80}},
		},
	}
}

// assignments creates Services at 10/s for 20 s.
func (b *bench) assignments(ctx context.Context) error {
	return b.assign(ctx, "created at 10/s: time to address", 1, 200, 100*time.Millisecond)
}

func (b *bench) burst(ctx context.Context) error {
	return b.assign(ctx, "3,000 created by 8 clients: time to address", 8, 3000, 0)
}

// assign has clients create Services, each at a pace, and removes them when all have their addresses.
func (b *bench) assign(ctx context.Context, what string, clients, count int, pace time.Duration) error {
	if err := b.cluster.Apply(ctx, crowdPool); err != nil {
		return err
	}
	watch, err := herald.WatchAssignments(ctx, b.cluster, crowd)
	if err != nil {
		return err
	}
	defer watch.Stop()
	if err := create(ctx, watch, clients, count, pace); err != nil {
		return err
	}
	assignments, err := watch.Await(ctx)
	if err != nil {
		return err
	}
	var took []time.Duration
	for _, a := range assignments {
		took = append(took, a.Took)
	}
	b.span(what, took)
	say("%d Services have addresses", len(took))
	return b.disperse(ctx)
}

// create shares the Services out among clients.
func create(ctx context.Context, watch *herald.Watch, clients, count int, pace time.Duration) error {
	done := make(chan error)
	for client := range clients {
		go func() {
			var err error
			for n := client; n < count && err == nil; n += clients {
				err = watch.Create(ctx, crowdService(fmt.Sprintf("crowd-%04d", n)))
				time.Sleep(pace)
			}
			done <- err
		}()
	}
	var all error
	for range clients {
		all = errors.Join(all, <-done)
	}
	return all
}

// disperse deletes the Services, and returns when their addresses are free again.
func (b *bench) disperse(ctx context.Context) error {
	deletion := b.cluster.Kubectl(ctx, "delete", "namespace", crowd, "--timeout", "5m")
	if output, err := deletion.CombinedOutput(); err != nil {
		return fmt.Errorf("delete the Services: %w: %s", err, output)
	}
	return nil
}
