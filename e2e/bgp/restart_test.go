//go:build e2e

package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// With graceful restart, routers keep the routes of a speaker that stops or dies, until it is back and has said so.
func TestGracefulRestart(t *testing.T) {
	ctx := begin(t)
	everyNode(ctx, t, frr, "frr", "enableGracefulRestart: true")
	create(ctx, t, advertisement("graceful"))
	prefix := host(service(ctx, t, "graceful")[0])
	awaitRoutes(ctx, t, frr, prefix, nodes4(), fresh)
	watch, err := router.WatchKernel(ctx, cluster, lab.Router)
	must(t, err)
	defer watch.Stop()

	for name, end := range map[string]func(context.Context, *testing.T){"dies": killSpeaker, "stops": stopSpeaker} {
		t.Run("a speaker that "+name, func(t *testing.T) {
			before := awaitSession(ctx, t, frr, node1.V4, established)
			end(ctx, t)
			awaitSession(ctx, t, frr, node1.V4, func(s router.Session) error {
				if s.Ups == before.Ups {
					return errors.New("it is the one before")
				}
				return nil
			})
			awaitRoutes(ctx, t, frr, prefix, nodes4(), fresh)
			must(t, herald.AwaitReady(ctx, cluster))
		})
	}
	for _, e := range watch.Events() {
		if e.Prefix == prefix {
			t.Errorf("the route changed: %+v", e)
		}
	}
}

func fresh(r router.Route) error { return want("staleness", r.Stale, false) }

func killSpeaker(ctx context.Context, t *testing.T) {
	pod, err := herald.Speaker(ctx, cluster, "node1")
	must(t, err)
	must(t, herald.Kill(ctx, cluster, pod))
}

func stopSpeaker(ctx context.Context, t *testing.T) {
	pod, err := herald.Speaker(ctx, cluster, "node1")
	must(t, err)
	must(t, cluster.Client().CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{}))
}

// Without it, a speaker that stops says why, and is gone at once.
func TestShutdown(t *testing.T) {
	ctx := begin(t)
	watched := listen(ctx, t, lab.Client, stranger(0), router.WellBehaved(open(stranger(0))))
	create(ctx, t, peer("watched", stranger(0), append(slices.Clone(external), on("node1"))...))
	awaitState(ctx, t, "node1", "watched", isUp)
	first := watched.Last()
	stopSpeaker(ctx, t)
	await(ctx, t, "a notification", func(context.Context) error {
		n, err := first.Notification()
		if err != nil {
			return err
		}
		if n.Code != router.Cease || n.Subcode != router.Shutdown || n.Text() == "" {
			return fmt.Errorf("it is %+v: %q", n, n.Text())
		}
		return nil
	})
	must(t, herald.AwaitReady(ctx, cluster))
	awaitState(ctx, t, "node1", "watched", isUp)
}

// A node that is excluded asks routers to turn to others (RFC 8326), and only then withdraws.
func TestDrain(t *testing.T) {
	ctx := begin(t)
	everyNode(ctx, t, frr, "frr")
	create(ctx, t, advertisement("drained"))
	prefix := host(service(ctx, t, "drained")[0])
	awaitRoutes(ctx, t, frr, prefix, nodes4(), anyRoute)

	t.Cleanup(func() { exclude(context.Background(), t, "null") })
	exclude(ctx, t, `""`)
	await(ctx, t, "GRACEFUL_SHUTDOWN from node1", func(ctx context.Context) error {
		routes, err := frr.Routes(ctx)
		if err != nil {
			return err
		}
		for _, r := range router.To(routes, prefix) {
			if leaving := slices.Contains(r.Communities, "65535:0"); leaving != (r.From == node1.V4.String()) {
				return fmt.Errorf("they are %+v", routes)
			}
		}
		return want("number", len(router.To(routes, prefix)), 3)
	})
	awaitRoutes(ctx, t, frr, prefix, slices.DeleteFunc(nodes4(), func(a netip.Addr) bool { return a == node1.V4 }), anyRoute)
	awaitSession(ctx, t, frr, node1.V4, established)
	exclude(ctx, t, "null")
	awaitRoutes(ctx, t, frr, prefix, nodes4(), anyRoute)
}

// exclude sets node1's label, or removes it with null.
func exclude(ctx context.Context, t *testing.T, value string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{"node.kubernetes.io/exclude-from-external-load-balancers":%s}}}`, value)
	_, err := cluster.Client().CoreV1().Nodes().Patch(ctx, "node1", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	must(t, err)
}
