//go:build e2e

package suite

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
)

func TestReachability(t *testing.T) {
	ctx := begin(t)
	addresses := served(ctx, t, "reached")
	for _, from := range []lab.Host{lab.Client, lab.Router, lab.Far} {
		t.Run(fmt.Sprintf("%s reaches pods on all nodes, over both families", from), func(t *testing.T) {
			for _, a := range addresses {
				awaitNodes(ctx, t, cluster, from, a)
			}
		})
	}

	t.Run("one node answers for both addresses", func(t *testing.T) {
		owner(ctx, t, addresses, herald.Anyone)
	})

	t.Run("nobody answers for an address that no Service has", func(t *testing.T) {
		awaitSilence(ctx, t, pool4[1].Prev())
		awaitSilence(ctx, t, pool6[1].Prev())
	})

	t.Run("with externalTrafficPolicy Local, pods see the client's own address", func(t *testing.T) {
		svc := service(ctx, t, "local", dualStack, func(svc *corev1.Service) { svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal })
		for _, a := range awaitAddresses(ctx, t, svc, 2) {
			seen := must(get(ctx, cluster, lab.Client, a, "/client"))(t)
			client := lab.AddressesOf(lab.Client)
			if from := must(netip.ParseAddrPort(seen))(t).Addr().Unmap(); from != client.V4 && from != client.V6 {
				t.Errorf("a request to %s came from %s", a, from)
			}
		}
	})
}

// awaitNodes asks at an address until pods on all nodes have answered.
func awaitNodes(ctx context.Context, t *testing.T, l *lab.Lab, from lab.Host, address netip.Addr) {
	t.Helper()
	seen := map[string]bool{}
	err := herald.Await(ctx, fmt.Sprintf("answers of all nodes to %s at %s", from, address), func(ctx context.Context) error {
		answer, err := get(ctx, l, from, address, "/node")
		seen[answer] = true
		if err == nil && len(seen) < len(l.NodeNames()) {
			err = fmt.Errorf("%v answered", seen)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// awaitSilence waits until nobody answers for an address.
func awaitSilence(ctx context.Context, t *testing.T, address netip.Addr) {
	t.Helper()
	err := herald.Await(ctx, "nobody to answer for "+address.String(), func(ctx context.Context) error {
		hosts, err := herald.Answers(ctx, cluster, address)
		if err == nil && len(hosts) > 0 {
			err = fmt.Errorf("%v answers", hosts)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestReachabilityByIptables is in a small lab of its own: a kube-proxy does not change its mode while it runs.
func TestReachabilityByIptables(t *testing.T) {
	ctx := begin(t)
	name := cluster.Name + "iptables"
	small, err := lab.Up(ctx, lab.Options{Name: name, Nodes: 1, ProxyMode: "iptables", Steps: os.Stdout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	if err := install(ctx, small); err != nil {
		t.Fatal(err)
	}
	if err := small.Apply(ctx, manifests.Service); err != nil {
		t.Fatal(err)
	}
	addresses := must(herald.AwaitAddresses(ctx, small, "default", "web", 2))(t)
	for _, from := range []lab.Host{lab.Client, lab.Far} {
		for _, a := range addresses {
			if answer := awaitAnswer(ctx, t, small, from, a); !strings.HasPrefix(answer, "hello from pod web-") {
				t.Errorf("%s was answered %q at %s", from, answer, a)
			}
		}
	}
}
