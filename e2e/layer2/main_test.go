//go:build e2e

package layer2

import (
	"context"
	"flag"
	"testing"

	"k8s.io/client-go/dynamic"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/neighbour"
)

// root is the repository's.
const root = "../.."

// The lab that all tests share: three light nodes, Herald, three pods that answer, and pools that nothing announces. Each
// test brings advertisements and Services of its own.
var (
	cluster *lab.Lab
	objects dynamic.Interface // those of Herald's kinds
)

func TestMain(m *testing.M) {
	neighbour.Visit()
	// Tests wait much more than they compute.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	herald.Stage{Lab: lab.Options{Name: "l2", Light: true, Programs: herald.Programs(root)}, SetUp: setUp, Enter: enter}.Main(m)
}

func setUp(ctx context.Context, l *lab.Lab) error {
	if err := herald.InstallLight(ctx, l, root); err != nil {
		return err
	}
	return herald.Furnish(ctx, l, pools)
}

func enter(_ context.Context, l *lab.Lab) (err error) {
	cluster = l
	objects, err = dynamic.NewForConfig(l.RESTConfig())
	return err
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
