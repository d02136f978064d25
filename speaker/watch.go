package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// bySliceService indexes EndpointSlices by the name of their Service.
const bySliceService = "service"

// watch has the inbox told of every change that can matter.
func (s *speaker) watch(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &discoveryv1.EndpointSlice{}, bySliceService, func(o client.Object) []string {
		return []string{o.GetLabels()[discoveryv1.LabelServiceName]}
	})
	if err != nil {
		return err
	}
	for obj, handle := range map[client.Object]func(before, now client.Object){
		&corev1.Service{}:            s.serviceChanged,
		&discoveryv1.EndpointSlice{}: s.sliceChanged,
		&corev1.Node{}:               s.nodeChanged,
		&v1beta1.IPAddressPool{}:     s.configChanged,
		&v1beta1.L2Advertisement{}:   s.configChanged,
		&v1beta2.BGPPeer{}:           s.configChanged,
		&v1beta1.BGPAdvertisement{}:  s.configChanged,
		&v1beta1.BFDProfile{}:        s.configChanged,
		&v1beta1.Community{}:         s.configChanged,
	} {
		informer, err := mgr.GetCache().GetInformer(ctx, obj)
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(onChange(handle)); err != nil {
			return err
		}
	}
	return nil
}

// onChange calls handle for additions (nothing before), updates and deletions
// (nothing now).
func onChange(handle func(before, now client.Object)) toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { handle(nil, o.(client.Object)) },
		UpdateFunc: func(before, now any) { handle(before.(client.Object), now.(client.Object)) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			handle(o.(client.Object), nil)
		},
	}
}

// either returns the object as it is now or, if it is gone, as it was.
func either(before, now client.Object) client.Object {
	if now == nil {
		return before
	}
	return now
}

func (s *speaker) serviceChanged(before, now client.Object) {
	if svc, ok := now.(*corev1.Service); ok && before == nil && s.handled(svc) {
		s.durations.appeared(svc, time.Now())
	}
	o := either(before, now)
	s.inbox.addService(lb.ServiceKey{Namespace: o.GetNamespace(), Name: o.GetName()})
}

func (s *speaker) sliceChanged(before, now client.Object) {
	o := either(before, now)
	s.inbox.addService(lb.ServiceKey{Namespace: o.GetNamespace(), Name: o.GetLabels()[discoveryv1.LabelServiceName]})
}

// nodeChanged ignores the heartbeats. A Node that comes or changes may be one whose
// speaker is not in the ring yet.
func (s *speaker) nodeChanged(before, now client.Object) {
	if before != nil && now != nil && equality.Semantic.DeepEqual(kube.Node(before.(*corev1.Node)), kube.Node(now.(*corev1.Node))) {
		return
	}
	s.ring.rejoin()
	s.inbox.addEverything()
}

// configChanged ignores changes of status.
func (s *speaker) configChanged(before, now client.Object) {
	if before != nil && now != nil && before.GetGeneration() == now.GetGeneration() &&
		equality.Semantic.DeepEqual(before.GetLabels(), now.GetLabels()) {
		return
	}
	s.inbox.addEverything()
}
