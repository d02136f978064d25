//go:build e2e

package upgrade

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/router"
)

// root is the repository's.
const root = "../.."

// other is the version that the tests begin with, and return to.
const other = "v0.0.0-other"

// cluster is the lab of all tests: the other version is installed; Services are announced on the LAN, and to FRR, which
// keeps routes over a restart and watches the way to each node.
var cluster *lab.Lab

func TestMain(m *testing.M) {
	herald.Stage{Lab: lab.Options{Name: "upgrade"}, SetUp: setUp, Enter: enter}.Main(m)
}

func enter(_ context.Context, l *lab.Lab) error {
	cluster = l
	return nil
}

// configuration is of all that announces. The addresses of new Services are of a pool that nobody announces.
var configuration = manifests.Pool + "---\n" + strings.Replace(manifests.BGP, "bfdProfile: fast\n", "bfdProfile: fast\n  enableGracefulRestart: true\n", 1) + `---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: new, namespace: metallb-system}
spec: {addresses: [10.200.0.0/16], autoAssign: false}
`

func setUp(ctx context.Context, l *lab.Lab) error {
	if err := loadOther(ctx, l); err != nil {
		return err
	}
	if err := herald.LoadImages(ctx, l, root); err != nil {
		return err
	}
	manifest, err := manifestOf(other)
	if err != nil {
		return err
	}
	if err := l.Apply(ctx, manifest); err != nil {
		return err
	}
	if err := herald.AwaitReady(ctx, l); err != nil {
		return err
	}
	watched := router.Neighbour{ASN: 64512, DualStack: true, BFD: &router.BFD{Interval: 100 * time.Millisecond}}
	if err := router.NewFRR(l, lab.Router).Start(ctx, router.Config{ASN: 64513, Neighbours: router.Nodes(l, watched)}); err != nil {
		return err
	}
	return herald.Furnish(ctx, l, strings.Join([]string{configuration, manifests.Service, manifests.ServiceBGP}, "---\n"))
}

var images = regexp.MustCompile(`(image: ghcr\.io/herald-lb/\w+):(\S+)`)

// manifestOf is Herald's manifest with the images of a version.
func manifestOf(version string) (string, error) {
	manifest, err := os.ReadFile(herald.Manifest(root))
	return images.ReplaceAllString(string(manifest), "$1:"+version), err
}

// current is the version that the manifest installs.
func current() (string, error) {
	manifest, err := os.ReadFile(herald.Manifest(root))
	if err != nil {
		return "", err
	}
	found := images.FindSubmatch(manifest)
	if found == nil {
		return "", fmt.Errorf("find the version in %s: it names no image", herald.Manifest(root))
	}
	return string(found[2]), nil
}

// loadOther hands images of the other version to the nodes: of the same source, with another version's name.
func loadOther(ctx context.Context, l *lab.Lab) error {
	dir, err := os.MkdirTemp("", "herald-upgrade-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	name := "-s -w -X github.com/herald-lb/herald/internal/version.Version=" + other
	if err := command(ctx, root, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", name, "-o", dir, "./controller", "./speaker"); err != nil {
		return err
	}
	if err := command(ctx, filepath.Join(root, "tools"), "go", "build", "-o", dir, "./ociimage"); err != nil {
		return err
	}
	for program, user := range map[string]string{"controller": "65534:65534", "speaker": "0:0"} {
		archive := filepath.Join(dir, program+".tar")
		image := []string{
			"-binary", filepath.Join(dir, program), "-path", "/" + program, "-user", user,
			"-name", "ghcr.io/herald-lb/" + program + ":" + other, "-output", archive,
		}
		if err := command(ctx, dir, filepath.Join(dir, "ociimage"), image...); err != nil {
			return err
		}
		if err := l.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

func command(ctx context.Context, dir, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, output)
	}
	return nil
}
