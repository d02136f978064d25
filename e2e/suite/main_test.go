//go:build e2e

package suite

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
)

// root is the repository's.
const root = "../.."

var (
	keep    = flag.Bool("keep", false, "use the lab that an earlier run has kept, if there is one, and keep it")
	labName = flag.String("lab", "test", "the lab's name")
)

// cluster is the lab that all tests share: Herald is installed, a pool is announced on the LAN, and three pods answer
// that the label app=web selects. Each test brings Services of its own.
var cluster *lab.Lab

// installed are Herald's pods as they were when the installation ended; none if that was in an earlier run.
var installed []corev1.Pod

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
	return m.Run(), nil
}

func setUp(ctx context.Context) (err error) {
	if cluster, err = lab.Up(ctx, lab.Options{Name: *labName, Steps: os.Stdout}); err != nil {
		return err
	}
	if err := install(ctx, cluster); err != nil {
		return err
	}
	for _, component := range []string{"controller", "speaker"} {
		pods, err := herald.Pods(ctx, cluster, component)
		if err != nil {
			return err
		}
		installed = append(installed, pods...)
	}
	return nil
}

func install(ctx context.Context, l *lab.Lab) error {
	if err := herald.Install(ctx, l, root); err != nil {
		return err
	}
	if err := l.Apply(ctx, manifests.Pool); err != nil {
		return err
	}
	if err := l.Apply(ctx, manifests.Web); err != nil {
		return err
	}
	return l.AwaitRollout(ctx, "default", "deployment/web")
}

// The pool that is applied before the tests.
var (
	pool4 = [2]netip.Addr{netip.MustParseAddr("192.168.10.200"), netip.MustParseAddr("192.168.10.250")}
	pool6 = [2]netip.Addr{netip.MustParseAddr("fd00:10::200"), netip.MustParseAddr("fd00:10::250")}
)

func inPool(a netip.Addr) bool {
	for _, pool := range [][2]netip.Addr{pool4, pool6} {
		if a.Compare(pool[0]) >= 0 && a.Compare(pool[1]) <= 0 {
			return true
		}
	}
	return false
}
