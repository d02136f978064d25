//go:build e2e

package packaging

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// root is the repository's.
const root = "../.."

var labName = flag.String("lab", "packaging", "the lab's name")

// installation is the life of an installation in a lab of light nodes, with what a person would call: helm.
type installation struct {
	*lab.Lab
	helm string // the program
	home string // where it keeps its own files
}

// open brings the lab up, and down when the test ends.
func open(ctx context.Context, t *testing.T) *installation {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the end-to-end tests make a cluster of network namespaces, which takes root: run them with sudo")
	}
	i := &installation{helm: buildHelm(ctx, t), home: t.TempDir()}
	var err error
	i.Lab, err = lab.Up(ctx, lab.Options{Name: *labName, Light: true, Programs: herald.Programs(root), Steps: os.Stdout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Down(context.Background(), *labName); err != nil {
			t.Error(err)
		}
	})
	return i
}

// buildHelm leaves the program beside Herald's, where it is found fresh the next time.
func buildHelm(ctx context.Context, t *testing.T) string {
	t.Helper()
	file := must(filepath.Abs(filepath.Join(root, "build", "bin", "helm")))(t)
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", file, "helm.sh/helm/v4/cmd/helm")
	build.Dir = filepath.Join(root, "tools", "helm")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build helm: %v\n%s", err, output)
	}
	return file
}

// run calls helm in Herald's namespace, and ends the test if it fails.
func (i *installation) run(ctx context.Context, t *testing.T, args ...string) {
	t.Helper()
	all := append([]string{
		"env", "HELM_CACHE_HOME=" + i.home, "HELM_CONFIG_HOME=" + i.home, "HELM_DATA_HOME=" + i.home,
		i.helm, "--namespace", herald.Namespace,
	}, args...)
	must(i.In(ctx, lab.Control, all...))(t)
}

// kubectl gives what it prints.
func (i *installation) kubectl(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	output, err := i.Kubectl(ctx, args...).Output()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, failed.Stderr)
	}
	return strings.TrimSpace(string(output))
}

// awaitReady waits for the chart's workloads.
func (i *installation) awaitReady(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, what := range []string{"deployment/herald-controller", "daemonset/herald-speaker"} {
		check(t, i.AwaitRollout(ctx, herald.Namespace, what))
	}
}

// served waits until each address has one owner, and returns the addresses of the Service web.
func (i *installation) served(ctx context.Context, t *testing.T) []netip.Addr {
	t.Helper()
	addresses := must(herald.AwaitAddresses(ctx, i.Lab, "default", "web", 2))(t)
	for _, a := range addresses {
		must(herald.AwaitOwner(ctx, i.Lab, a, herald.Anyone))(t)
	}
	return addresses
}

// must ends a test if what was called returned an error: must(f())(t).
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		check(t, err)
		return value
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// step runs a part of a story: those after it have no sense if it fails.
func step(t *testing.T, name string, tell func(*testing.T)) {
	t.Helper()
	if !t.Run(name, tell) {
		t.Fatalf("the rest makes no sense after %q failed", name)
	}
}
