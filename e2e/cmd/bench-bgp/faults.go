package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/probe"
	"github.com/herald-lb/herald/e2e/router"
)

// victim is the node that is cut off. The pods are elsewhere, so that an outage is that of the way alone.
const victim lab.Host = "node1"

func (b *bench) cuts(ctx context.Context) error {
	for _, how := range []struct {
		name, spec string
		neighbour  router.Neighbour
	}{
		{"hold time 3 s", "holdTime: 3s", router.Neighbour{}},
		{"BFD 100 ms × 3", "bfdProfile: every-100-ms", router.Neighbour{BFD: &router.BFD{Interval: 100 * time.Millisecond}}},
		{"BFD 50 ms × 3", "bfdProfile: every-50-ms", router.Neighbour{BFD: &router.BFD{Interval: 50 * time.Millisecond}}},
	} {
		if err := b.cutsWith(ctx, how.name, how.neighbour, how.spec); err != nil {
			return fmt.Errorf("%s: %w", how.name, err)
		}
	}
	return nil
}

const profiles = `
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: every-100-ms, namespace: metallb-system}
spec: {transmitInterval: 100, receiveInterval: 100, detectMultiplier: 3}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: every-50-ms, namespace: metallb-system}
spec: {transmitInterval: 50, receiveInterval: 50, detectMultiplier: 3}
`

func (b *bench) cutsWith(ctx context.Context, name string, neighbour router.Neighbour, spec string) error {
	addresses, err := b.serve(ctx)
	if err != nil {
		return err
	}
	if err := b.peerAll(ctx, neighbour, spec); err != nil {
		return err
	}
	outages := make([][]time.Duration, len(addresses))
	for run := range b.runs {
		if err := b.settle(ctx, addresses); err != nil {
			return err
		}
		if neighbour.BFD != nil {
			if err := b.awaitWatched(ctx); err != nil {
				return err
			}
		}
		reports, err := b.under(ctx, addresses, func() error { return b.cluster.CableOut(ctx, victim) })
		if err != nil {
			return err
		}
		say("%s: %2d: %s; %s", name, run+1, reports[0], reports[1])
		for i, r := range reports {
			outages[i] = append(outages[i], r.Outage)
		}
		if err := b.cluster.CableIn(ctx, victim); err != nil {
			return err
		}
	}
	for i, address := range addresses {
		b.span(fmt.Sprintf("cable cut, %s: outage over %s", name, family(address)), outages[i])
	}
	return errors.Join(b.settle(ctx, addresses), b.unpeer(ctx, "frr"))
}

// serve makes a Service whose pods are on the nodes that stay.
func (b *bench) serve(ctx context.Context) ([]netip.Addr, error) {
	if err := b.cluster.Apply(ctx, manifests.Service+"---\n"+profiles); err != nil {
		return nil, err
	}
	if err := herald.Drain(ctx, b.cluster, victim, "app=web"); err != nil {
		return nil, err
	}
	if err := b.cluster.AwaitRollout(ctx, "default", "deployment/web"); err != nil {
		return nil, err
	}
	return herald.AwaitAddresses(ctx, b.cluster, "default", "web", 2)
}

// settle waits until the router spreads connections over all nodes.
func (b *bench) settle(ctx context.Context, addresses []netip.Addr) error {
	return herald.Await(ctx, "routes through all nodes", func(ctx context.Context) error {
		routes, err := router.KernelRoutes(ctx, b.cluster, lab.Router)
		if err != nil {
			return err
		}
		whole := 0
		for _, r := range routes {
			for _, a := range addresses {
				if r.Prefix == host(a) && len(r.NextHops) == len(b.cluster.NodeNames()) {
					whole++
				}
			}
		}
		if whole < len(addresses) {
			return fmt.Errorf("they are %v", routes)
		}
		return nil
	})
}

// under makes a fault while a client behind the router tries to connect, and tells what it saw once each connection is
// answered again.
func (b *bench) under(ctx context.Context, addresses []netip.Addr, fault func() error) ([]probe.Report, error) {
	clients, err := herald.StartClients(ctx, b.cluster, lab.Far, addresses)
	if err != nil {
		return nil, err
	}
	err = fault()
	if err == nil {
		err = clients.AwaitSteady(ctx, time.Now())
	}
	return clients.Stop(), err
}

func (b *bench) restarts(ctx context.Context) error {
	addresses, err := b.serve(ctx)
	if err != nil {
		return err
	}
	if err := b.peerAll(ctx, router.Neighbour{}, "enableGracefulRestart: true"); err != nil {
		return err
	}
	failed := make([][]int, len(addresses))
	for run := range (b.runs + 2) / 3 { // each takes ten seconds and more
		if err := b.settle(ctx, addresses); err != nil {
			return err
		}
		reports, err := b.under(ctx, addresses, func() error { return b.restartSpeakers(ctx) })
		if err != nil {
			return err
		}
		say("%2d: %s; %s", run+1, reports[0], reports[1])
		for i, r := range reports {
			failed[i] = append(failed[i], r.Failed+r.Parted) // no way is to move
		}
	}
	for i, address := range addresses {
		b.number("rolling restart with graceful restart: failed connections over "+family(address), failed[i])
	}
	return b.unpeer(ctx, "frr")
}

func (b *bench) restartSpeakers(ctx context.Context) error {
	restart := b.cluster.Kubectl(ctx, "rollout", "restart", "--namespace", herald.Namespace, "daemonset/speaker")
	if output, err := restart.CombinedOutput(); err != nil {
		return fmt.Errorf("restart the speakers: %w: %s", err, output)
	}
	return errors.Join(herald.AwaitReady(ctx, b.cluster), b.awaitSessions(ctx))
}

func family(address netip.Addr) string {
	if address.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
