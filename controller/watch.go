package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
)

// writers is how many status writes may be under way at once.
const writers = 8

// register has the manager feed the allocator with every change that can matter.
func (a *allocator) register(mgr ctrl.Manager) error {
	return builder.TypedControllerManagedBy[work](mgr).
		Named("allocator").
		WithOptions(controller.TypedOptions[work]{MaxConcurrentReconciles: writers}).
		Watches(&corev1.Service{}, handler.TypedEnqueueRequestsFromMapFunc(toService)).
		Watches(&v1beta1.IPAddressPool{}, handler.TypedEnqueueRequestsFromMapFunc(toPools),
			builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&v1beta1.L2Advertisement{}, handler.TypedEnqueueRequestsFromMapFunc(toPools),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Namespace{}, handler.TypedEnqueueRequestsFromMapFunc(toPools),
			builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(source.TypedFunc[work](a.start)).
		Complete(a)
}

// start keeps the queue, and has the pools read even if there are none.
func (a *allocator) start(_ context.Context, q workqueue.TypedRateLimitingInterface[work]) error {
	a.queue = q
	close(a.queued)
	q.Add(thePools)
	return nil
}

func toService(_ context.Context, obj client.Object) []work {
	return []work{{kube.Key(obj.(*corev1.Service))}}
}

func toPools(context.Context, client.Object) []work { return []work{thePools} }

// onEvery calls look for every object of the kind in the cache, when it comes, changes or
// goes. It does not wait for the cache, which may be running already.
func onEvery(ctx context.Context, mgr ctrl.Manager, kind client.Object, look func(client.Object)) error {
	informer, err := mgr.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { look(o.(client.Object)) },
		UpdateFunc: func(_, now any) { look(now.(client.Object)) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			look(o.(client.Object))
		},
	})
	return err
}
