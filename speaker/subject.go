package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

// subject is a service that a round decides about. It has no object if it is gone, or
// not ours.
type subject struct {
	object *corev1.Service
	plan.Served
}

func (s *speaker) handled(svc *corev1.Service) bool {
	return kube.Handled(svc, s.options.LoadBalancerClass)
}

// readSome returns the services of those names.
func (s *speaker) readSome(ctx context.Context, keys map[lb.ServiceKey]struct{}) (map[lb.ServiceKey]subject, error) {
	out := map[lb.ServiceKey]subject{}
	for key := range keys {
		sub, err := s.readOne(ctx, key)
		if err != nil {
			return nil, err
		}
		out[key] = sub
	}
	return out, nil
}

func (s *speaker) readOne(ctx context.Context, key lb.ServiceKey) (subject, error) {
	svc := &corev1.Service{} // it is not changed
	err := s.client.Get(ctx, types.NamespacedName(key), svc, client.UnsafeDisableDeepCopy)
	switch {
	case apierrors.IsNotFound(err) || err == nil && !s.handled(svc):
		return subject{}, nil
	case err != nil:
		return subject{}, fmt.Errorf("read service %s: %w", key, err)
	}
	var list discoveryv1.EndpointSliceList
	err = s.client.List(ctx, &list, client.UnsafeDisableDeepCopy, client.InNamespace(key.Namespace), client.MatchingFields{bySliceService: key.Name})
	if err != nil {
		return subject{}, fmt.Errorf("list the EndpointSlices of service %s: %w", key, err)
	}
	return subject{svc, plan.Served{Service: kube.Service(svc), Endpoints: kube.Endpoints(list.Items)}}, nil
}

// readAll returns every service that there is to decide about: those that exist, and
// those of which verdicts are held.
func (s *speaker) readAll(ctx context.Context, _ map[lb.ServiceKey]struct{}) (map[lb.ServiceKey]subject, error) {
	var services corev1.ServiceList
	if err := s.client.List(ctx, &services, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	endpoints, err := s.allEndpoints(ctx)
	if err != nil {
		return nil, err
	}
	out := map[lb.ServiceKey]subject{}
	for key := range s.verdicts {
		out[key] = subject{}
	}
	for i := range services.Items {
		if svc := &services.Items[i]; s.handled(svc) {
			out[kube.Key(svc)] = subject{svc, plan.Served{Service: kube.Service(svc), Endpoints: endpoints[kube.Key(svc)]}}
		}
	}
	return out, nil
}

// allEndpoints lists all endpoints at once, by the service that they are of.
func (s *speaker) allEndpoints(ctx context.Context) (map[lb.ServiceKey][]lb.Endpoint, error) {
	var list discoveryv1.EndpointSliceList
	if err := s.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list EndpointSlices: %w", err)
	}
	out := make(map[lb.ServiceKey][]lb.Endpoint, len(list.Items))
	for i, slice := range list.Items {
		key := lb.ServiceKey{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
		out[key] = append(out[key], kube.Endpoints(list.Items[i:i+1])...)
	}
	return out, nil
}

// addSharing notes what the services hold from now on, and adds those to be decided about
// with them: the ones that share their addresses, or did so until now.
func (s *speaker) addSharing(ctx context.Context, subjects map[lb.ServiceKey]subject) error {
	sharing := map[lb.ServiceKey]struct{}{}
	note := func(key lb.ServiceKey) {
		for _, k := range s.holders.Group(key) {
			if _, ok := subjects[k]; !ok {
				sharing[k] = struct{}{}
			}
		}
	}
	for key := range subjects {
		note(key)
	}
	for key, sub := range subjects {
		s.holders.Set(key, sub.Service.Held)
	}
	for key := range subjects {
		note(key)
	}
	others, err := s.readSome(ctx, sharing)
	for key, sub := range others {
		subjects[key] = sub
	}
	return err
}
