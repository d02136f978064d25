//go:build e2e

package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// An FRR that somebody left behind on a node holds the session with the router. The node says so and leaves it alone; and
// the session is Herald's as soon as FRR has gone. The router has a way at every moment: by the other nodes where FRR takes its
// leave, and by this one too where routes are kept over a restart.
func TestRival(t *testing.T) {
	stop := func(ctx context.Context, f *router.FRR) error { return f.Stop(ctx) }
	kill := func(_ context.Context, f *router.FRR) error { return f.Kill() }
	for name, c := range map[string]struct {
		graceful bool
		end      func(context.Context, *router.FRR) error
	}{"leaves": {false, stop}, "leaves-gracefully": {true, stop}, "dies-gracefully": {true, kill}} {
		t.Run("one that "+name, func(t *testing.T) {
			ctx := begin(t)
			configure(ctx, t, frr, router.Nodes(cluster, router.Neighbour{ASN: nodesASN, DualStack: true})...)
			prefix := host(service(ctx, t, "rival")[0])
			left := leaveBehind(ctx, t, "node1", prefix, c.graceful)
			awaitSession(ctx, t, frr, node1.V4, established)
			create(ctx, t, advertisement("rival"))
			create(ctx, t, peer(name, lab.AddressesOf(lab.Router).V4, append(slices.Clone(external), fmt.Sprintf("enableGracefulRestart: %v", c.graceful))...))

			awaitState(ctx, t, "node1", name, because("rivalSession", "another program on this node", node1.V4.String(), "frr-k8s"))
			awaitEvent(ctx, t, name, "rivalSession", `node "node1"`, "frr-k8s")
			awaitState(ctx, t, "node2", name, isUp)
			awaitRoutes(ctx, t, frr, prefix, nodes4(), fresh)
			before := awaitSession(ctx, t, frr, node1.V4, established)
			watch, err := router.WatchKernel(ctx, cluster, lab.Router)
			must(t, err)
			defer watch.Stop()

			must(t, c.end(ctx, left))
			awaitState(ctx, t, "node1", name, isUp)
			awaitRoutes(ctx, t, frr, prefix, nodes4(), fresh)
			after := awaitSession(ctx, t, frr, node1.V4, established)
			if ups := after.Ups - before.Ups; ups != 1 {
				t.Errorf("the session came up %d times", ups)
			}
			changes := slices.DeleteFunc(watch.Events(), func(e router.KernelEvent) bool { return e.Prefix != prefix })
			if c.graceful && len(changes) > 0 || slices.ContainsFunc(changes, func(e router.KernelEvent) bool { return e.Gone }) {
				t.Errorf("the router's way changed: %+v", changes)
			}
		})
	}
}

// leaveBehind runs an FRR on a node that offers a prefix to the router, as frr-k8s does.
func leaveBehind(ctx context.Context, t *testing.T, node lab.Host, prefix netip.Prefix, graceful bool) *router.FRR {
	t.Helper()
	there := lab.AddressesOf(lab.Router).V4
	extra := []string{
		fmt.Sprintf("router bgp %d", nodesASN), " no bgp network import-check", fmt.Sprintf(" no neighbor %s passive", there),
		" address-family ipv4 unicast", "  network " + prefix.String(), " exit-address-family",
	}
	if graceful {
		extra = slices.Insert(extra, 1, " bgp graceful-restart preserve-fw-state", fmt.Sprintf(" neighbor %s graceful-restart", there))
	}
	left := router.NewFRR(cluster.Beside(), node)
	must(t, left.Start(ctx, router.Config{
		ASN: nodesASN, Neighbours: []router.Neighbour{{Address: there, ASN: routerASN}}, Extra: strings.Join(extra, "\n"),
	}))
	t.Cleanup(func() { must(t, left.Kill()) })
	return left
}
