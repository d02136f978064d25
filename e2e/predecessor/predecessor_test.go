//go:build e2e

package predecessor

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/router"
)

const root = "../.."

var (
	// installation is what the cluster runs before. Its roles grant what users' clusters grant, and no more.
	//
	//go:embed predecessor.yaml
	installation string

	// configuration is what its users have.
	//
	//go:embed configuration.yaml
	configuration string

	// conversion is how one version of BGPPeer becomes the other there.
	//
	//go:embed conversion.json
	conversion string
)

// cluster is the lab; frr is the router, which knows the nodes by their password.
var (
	cluster *lab.Lab
	frr     *router.FRR
)

func TestMain(m *testing.M) {
	herald.Stage{Lab: lab.Options{Name: "predecessor"}, SetUp: setUp, Enter: enter}.Main(m)
}

func enter(_ context.Context, l *lab.Lab) error {
	cluster, frr = l, router.NewFRR(l, lab.Router)
	return nil
}

func setUp(ctx context.Context, l *lab.Lab) error {
	nodes := router.Neighbour{ASN: 64512, DualStack: true, Password: "open-sesame", BFD: &router.BFD{Interval: 100 * time.Millisecond}}
	if err := router.NewFRR(l, lab.Router).Start(ctx, router.Config{ASN: 64513, Neighbours: router.Nodes(l, nodes)}); err != nil {
		return err
	}
	return herald.LoadImages(ctx, l, root)
}

func TestHeraldTakesItsPredecessorsPlace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	ok := t.Run("it runs under the roles and settings of an existing installation, by the image names alone", func(t *testing.T) {
		installPredecessor(ctx, t)
		settle(ctx, t)
		for _, workload := range []string{"deployment/controller", "daemonset/speaker"} {
			if log := kubectl(ctx, t, "logs", "--namespace", herald.Namespace, workload, "--all-pods"); strings.Contains(log, "forbidden") {
				t.Errorf("%s complains:\n%s", workload, log)
			}
		}
		checkReviewed(ctx, t)
	})
	if !ok {
		return
	}
	t.Run("its manifest replaces that installation with no address, no connection and no object lost", func(t *testing.T) {
		replace(ctx, t)
		checkReviewed(ctx, t)
	})
}

// installPredecessor returns when it is ready. The definitions are Herald's but for what older ones have, or have not.
func installPredecessor(ctx context.Context, t *testing.T) {
	definitions := kubectl(ctx, t, "kustomize", root+"/config/crd")
	must(t, cluster.Apply(ctx, strings.Replace(definitions, "  conversion:\n    strategy: None\n    webhook: null\n", "  conversion: "+conversion, 1)))
	kubectl(ctx, t, "delete", "crd", "bgpsessionstates.metallb.io")
	must(t, cluster.Apply(ctx, strings.ReplaceAll(installation, "IMAGE_TAG", tag(t))))
	must(t, herald.AwaitReady(ctx, cluster))
	must(t, herald.Furnish(ctx, cluster, strings.Join([]string{manifests.Pool, configuration, manifests.Service, manifests.ServiceBGP}, "---\n")))
}

// replace applies the manifest while clients open connections to the Services.
func replace(ctx context.Context, t *testing.T) {
	before, held := objects(ctx, t), addresses(ctx, t)
	clients := herald.Clients{}
	for service, on := range services {
		started, err := herald.StartPatientClients(ctx, cluster, on, held[service])
		must(t, err)
		clients = append(clients, started...)
	}
	began := time.Now()
	must(t, cluster.ApplyFile(ctx, herald.Manifest(root)))
	must(t, herald.AwaitReady(ctx, cluster))
	settle(ctx, t)
	must(t, clients.AwaitSteady(ctx, time.Now()))

	for _, f := range clients.Failures() {
		t.Errorf("%v after the manifest was applied: %v", f.Start.Sub(began), f.Err)
	}
	if after := objects(ctx, t); after != before {
		t.Errorf("there were\n%sand there are\n%s", before, after)
	}
	for service, holds := range addresses(ctx, t) {
		if !slices.Equal(holds, held[service]) {
			t.Errorf("Service %s held %v and holds %v", service, held[service], holds)
		}
	}
	if old := kubectl(ctx, t, "get", "bgppeers.v1beta1.metallb.io", "--namespace", herald.Namespace, "--output", "name"); strings.Count(old, "\n") != 2 {
		t.Errorf("in the older version the BGPPeers are %q", old)
	}
}

// services says from which host each is reached.
var services = map[string]lab.Host{"web": lab.Client, "routed": lab.Far, "legacy": lab.Far}

func addresses(ctx context.Context, t *testing.T) map[string][]netip.Addr {
	t.Helper()
	held := map[string][]netip.Addr{}
	for service, count := range map[string]int{"web": 2, "routed": 2, "legacy": 1} {
		all, err := herald.AwaitAddresses(ctx, cluster, "default", service, count)
		must(t, err)
		held[service] = all
	}
	return held
}

// objects are all that the user made, the key of the speakers' gossip, and the workloads: each as it is known, and as often
// as it was changed. What the manifest replaces of the workloads is what runs in them.
func objects(ctx context.Context, t *testing.T) string {
	t.Helper()
	kinds := "ipaddresspools,l2advertisements,bgppeers,bgpadvertisements,bfdprofiles,communities"
	return kubectl(ctx, t, "get", kinds, "--namespace", herald.Namespace, "--no-headers", "--output", "custom-columns=:kind,:metadata.name,:metadata.uid,:metadata.generation") +
		kubectl(ctx, t, "get", "secrets/memberlist", "secrets/router-password", "--namespace", herald.Namespace, "--no-headers", "--output", "custom-columns=:metadata.uid,:data") +
		kubectl(ctx, t, "get", "deployment/controller", "daemonset/speaker", "--namespace", herald.Namespace, "--no-headers", "--output", "custom-columns=:kind,:metadata.uid")
}

// settle waits until one node answers for each address on the LAN, and the router has a route through each node to all
// others, with the community that the user named.
func settle(ctx context.Context, t *testing.T) {
	t.Helper()
	for service, all := range addresses(ctx, t) {
		for _, a := range all {
			if services[service] == lab.Client {
				_, err := herald.AwaitOwner(ctx, cluster, a, herald.Anyone)
				must(t, err)
				continue
			}
			must(t, herald.Await(ctx, fmt.Sprintf("routes to %s", a), func(ctx context.Context) error {
				routes, err := frr.Routes(ctx)
				if err != nil {
					return err
				}
				found := router.To(routes, netip.PrefixFrom(a, a.BitLen()))
				for _, r := range found {
					if r.Stale || !slices.Contains(r.Communities, "64512:100") {
						return fmt.Errorf("one is %+v", r)
					}
				}
				if len(found) != len(cluster.NodeNames()) {
					return fmt.Errorf("there are %d", len(found))
				}
				return nil
			}))
		}
	}
}

// checkReviewed waits until a mistake is refused: only a review of all objects can find it.
func checkReviewed(ctx context.Context, t *testing.T) {
	t.Helper()
	const overlapping = "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: overlapping, namespace: metallb-system}, spec: {addresses: [198.51.100.128/25]}}"
	must(t, herald.AwaitRefusal(ctx, cluster, overlapping, "overlaps with already defined CIDR"))
}

// tag is that of the images in Herald's manifest.
func tag(t *testing.T) string {
	manifest, err := os.ReadFile(herald.Manifest(root))
	must(t, err)
	found := regexp.MustCompile(`image: ghcr\.io/herald-lb/controller:(\S+)`).FindSubmatch(manifest)
	if found == nil {
		t.Fatal("the manifest names no image of the controller")
	}
	return string(found[1])
}

func kubectl(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	output, err := cluster.Kubectl(ctx, args...).Output()
	must(t, err)
	return string(output)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
