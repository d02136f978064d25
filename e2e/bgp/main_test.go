//go:build e2e

package bgp

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/router"
)

// root is the repository's.
const root = "../.."

var (
	keep    = flag.Bool("keep", false, "use the lab that an earlier run has kept, if there is one, and keep it")
	labName = flag.String("lab", "bgp", "the lab's name")
	bin     = flag.String("bin", filepath.Join(root, "build", "bin"), "the directory of Herald's programs")
)

// The lab that all tests share: three light nodes, Herald, three pods that answer, a pool of addresses that are on no
// network of the lab, FRR on router and BIRD on router2. Each test brings peers, advertisements and Services of its own.
var (
	cluster *lab.Lab
	frr     *router.FRR
	bird    *router.BIRD
)

func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the end-to-end tests make a cluster of network namespaces, which takes root: run them with sudo")
		os.Exit(1)
	}
	code, err := run(context.Background(), m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "set the end-to-end tests up:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if *keep {
		cluster, err = lab.Open(ctx, *labName)
	} else {
		defer func() { err = errors.Join(err, lab.Down(ctx, *labName)) }()
	}
	if cluster == nil {
		err = setUp(ctx)
	}
	if err != nil {
		return 0, err
	}
	if objects, err = newObjects(cluster); err != nil {
		return 0, err
	}
	frr, bird = router.NewFRR(cluster, lab.Router), router.NewBIRD(cluster, lab.Router2)
	if err := errors.Join(startRouters(ctx), addStrangers(ctx)); err != nil {
		return 0, err
	}
	return m.Run(), nil
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

func setUp(ctx context.Context) (err error) {
	programs := map[string]string{}
	for _, program := range []string{"controller", "speaker"} {
		programs["ghcr.io/herald-lb/"+program] = filepath.Join(*bin, program)
	}
	if cluster, err = lab.Up(ctx, lab.Options{Name: *labName, Light: true, Programs: programs, Steps: os.Stdout}); err != nil {
		return err
	}
	if err := cluster.ApplyFile(ctx, herald.Manifest(root)); err != nil {
		return err
	}
	if err := herald.AwaitReady(ctx, cluster); err != nil {
		return err
	}
	if err := cluster.Apply(ctx, pool+"---\n"+manifests.Web); err != nil {
		return err
	}
	return cluster.AwaitRollout(ctx, "default", "deployment/web")
}
