//go:build e2e

package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// Clients behind both routers reach a Service, over both families, through all nodes.
func TestTraffic(t *testing.T) {
	ctx := begin(t)
	everyNode(ctx, t, frr, "frr")
	everyNode(ctx, t, bird, "bird")
	create(ctx, t, advertisement("traffic"))
	addresses := service(ctx, t, "traffic")
	for from, via := range map[lab.Host]lab.Host{lab.Far: lab.Router, lab.Far2: lab.Router2} {
		for _, address := range addresses {
			awaitKernel(ctx, t, via, address, cluster.NodeNames())
			awaitAnswers(ctx, t, from, address, 3)
		}
	}

	t.Run("with externalTrafficPolicy Local, nodes with pods alone are on the way, and pods see the client", func(t *testing.T) {
		must(t, herald.Drain(ctx, cluster, "node3", "app=web"))
		t.Cleanup(func() {
			must(t, herald.Uncordon(context.Background(), cluster, "node3"))
			restorePods(t)
		})
		only := service(ctx, t, "local", local)
		for _, address := range only {
			awaitKernel(ctx, t, lab.Router, address, []lab.Host{"node1", "node2"})
			await(ctx, t, "the client's own address at "+address.String(), func(ctx context.Context) error {
				seen, err := ask(ctx, lab.Far, address, "/client")
				if err != nil {
					return err
				}
				client, err := netip.ParseAddrPort(seen)
				if far := lab.AddressesOf(lab.Far); client.Addr().Unmap() != far.V4 && client.Addr().Unmap() != far.V6 {
					err = fmt.Errorf("it is %q, %w", seen, err)
				}
				return err
			})
		}
	})
}

// restorePods spreads the pods over the nodes again.
func restorePods(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	if output, err := cluster.Kubectl(ctx, "rollout", "restart", "deployment/web").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	must(t, cluster.AwaitRollout(ctx, "default", "deployment/web"))
}

// awaitKernel waits until a router's kernel forwards to an address through these nodes.
func awaitKernel(ctx context.Context, t *testing.T, on lab.Host, address netip.Addr, via []lab.Host) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("the way of %s to %s", on, address), func(ctx context.Context) error {
		routes, err := router.KernelRoutes(ctx, cluster, on)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.Prefix == host(address) {
				if hosts := r.Hosts(cluster); !slices.Equal(hosts, via) {
					return fmt.Errorf("it is through %v", hosts)
				}
				return nil
			}
		}
		return fmt.Errorf("there is none among %d", len(routes))
	})
}
