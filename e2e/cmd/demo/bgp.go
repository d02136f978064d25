package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/router"
)

// routedNode is the node that is cut off in the second half.
const routedNode lab.Host = "node1"

func (d *demo) startRouter(ctx context.Context) error {
	d.chapter("A router that speaks BGP: FRR, with a client behind it")
	d.say("FRR starts on router, in AS 64513, and waits for the nodes, in AS 64512")
	d.frr = router.NewFRR(d.lab, lab.Router)
	neighbour := router.Neighbour{ASN: 64512, DualStack: true, BFD: &router.BFD{Interval: 100 * time.Millisecond}}
	if err := d.frr.Start(ctx, router.Config{ASN: 64513, Neighbours: router.Nodes(d.lab, neighbour)}); err != nil {
		return err
	}
	d.command("kubectl apply -f e2e/manifests/bgp.yaml")
	d.quote(manifests.BGP)
	if err := d.lab.Apply(ctx, manifests.BGP); err != nil {
		return err
	}
	d.command("lab in router vtysh -c 'show bgp summary'")
	return herald.Await(ctx, "BGP sessions with all nodes", d.allSessions)
}

func (d *demo) allSessions(ctx context.Context) error {
	sessions, err := d.frr.Sessions(ctx)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if !s.Established {
			return fmt.Errorf("that with %s is in state %s", s.Neighbour, s.State)
		}
	}
	d.found("%d nodes have sessions with the router", len(sessions))
	return nil
}

func (d *demo) routeService(ctx context.Context) (err error) {
	d.chapter("A Service at addresses that are on no network: the router learns the way")
	d.command("kubectl apply -f e2e/manifests/service-bgp.yaml")
	took, addresses, err := d.assign(ctx, manifests.ServiceBGP)
	if err != nil {
		return err
	}
	d.routed = addresses
	d.found("%s were assigned in %s", inWords(addresses), milliseconds(took))
	for _, address := range addresses {
		d.command("lab in router ip %s route show %s", map[bool]string{true: "-4", false: "-6"}[address.Is4()], address)
		if err := d.awaitNextHops(ctx, address, d.lab.NodeNames()); err != nil {
			return err
		}
	}
	d.found("the router spreads connections over all nodes (ECMP)")
	return nil
}

// awaitNextHops waits until the router's kernel forwards to an address through these nodes.
func (d *demo) awaitNextHops(ctx context.Context, address netip.Addr, wanted []lab.Host) error {
	return herald.Await(ctx, fmt.Sprintf("a route to %s through %v", address, wanted), func(ctx context.Context) error {
		routes, err := router.KernelRoutes(ctx, d.lab, lab.Router)
		if err != nil {
			return err
		}
		for _, r := range routes {
			if r.Prefix.Addr() == address && len(r.Hosts(d.lab)) == len(wanted) {
				d.say("%s via %s", r.Prefix, words(r.Hosts(d.lab)))
				return nil
			}
		}
		return fmt.Errorf("its routes are %v", routes)
	})
}

func words(hosts []lab.Host) string {
	var names []string
	for _, h := range hosts {
		names = append(names, string(h))
	}
	return strings.Join(names, ", ")
}

func (d *demo) reachFromFar(ctx context.Context) error {
	d.chapter("A client behind the router")
	return d.reach(ctx, lab.Far, d.routed)
}

func (d *demo) cutRoutedNode(ctx context.Context) error {
	d.chapter("The cable of %s is pulled", routedNode)
	if err := d.movePods(ctx, routedNode); err != nil {
		return err
	}
	d.say("the client behind the router opens a new connection every 10 ms to each address")
	clients, err := herald.StartClients(ctx, d.lab, lab.Far, d.routed)
	if err != nil {
		return err
	}
	d.command("lab cable %s out", routedNode)
	if err := d.lab.CableOut(ctx, routedNode); err != nil {
		return err
	}
	if err := clients.AwaitSteady(ctx, time.Now()); err != nil {
		return err
	}
	for i, r := range clients.Stop() {
		d.found("%s: %s", d.routed[i], r)
		d.measured("next hop cut off: outage over "+family(d.routed[i]), "%s", milliseconds(r.Outage))
	}
	if err := d.awaitNextHops(ctx, d.routed[0], d.lab.NodeNames()[1:]); err != nil {
		return err
	}
	d.command("lab cable %s in; kubectl uncordon %s", routedNode, routedNode)
	return errors.Join(d.lab.CableIn(ctx, routedNode), herald.Uncordon(ctx, d.lab, routedNode), d.awaitNextHops(ctx, d.routed[0], d.lab.NodeNames()))
}
