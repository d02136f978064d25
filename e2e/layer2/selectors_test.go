//go:build e2e

package layer2

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// forFamilies runs a test for each family, all at the same time. The name is fit for a Service.
func forFamilies(t *testing.T, prefix string, test func(ctx context.Context, t *testing.T, name string, family func(*corev1.Service))) {
	t.Parallel()
	for family, option := range families {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			name := prefix + "-" + strings.ToLower(strings.ReplaceAll(family, " ", "-"))
			test(begin(t), t, name, option)
		})
	}
}

func TestWithoutSelectorsTheElectionDecides(t *testing.T) {
	forFamilies(t, "plain", func(ctx context.Context, t *testing.T, name string, family func(*corev1.Service)) {
		addresses := service(ctx, t, name, family)
		awaitSilence(ctx, t, addresses) // nothing announces the pool yet
		advertise(ctx, t, name)
		owner := first(addresses[0], all()...)
		awaitOwner(ctx, t, addresses, owner)
		awaitEvent(ctx, t, name, "nodeAssigned", fmt.Sprintf("announcing from node %q with protocol \"layer2\"", owner))
		awaitStatus(ctx, t, name, owner)
	})
}

// awaitStatus waits until the one ServiceL2Status of a Service names a node, and these links: none where all are permitted.
func awaitStatus(ctx context.Context, t *testing.T, service string, node lab.Host, links ...string) {
	t.Helper()
	statuses := advertisements
	statuses.Resource = "servicel2statuses"
	want := map[string]any{"node": string(node), "serviceName": service, "serviceNamespace": "default"}
	var interfaces []any
	for _, name := range links {
		interfaces = append(interfaces, map[string]any{"name": name})
	}
	if len(links) > 0 {
		want["interfaces"] = interfaces
	}
	await(ctx, t, fmt.Sprintf("a status of %s that says %v", service, want), func(ctx context.Context) error {
		list, err := objects.Resource(statuses).List(ctx, metav1.ListOptions{LabelSelector: "metallb.io/service-name=" + service})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 {
			return fmt.Errorf("there are %d", len(list.Items))
		}
		if status := list.Items[0].Object["status"]; fmt.Sprint(status) != fmt.Sprint(want) {
			return fmt.Errorf("it says %v", status)
		}
		return nil
	})
}

func TestNodeSelectors(t *testing.T) {
	forFamilies(t, "nodes", func(ctx context.Context, t *testing.T, name string, family func(*corev1.Service)) {
		addresses := service(ctx, t, name, family)
		without := others(first(addresses[0], all()...))
		advertise(ctx, t, name, "nodeSelectors: "+nodes(without...))
		awaitOwner(ctx, t, addresses, first(addresses[0], without...))
		advertise(ctx, t, name, "nodeSelectors: [{matchLabels: {kubernetes.io/hostname: nowhere}}]")
		awaitSilence(ctx, t, addresses)
	})
}

func TestPreferredNodeSelectors(t *testing.T) {
	forFamilies(t, "preferred", func(ctx context.Context, t *testing.T, name string, family func(*corev1.Service)) {
		addresses := service(ctx, t, name, family)
		last := others(first(addresses[0], all()...))[0]
		prefer := func(weight int, node lab.Host) string {
			return fmt.Sprintf("- {weight: %d, preference: {matchLabels: {kubernetes.io/hostname: %s}}}", weight, node)
		}
		advertise(ctx, t, name, "preferredNodeSelectors:", prefer(1, last))
		awaitOwner(ctx, t, addresses, last)
		other := others(last)[0]
		advertise(ctx, t, name, "preferredNodeSelectors:", prefer(50, last), prefer(30, other), prefer(30, other))
		awaitOwner(ctx, t, addresses, other)
	})
}

func TestServiceSelectors(t *testing.T) {
	forFamilies(t, "picked", func(ctx context.Context, t *testing.T, name string, family func(*corev1.Service)) {
		addresses := service(ctx, t, name, family)
		advertise(ctx, t, name)
		awaitOwner(ctx, t, addresses, first(addresses[0], all()...))
		kubectl(ctx, t, "label", "service", name, "test-")
		awaitSilence(ctx, t, addresses)
		kubectl(ctx, t, "label", "service", name, "test="+name)
		awaitOwner(ctx, t, addresses, first(addresses[0], all()...))
	})
}

func TestEndpointsOfLocalTraffic(t *testing.T) {
	forFamilies(t, "local", func(ctx context.Context, t *testing.T, name string, family func(*corev1.Service)) {
		addresses := service(ctx, t, name, family, local, byHand)
		advertise(ctx, t, name)
		owner := first(addresses[0], all()...)
		rest := others(owner)
		for _, step := range []struct {
			what      string
			endpoints []endpoint
			want      lab.Host // "" is nobody
		}{
			{"none", nil, ""},
			{"one on a node", []endpoint{ready(rest[0])}, rest[0]},
			{"one comes where the election would put it", []endpoint{ready(rest[0]), ready(owner)}, owner},
			{"it is not ready any more", []endpoint{ready(rest[0]), {node: owner}}, rest[0]},
			{"it terminates, and serves until it has", []endpoint{{node: owner, serving: true, terminating: true}}, owner},
			{"it terminates, and does not serve", []endpoint{{node: owner, terminating: true}, ready(rest[1])}, rest[1]},
			{"all are gone", nil, ""},
		} {
			setEndpoints(ctx, t, name, step.endpoints...)
			t.Log(step.what)
			if step.want == "" {
				awaitSilence(ctx, t, addresses)
				continue
			}
			awaitOwner(ctx, t, addresses, step.want)
		}
	})
}

func TestEndpointsOfClusterTraffic(t *testing.T) {
	forFamilies(t, "cluster", func(ctx context.Context, t *testing.T, name string, family func(*corev1.Service)) {
		addresses := service(ctx, t, name, family, byHand)
		advertise(ctx, t, name)
		owner := first(addresses[0], all()...)
		awaitSilence(ctx, t, addresses)
		setEndpoints(ctx, t, name, ready(others(owner)[0]))
		awaitOwner(ctx, t, addresses, owner)
		setEndpoints(ctx, t, name, endpoint{node: others(owner)[0]})
		awaitSilence(ctx, t, addresses)
	})
}

// TestSharedAddresses: Services that share their addresses, or one of them, are announced by one node.
func TestSharedAddresses(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	pair := []netip.Addr{netip.MustParseAddr("192.168.10.240"), netip.MustParseAddr("fd00:10::240")}
	share := func(name string, port int32, wish string, options ...func(*corev1.Service)) {
		t.Helper()
		options = append(options, annotated("metallb.io/allow-shared-ip", "key"), annotated("metallb.io/loadBalancerIPs", wish),
			func(svc *corev1.Service) { svc.Spec.Ports[0].Port = port })
		service(ctx, t, name, options...)
	}
	// The IPv6 address by itself has another owner than the IPv4 address.
	if first(pair[0], all()...) == first(pair[1], all()...) {
		t.Fatalf("%v have the same owner: choose others", pair)
	}
	share("six", 81, pair[1].String(), families["IPv6"])
	awaitOwner(ctx, t, pair[1:], first(pair[1], all()...))
	share("both", 82, pair[0].String()+","+pair[1].String(), dualStack)
	awaitOwner(ctx, t, pair, first(pair[1], all()...)) // of the older one: nothing has moved
	removeService(t, "six")
	awaitOwner(ctx, t, pair, first(pair[0], all()...))
	share("six", 81, pair[1].String(), families["IPv6"])
	awaitOwner(ctx, t, pair, first(pair[0], all()...))
	removeService(t, "both")
	awaitOwner(ctx, t, pair[1:], first(pair[1], all()...))
	awaitSilence(ctx, t, pair[:1])
}
