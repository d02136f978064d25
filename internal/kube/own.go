package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
)

// podOwner refers to a pod as the owner of objects that are to go with it.
func podOwner(ctx context.Context, r client.Reader, namespace, name string) (metav1.OwnerReference, error) {
	var pod corev1.Pod
	if err := r.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &pod); err != nil {
		return metav1.OwnerReference{}, fmt.Errorf("read own pod: %w", err)
	}
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}, nil
}

// onEvery calls look for every object of the kind in the cache, when it comes, changes
// or goes.
func onEvery(ctx context.Context, c cluster.Cluster, kind client.Object, look func(client.Object)) error {
	informer, err := c.GetCache().GetInformer(ctx, kind)
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
