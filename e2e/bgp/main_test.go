//go:build e2e

package bgp

import (
	"context"
	"errors"
	"testing"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// root is the repository's.
const root = "../.."

// The lab that all tests share: three light nodes, Herald, three pods that answer, a pool of addresses that are on no
// network of the lab, FRR on router and BIRD on router2. Each test brings peers, advertisements and Services of its own.
var (
	cluster *lab.Lab
	frr     *router.FRR
	bird    *router.BIRD
)

func TestMain(m *testing.M) {
	programs := herald.Programs(root)
	programs["lab.herald/shell"] = "/bin/sh" // for what tests make of the machine's own programs
	herald.Stage{Lab: lab.Options{Name: "bgp", Light: true, Programs: programs}, SetUp: setUp, Enter: enter}.Main(m)
}

func setUp(ctx context.Context, l *lab.Lab) error {
	if err := herald.InstallLight(ctx, l, root); err != nil {
		return err
	}
	return herald.Furnish(ctx, l, pool)
}

func enter(ctx context.Context, l *lab.Lab) (err error) {
	cluster = l
	if objects, err = newObjects(l); err != nil {
		return err
	}
	frr, bird = router.NewFRR(l, lab.Router), router.NewBIRD(l, lab.Router2)
	return errors.Join(startRouters(ctx), addStrangers(ctx))
}

func startRouters(ctx context.Context) error {
	idle := router.Config{ASN: routerASN}
	return errors.Join(frr.Kill(), bird.Kill(), frr.Start(ctx, idle), bird.Start(ctx, idle))
}

// pool is routed alone: an address of it is reached over BGP or not at all.
const pool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: routed, namespace: metallb-system, labels: {kind: routed}}
spec:
  addresses: [198.51.100.0/24, "2001:db8:51::/120"]
`
