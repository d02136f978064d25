//go:build e2e

package admission

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/e2e/herald"
)

// What is not reviewed is accepted, so that a moment without a review can only be seen by who tries all the time.
func TestNoChangeSlipsThrough(t *testing.T) {
	ctx := begin(t)
	t.Cleanup(func() { scale(context.WithoutCancel(ctx), t, 2) })
	clients, err := dynamic.NewForConfig(rest.CopyConfig(cluster.RESTConfig()))
	must(t, err)

	t.Run("while all replicas are replaced, one after the other", func(t *testing.T) {
		tries := keepTrying(ctx, clients)
		restart(ctx, t)
		tries.check(t)
	})
	t.Run("from the first review on, when there was none and a replica starts", func(t *testing.T) {
		scale(ctx, t, 0)
		tries := keepTrying(ctx, clients)
		scale(ctx, t, 1)
		must(t, awaitReviews(ctx))
		must(t, herald.Await(ctx, "more reviews", func(context.Context) error {
			if n := tries.refusals.Load(); n < 100 {
				return fmt.Errorf("there were %d", n)
			}
			return nil
		}))
		tries.check(t)
	})
	t.Run("when a second one joins, and the first goes", func(t *testing.T) {
		tries := keepTrying(ctx, clients)
		scale(ctx, t, 2)
		scale(ctx, t, 1)
		tries.check(t)
	})
}

// restart replaces all replicas by new ones, and returns when the old ones have ended.
func restart(ctx context.Context, t *testing.T) {
	t.Helper()
	if output, err := on(cluster.Kubectl(ctx, "rollout", "restart", "--namespace", herald.Namespace, "deployment/controller"), ""); err != nil {
		t.Fatalf("kubectl rollout restart: %s", output)
	}
	scale(ctx, t, 2)
}

// tries are attempts to create an object that only the whole configuration shows to be wrong.
type tries struct {
	stop     context.CancelFunc
	ended    chan struct{}
	refusals atomic.Int64
	accepted []time.Duration // since the first refusal
	errors   []error         // that are no refusals
}

// keepTrying tries at the pace of the API server, until check.
func keepTrying(ctx context.Context, clients dynamic.Interface) *tries {
	ctx, stop := context.WithCancel(ctx)
	t := &tries{stop: stop, ended: make(chan struct{})}
	pools := clients.Resource(schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "ipaddresspools"}).Namespace(herald.Namespace)
	go func() {
		defer close(t.ended)
		t.run(ctx, pools)
	}()
	return t
}

func (t *tries) run(ctx context.Context, pools dynamic.ResourceInterface) {
	pool := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": map[string]any{"name": "overlapping"},
		"spec": map[string]any{"addresses": []any{"10.1.0.128/25"}},
	}}
	var first time.Time
	for ctx.Err() == nil {
		_, err := pools.Create(ctx, pool, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case ctx.Err() != nil:
		case err == nil && !first.IsZero():
			t.accepted = append(t.accepted, time.Since(first))
		case err == nil:
		case strings.Contains(err.Error(), overlaps):
			t.refusals.Add(1)
			if first.IsZero() {
				first = time.Now()
			}
		default:
			t.errors = append(t.errors, err)
		}
	}
}

func (t *tries) check(test *testing.T) {
	test.Helper()
	t.stop()
	<-t.ended
	refused := t.refusals.Load()
	test.Logf("%d refusals", refused)
	if len(t.accepted) > 0 || len(t.errors) > 0 || refused == 0 {
		test.Errorf("%d were refused, %d accepted after that, at %v after the first; errors: %v", refused, len(t.accepted), t.accepted, t.errors)
	}
}
