//go:build e2e

package suite

import (
	"context"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
)

// root is the repository's.
const root = "../.."

// cluster is the lab that all tests share: Herald is installed, a pool is announced on the LAN, and three pods answer
// that the label app=web selects. Each test brings Services of its own.
var cluster *lab.Lab

// installed are Herald's pods as they were when the installation ended; none if that was in an earlier run.
var installed []corev1.Pod

func TestMain(m *testing.M) {
	herald.Stage{Lab: lab.Options{Name: "test"}, SetUp: setUp, Enter: enter}.Main(m)
}

func setUp(ctx context.Context, l *lab.Lab) error {
	if err := install(ctx, l); err != nil {
		return err
	}
	for _, component := range []string{"controller", "speaker"} {
		pods, err := herald.Pods(ctx, l, component)
		if err != nil {
			return err
		}
		installed = append(installed, pods...)
	}
	return nil
}

func enter(_ context.Context, l *lab.Lab) error {
	cluster = l
	return nil
}

func install(ctx context.Context, l *lab.Lab) error {
	if err := herald.Install(ctx, l, root); err != nil {
		return err
	}
	return herald.Furnish(ctx, l, manifests.Pool)
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
