//go:build e2e

package bgp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// profile is a BFDProfile of 100 ms × 3 with further lines of its spec.
func profile(name, options string) string {
	return fmt.Sprintf("apiVersion: metallb.io/v1beta1\nkind: BFDProfile\nmetadata: {name: %s}\nspec: {transmitInterval: 100, receiveInterval: 100, detectMultiplier: 3, %s}\n", name, options)
}

// quick is the same at routers.
var quick = router.BFD{Interval: 100 * time.Millisecond}

// watched wants a session that is up, and its path too.
func watched(s sessionState) error {
	return errors.Join(isUp(s), want("BFD state", s.BFDStatus, "Up"))
}

// lost wants a session that BFD has taken down, for this reason.
func lost(diagnostic string) func(sessionState) error {
	return func(s sessionState) error {
		return errors.Join(because("bfdDown", "BFD", diagnostic)(s), want("diagnostic", s.BFDDiagnostic, diagnostic))
	}
}

const (
	expired  = "Control Detection Time Expired"
	noEcho   = "Echo Function Failed"
	signaled = "Neighbor Signaled Session Down"
)

// Each row is a BFDProfile, and what the router is told. Once it is up, the cable is pulled from the router, and plugged
// in again. BGP alone would go on for a minute and a half.
func TestBFDProfile(t *testing.T) {
	passive := quick
	passive.Passive = true
	for i, row := range []struct {
		name, options string
		there         router.BFD
	}{
		{name: "both speak", there: quick},
		{name: "the node waits", options: "passiveMode: true", there: quick},
		{name: "the router waits", there: passive},
	} {
		t.Run(row.name, func(t *testing.T) {
			create(begin(t), t, profile("fast", row.options))
			onEach(t, func(ctx context.Context, t *testing.T, r aRouter, name string) {
				name = fmt.Sprintf("%s-%d", name, i) // what was said of the peer before is not about this one
				configure(ctx, t, r, router.Neighbour{Address: node1.V4, ASN: nodesASN, BFD: &row.there})
				create(ctx, t, peer(name, lab.AddressesOf(r.Host()).V4, append(slices.Clone(external), "bfdProfile: fast", on("node1"))...))
				awaitState(ctx, t, "node1", name, watched)
				losesItsCable(ctx, t, r.Host(), name)
			})
		})
	}
}

// losesItsCable has a router go dark and come back.
func losesItsCable(ctx context.Context, t *testing.T, r lab.Host, peer string) {
	t.Helper()
	t.Cleanup(func() { must(t, cluster.CableIn(context.Background(), r)) })
	must(t, cluster.CableOut(ctx, r))
	awaitState(ctx, t, "node1", peer, lost(expired))
	awaitEvent(ctx, t, peer, "bfdDown", expired)
	must(t, cluster.CableIn(ctx, r))
	awaitState(ctx, t, "node1", peer, watched)
}

// When the router's end of BFD dies, the session is down, though BGP itself would go on.
func TestBFDDies(t *testing.T) {
	ctx := begin(t)
	create(ctx, t, profile("fast", ""))
	neighbour := router.Neighbour{Address: node1.V4, ASN: nodesASN, BFD: &quick}
	for name, r := range map[string]aRouter{"dies": frr, "lives": bird} {
		configure(ctx, t, r, neighbour)
		create(ctx, t, peer(name, lab.AddressesOf(r.Host()).V4, append(slices.Clone(external), "bfdProfile: fast", on("node1"))...))
		awaitState(ctx, t, "node1", name, watched)
	}

	must(t, frr.KillBFD())
	awaitState(ctx, t, "node1", "dies", lost(expired))
	awaitColumns(ctx, t, "dies", "0/1", "node1: BFD: "+expired)
	awaitState(ctx, t, "node1", "lives", watched)
	must(t, frr.StartBFD(ctx))
	configure(ctx, t, frr, neighbour)
	awaitState(ctx, t, "node1", "dies", watched)
}

// A router whose BFD is taken out of service says so, and says nothing about the path: the session stays (RFC 5882,
// section 3.2).
func TestBFDIsTakenOutOfService(t *testing.T) {
	ctx := begin(t)
	create(ctx, t, profile("fast", ""))
	configure(ctx, t, frr, router.Neighbour{Address: node1.V4, ASN: nodesASN, BFD: &quick})
	create(ctx, t, peer("retired", lab.AddressesOf(lab.Router).V4, append(slices.Clone(external), "bfdProfile: fast", on("node1"))...))
	awaitState(ctx, t, "node1", "retired", watched)
	before := awaitSession(ctx, t, frr, node1.V4, established)

	must(t, frr.Command(ctx, "configure terminal", "bfd", "profile "+quick.Profile(), "shutdown"))
	awaitState(ctx, t, "node1", "retired", func(s sessionState) error {
		return errors.Join(isUp(s), want("BFD state", s.BFDStatus, "Down"), want("diagnostic", s.BFDDiagnostic, signaled))
	})
	must(t, frr.Command(ctx, "configure terminal", "bfd", "profile "+quick.Profile(), "no shutdown"))
	awaitState(ctx, t, "node1", "retired", watched)
	awaitSession(ctx, t, frr, node1.V4, func(s router.Session) error { return want("number of times that it came up", s.Ups, before.Ups) })
}

// Echo packets find a router that talks but does not forward. BIRD knows no echo.
func TestBFDEcho(t *testing.T) {
	ctx := begin(t)
	create(ctx, t, profile("echo", "echoMode: true, echoInterval: 50"))
	echo := quick
	echo.Echo = true
	configure(ctx, t, frr, router.Neighbour{Address: node1.V4, ASN: nodesASN, BFD: &echo})
	create(ctx, t, peer("echo", lab.AddressesOf(lab.Router).V4, append(slices.Clone(external), "bfdProfile: echo", on("node1"))...))
	awaitState(ctx, t, "node1", "echo", watched)

	forward := func(ctx context.Context, yes string) {
		in(ctx, t, lab.Router, "sysctl", "--quiet", "--write", "net.ipv4.ip_forward="+yes)
	}
	t.Cleanup(func() { forward(context.Background(), "1") })
	forward(ctx, "0")
	awaitState(ctx, t, "node1", "echo", lost(noEcho))
	awaitEvent(ctx, t, "echo", "bfdDown", noEcho)
	forward(ctx, "1")
	awaitState(ctx, t, "node1", "echo", watched)
}

// Routers behind others are watched over several hops (RFC 5883), as far as minimumTtl allows: of the packets that BIRD
// sends, with a TTL of 64, one is left out by the default.
func TestBFDMultiHop(t *testing.T) {
	farFRR, farBIRD := router.NewFRR(cluster, lab.Far), router.NewBIRD(cluster, lab.Far2)
	t.Cleanup(func() { must(t, errors.Join(farFRR.Kill(), farBIRD.Kill())) })
	neighbour := router.Neighbour{Address: node1.V4, ASN: nodesASN, MultiHop: true, BFD: &quick}
	for name, row := range map[string]struct {
		router interface {
			aRouter
			Start(context.Context, router.Config) error
		}
		behind  lab.Host
		options string
	}{"frr": {farFRR, lab.Router, ""}, "bird": {farBIRD, lab.Router2, "minimumTtl: 63"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := begin(t)
			must(t, row.router.Start(ctx, router.Config{ASN: routerASN, Neighbours: []router.Neighbour{neighbour}}))
			create(ctx, t, profile("far-"+name, row.options))
			create(ctx, t, peer("far-"+name, lab.AddressesOf(row.router.Host()).V4, append(slices.Clone(external), "ebgpMultiHop: true", "bfdProfile: far-"+name, on("node1"))...))
			awaitState(ctx, t, "node1", "far-"+name, watched)
			if row.options != "" {
				tooFar(ctx, t, "far-"+name, row.options)
			}
			losesItsCable(ctx, t, row.behind, "far-"+name)
		})
	}
}

// tooFar has the router be further away than minimumTtl allows, for a while.
func tooFar(ctx context.Context, t *testing.T, name, near string) {
	t.Helper()
	change(ctx, t, "BFDProfile", name, "spec: {minimumTtl: 254}")
	awaitState(ctx, t, "node1", name, lost(expired))
	change(ctx, t, "BFDProfile", name, "spec: {"+near+"}")
	awaitState(ctx, t, "node1", name, watched)
}
