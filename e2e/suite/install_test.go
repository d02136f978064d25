//go:build e2e

package suite

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

func TestInstallation(t *testing.T) {
	ctx := begin(t)

	t.Run("two controllers run, and a speaker on each node, none of them started again", func(t *testing.T) {
		if installed == nil {
			t.Skip("Herald was installed by an earlier run")
		}
		if want := 2 + len(cluster.NodeNames()); len(installed) != want {
			t.Errorf("%d pods, want %d", len(installed), want)
		}
		for _, p := range installed {
			checkHealthy(t, p)
		}
	})

	t.Run("the controller is a user without rights", func(t *testing.T) {
		pod := must(herald.Controller(ctx, cluster))(t)
		checkProcess(ctx, t, pod, map[string]string{
			"Uid": "65534", "Gid": "65534", "CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
		})
	})

	t.Run("a speaker has NET_RAW and SYS_NICE, and nothing else", func(t *testing.T) {
		for _, node := range cluster.NodeNames() {
			// Bits 13 and 23 of capabilities(7).
			pod := must(herald.Speaker(ctx, cluster, node))(t)
			checkProcess(ctx, t, pod, map[string]string{
				"CapPrm": "0000000000802000", "CapEff": "0000000000802000", "CapBnd": "0000000000802000", "CapAmb": "0000000000000000",
				"NoNewPrivs": "1", "Seccomp": "2",
			})
		}
	})

	t.Run("the controller has made the key of the speakers' gossip", func(t *testing.T) {
		secret, err := cluster.Client().CoreV1().Secrets(herald.Namespace).Get(ctx, "memberlist", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(secret.Data["secretkey"]) != 22 {
			t.Errorf("the key has %d bytes, want 22", len(secret.Data["secretkey"]))
		}
		if owners := secret.OwnerReferences; len(owners) != 1 || owners[0].Kind != "Deployment" || owners[0].Name != "controller" {
			t.Errorf("it belongs to %v, want Deployment controller", owners)
		}
	})

	t.Run("applying the manifest again changes nothing and starts nothing again", func(t *testing.T) {
		before := fingerprint(ctx, t)
		kubectl(ctx, t, "apply", "-f", herald.Manifest(root))
		if after := fingerprint(ctx, t); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

func checkHealthy(t *testing.T, p corev1.Pod) {
	t.Helper()
	for _, c := range p.Status.ContainerStatuses {
		if !c.Ready || c.RestartCount != 0 {
			t.Errorf("pod %s: ready %v, restarts %d", p.Name, c.Ready, c.RestartCount)
		}
	}
}

// checkProcess compares what the kernel says of a pod's process in /proc/PID/status, and that its root is read-only.
func checkProcess(ctx context.Context, t *testing.T, p *corev1.Pod, want map[string]string) {
	t.Helper()
	status := must(herald.ProcessFile(ctx, cluster, p, "status"))(t)
	for line := range strings.Lines(status) {
		key, values, _ := strings.Cut(line, ":")
		if w, ok := want[key]; ok && strings.Fields(values)[0] != w {
			t.Errorf("pod %s: %s is %s, want %s", p.Name, key, strings.TrimSpace(values), w)
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("pod %s: /proc says nothing of %v", p.Name, want)
	}
	mounts := must(herald.ProcessFile(ctx, cluster, p, "mounts"))(t)
	root := strings.Fields(mounts)
	if root[1] != "/" || !strings.HasPrefix(root[3], "ro,") {
		t.Errorf("pod %s: its root is mounted %s, want it read-only", p.Name, root[3])
	}
}

// fingerprint changes if any object of the manifest or any of Herald's pods does.
func fingerprint(ctx context.Context, t *testing.T) string {
	t.Helper()
	columns := "--output=custom-columns=KIND:.kind,NAME:.metadata.name,UID:.metadata.uid,VERSION:.metadata.resourceVersion"
	return kubectl(ctx, t, "get", "-f", herald.Manifest(root), columns) +
		kubectl(ctx, t, "get", "pods", "--namespace", herald.Namespace, "--no-headers", "--output=custom-columns=N:.metadata.name,R:.status.containerStatuses[*].restartCount")
}

func TestHealth(t *testing.T) {
	ctx := begin(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		t.Run("the controller answers "+path, func(t *testing.T) {
			address := "http://" + must(herald.Controller(ctx, cluster))(t).Status.PodIP + ":17472" + path
			must(cluster.In(ctx, lab.Control, "curl", "--silent", "--show-error", "--fail", address))(t)
		})
		t.Run("each speaker answers "+path+" on its node's loopback address alone", func(t *testing.T) {
			for _, node := range cluster.NodeNames() {
				must(cluster.In(ctx, node, "curl", "--silent", "--show-error", "--fail", "http://127.0.0.1:17472"+path))(t)
				lan := "http://" + lab.AddressesOf(node).V4.String() + ":17472" + path
				if answer, err := cluster.In(ctx, lab.Client, "curl", "--silent", "--max-time", "5", lan); err == nil {
					t.Errorf("the LAN is answered %q at %s", answer, lan)
				}
			}
		})
	}
}

// must ends a test if what was called returned an error: must(f())(t).
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
