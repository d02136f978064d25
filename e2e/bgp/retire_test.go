//go:build e2e

package bgp

import (
	"context"
	_ "embed"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// leftovers is a DaemonSet of FRR on all nodes, which offers a prefix to the router.
//
//go:embed testdata/frr-k8s.yaml
var leftovers string

// Who does what the README says, word by word, loses no route and no connection.
func TestRetiringFRRK8s(t *testing.T) {
	ctx := beginFor(t, 3*time.Minute)
	configure(ctx, t, frr, router.Nodes(cluster, router.Neighbour{ASN: nodesASN, DualStack: true})...)
	address := service(ctx, t, "retired")[0]
	prefix := host(address)
	must(t, cluster.Apply(ctx, strings.ReplaceAll(leftovers, "{{.Prefix}}", prefix.String())))
	t.Cleanup(func() { must(t, cluster.Delete(context.Background(), leftovers)) })
	awaitRoutes(ctx, t, frr, prefix, nodes4(), anyRoute)
	create(ctx, t, advertisement("retired"))
	create(ctx, t, peer("tor", lab.AddressesOf(lab.Router).V4, external...))
	for _, node := range cluster.NodeNames() {
		awaitState(ctx, t, node, "tor", because("rivalSession", "frr-k8s"))
	}

	watch, err := router.WatchKernel(ctx, cluster, lab.Router)
	must(t, err)
	defer watch.Stop()
	clients, err := herald.StartPatientClients(ctx, cluster, lab.Far, []netip.Addr{address})
	must(t, err)
	said, err := cluster.In(ctx, lab.Control, "bash", "-euo", "pipefail", "-c", retirement(t))
	failures := clients.Failures()
	must(t, err)

	t.Logf("%s", said)
	for _, node := range cluster.NodeNames() {
		awaitState(ctx, t, node, "tor", isUp)
	}
	awaitRoutes(ctx, t, frr, prefix, nodes4(), fresh)
	if gone := slices.ContainsFunc(watch.Events(), func(e router.KernelEvent) bool { return e.Prefix == prefix && e.Gone }); gone {
		t.Errorf("for a while the router had no way: %+v", watch.Events())
	}
	for _, f := range failures {
		t.Errorf("a connection failed: %v", f.Err)
	}
	left, err := cluster.Kubectl(ctx, "get", "daemonsets,pods", "--namespace", herald.Namespace, "--selector", "app=frr-k8s", "--output", "name").Output()
	must(t, err)
	if len(left) > 0 {
		t.Errorf("there is left:\n%s", left)
	}
}

// retirement are the commands that the README has for it.
func retirement(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(root + "/README.md")
	must(t, err)
	found := regexp.MustCompile("(?s)#### Retire frr-k8s\n.*?```sh\n(.*?)```").FindSubmatch(text)
	if found == nil {
		t.Fatal("the README says nothing of how to retire frr-k8s")
	}
	return string(found[1])
}
