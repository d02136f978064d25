//go:build e2e

package layer2

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/dynamic"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/neighbour"
)

// root is the repository's.
const root = "../.."

var (
	keep    = flag.Bool("keep", false, "use the lab that an earlier run has kept, if there is one, and keep it")
	labName = flag.String("lab", "l2", "the lab's name")
	bin     = flag.String("bin", filepath.Join(root, "build", "bin"), "the directory of Herald's programs")
)

// The lab that all tests share: three light nodes, Herald, three pods that answer, and pools that nothing announces. Each
// test brings advertisements and Services of its own.
var (
	cluster *lab.Lab
	objects dynamic.Interface // those of Herald's kinds
)

func TestMain(m *testing.M) {
	neighbour.Visit()
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "the end-to-end tests make a cluster of network namespaces, which takes root: run them with sudo")
		os.Exit(1)
	}
	// Tests wait much more than they compute.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
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
	if objects, err = dynamic.NewForConfig(cluster.RESTConfig()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// pools: Services draw from lan, and those that share addresses ask for them from shared.
const pools = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: lan, namespace: metallb-system}
spec:
  addresses: [192.168.10.200-192.168.10.239, "fd00:10::200-fd00:10::239"]
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: shared, namespace: metallb-system}
spec:
  autoAssign: false
  addresses: [192.168.10.240-192.168.10.249, "fd00:10::240-fd00:10::249"]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: shared, namespace: metallb-system}
spec:
  ipAddressPools: [shared]
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: crowd, namespace: metallb-system}
spec:
  addresses: [10.200.0.0/16]
  serviceAllocation: {namespaces: [crowd]}
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
	if err := cluster.Apply(ctx, pools+"---\n"+manifests.Web); err != nil {
		return err
	}
	return cluster.AwaitRollout(ctx, "default", "deployment/web")
}
