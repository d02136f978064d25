package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// samples are how many Services each latency is measured with.
const samples = 200

// routes takes the moment of the status from a watch of the API server, as the speakers do. A route is in FRR's table when
// BGP has it; FRR itself takes 50 ms and more from there to the kernel.
func (b *bench) routes(ctx context.Context) error {
	var table, kernel []time.Duration
	err := b.latencies(ctx, corev1.ServiceExternalTrafficPolicyCluster, func(s sample) error {
		table = append(table, s.known.Sub(s.assigned))
		kernel = append(kernel, s.routed.Sub(s.assigned))
		return nil
	})
	b.span("address in the status → route in FRR's table", table)
	b.span("address in the status → route in the router's kernel", kernel)
	return err
}

func (b *bench) withdrawals(ctx context.Context) error {
	slices, err := b.client.DiscoveryV1().EndpointSlices("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("watch EndpointSlices: %w", err)
	}
	defer slices.Stop()
	var table, kernel []time.Duration
	err = b.latencies(ctx, corev1.ServiceExternalTrafficPolicyLocal, func(s sample) error {
		gone := endpoints(s.name, false)
		if _, err := b.client.DiscoveryV1().EndpointSlices("default").Update(ctx, gone, metav1.UpdateOptions{}); err != nil {
			return err
		}
		changed, err := awaitNoEndpoint(ctx, slices, s.name)
		if err != nil {
			return err
		}
		withdrawn, err := b.frr.AwaitPath(ctx, s.prefix, false)
		if err != nil {
			return err
		}
		forgotten, err := s.watch.Await(ctx, s.prefix, true, s.routed)
		table, kernel = append(table, withdrawn.Sub(changed)), append(kernel, forgotten.Sub(changed))
		return err
	})
	b.span("last local endpoint gone → route gone from FRR's table", table)
	b.span("last local endpoint gone → route gone from the router's kernel", kernel)
	return err
}

// sample is one Service that was created, with its route.
type sample struct {
	name   string
	prefix netip.Prefix
	watch  *router.KernelWatch
	// When the API server told of its address, FRR's BGP knew the way to it, and so did the router's kernel.
	assigned, known, routed time.Time
}

// latencies creates Services of one endpoint one by one, and tells of each when its route is there.
func (b *bench) latencies(ctx context.Context, policy corev1.ServiceExternalTrafficPolicy, measured func(sample) error) error {
	if err := b.peerAll(ctx, router.Neighbour{}, ""); err != nil {
		return err
	}
	kernel, err := router.WatchKernel(ctx, b.cluster, lab.Router)
	if err != nil {
		return err
	}
	defer kernel.Stop()
	services, err := b.client.CoreV1().Services("default").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("watch Services: %w", err)
	}
	defer services.Stop()
	for n := range samples {
		s := sample{name: fmt.Sprintf("%s-%d", strings.ToLower(string(policy)), n), watch: kernel}
		if err := b.sample(ctx, &s, policy, services); err != nil {
			return err
		}
		if err := measured(s); err != nil {
			return err
		}
		if err := b.client.CoreV1().Services("default").Delete(ctx, s.name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		// The next one may be given this address: its route must be gone by then.
		if policy == corev1.ServiceExternalTrafficPolicyCluster {
			if _, err := kernel.Await(ctx, s.prefix, true, s.routed); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) sample(ctx context.Context, s *sample, policy corev1.ServiceExternalTrafficPolicy, services watch.Interface) error {
	if _, err := b.client.DiscoveryV1().EndpointSlices("default").Create(ctx, endpoints(s.name, true), metav1.CreateOptions{}); err != nil {
		return err
	}
	before := time.Now()
	if _, err := b.client.CoreV1().Services("default").Create(ctx, service(s.name, policy), metav1.CreateOptions{}); err != nil {
		return err
	}
	var err error
	if s.assigned, s.prefix, err = awaitAssigned(ctx, services, s.name); err != nil {
		return err
	}
	if s.known, err = b.frr.AwaitPath(ctx, s.prefix, true); err != nil {
		return err
	}
	s.routed, err = s.watch.Await(ctx, s.prefix, false, before)
	return err
}

func awaitAssigned(ctx context.Context, services watch.Interface, name string) (time.Time, netip.Prefix, error) {
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, netip.Prefix{}, ctx.Err()
		case event, open := <-services.ResultChan():
			if !open {
				return time.Time{}, netip.Prefix{}, fmt.Errorf("wait for the address of %s: the watch has ended", name)
			}
			svc, ok := event.Object.(*corev1.Service)
			if !ok || svc.Name != name || len(svc.Status.LoadBalancer.Ingress) == 0 {
				continue
			}
			addresses, err := herald.AddressesOf(svc)
			if err != nil {
				return time.Time{}, netip.Prefix{}, err
			}
			return time.Now(), host(addresses[0]), nil
		}
	}
}

func awaitNoEndpoint(ctx context.Context, slices watch.Interface, name string) (time.Time, error) {
	for {
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case event, open := <-slices.ResultChan():
			if !open {
				return time.Time{}, fmt.Errorf("wait for the endpoint of %s to go: the watch has ended", name)
			}
			slice, ok := event.Object.(*discoveryv1.EndpointSlice)
			if ok && slice.Name == name && len(slice.Endpoints) == 0 {
				return time.Now(), nil
			}
		}
	}
}

// endpoints are one on node1, or none. No controller keeps them, as the Service has no selector.
func endpoints(service string, any bool) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	if any {
		ready, node := true, string(lab.NodeName(1))
		slice.Endpoints = []discoveryv1.Endpoint{{
			Addresses: []string{"10.244.1.250"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}}
	}
	return slice
}
