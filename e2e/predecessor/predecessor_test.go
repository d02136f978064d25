//go:build e2e

package predecessor

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
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/probe"
)

const (
	root    = "../.."
	labName = "predecessor"
)

// installation is what the cluster runs before. Its roles grant what users' clusters grant, and no more.
//
//go:embed predecessor.yaml
var installation string

func TestHeraldTakesItsPredecessorsPlace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("the end-to-end tests make a cluster of network namespaces, which takes root: run them with sudo")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	l, err := lab.Up(ctx, lab.Options{Name: labName, Steps: os.Stdout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), labName); err != nil {
			t.Error(err)
		}
	})

	var held []netip.Addr
	ok := t.Run("it runs under the roles and settings of an existing installation, by the image names alone", func(t *testing.T) {
		held = installPredecessor(ctx, t, l)
	})
	if !ok {
		return
	}
	t.Run("its manifest replaces that installation with no address and no connection lost", func(t *testing.T) {
		replace(ctx, t, l, held)
	})
}

// installPredecessor returns the addresses that a Service then holds and answers at.
func installPredecessor(ctx context.Context, t *testing.T, l *lab.Lab) []netip.Addr {
	must(t, herald.LoadImages(ctx, l, root))
	crds, err := l.Kubectl(ctx, "kustomize", root+"/config/crd").Output()
	must(t, err)
	must(t, l.Apply(ctx, string(crds)))
	must(t, l.Apply(ctx, strings.ReplaceAll(installation, "IMAGE_TAG", tag(t))))
	must(t, herald.AwaitReady(ctx, l))
	for _, manifest := range []string{manifests.Pool, manifests.Web, manifests.Service} {
		must(t, l.Apply(ctx, manifest))
	}
	must(t, l.AwaitRollout(ctx, "default", "deployment/web"))
	addresses, err := herald.AwaitAddresses(ctx, l, "default", "web", 2)
	must(t, err)
	for _, a := range addresses {
		_, err := herald.AwaitOwner(ctx, l, a, herald.Anyone)
		must(t, err)
	}
	for _, pod := range []string{"deployment/controller", "daemonset/speaker"} {
		if log := logOf(ctx, t, l, pod); strings.Contains(log, "forbidden") {
			t.Errorf("%s complains:\n%s", pod, log)
		}
	}
	return addresses
}

// replace applies the manifest while a client opens connections to the Service.
func replace(ctx context.Context, t *testing.T, l *lab.Lab, held []netip.Addr) {
	client := probe.Start(probe.Options{Dial: l.DialFrom(lab.Client), Address: netip.AddrPortFrom(held[0], 80)})
	before := []string{uidOf(ctx, t, l, "deployment/controller"), uidOf(ctx, t, l, "daemonset/speaker")}
	must(t, l.ApplyFile(ctx, herald.Manifest(root)))
	must(t, herald.AwaitReady(ctx, l))
	report := client.Stop()

	if report.Failed > 0 {
		t.Errorf("while the manifest was applied: %s", report)
	}
	if after := []string{uidOf(ctx, t, l, "deployment/controller"), uidOf(ctx, t, l, "daemonset/speaker")}; !slices.Equal(before, after) {
		t.Errorf("the workloads were not replaced in place: %v, then %v", before, after)
	}
	holds, err := herald.AwaitAddresses(ctx, l, "default", "web", 2)
	must(t, err)
	if !slices.Equal(holds, held) {
		t.Errorf("the Service held %v and holds %v", held, holds)
	}
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

func logOf(ctx context.Context, t *testing.T, l *lab.Lab, workload string) string {
	log, err := l.Kubectl(ctx, "logs", "--namespace", herald.Namespace, workload, "--all-pods").Output()
	must(t, err)
	return string(log)
}

func uidOf(ctx context.Context, t *testing.T, l *lab.Lab, workload string) string {
	uid, err := l.Kubectl(ctx, "get", "--namespace", herald.Namespace, workload, "--output", "jsonpath={.metadata.uid}").Output()
	must(t, err)
	return string(uid)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
