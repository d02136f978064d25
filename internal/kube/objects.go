// Package kube is the edge to Kubernetes: it reads objects as lb values, watches what
// Herald depends on, and writes statuses and events.
package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// Scheme knows the kinds of Kubernetes and of metallb.io.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1beta1.AddToScheme, v1beta2.AddToScheme} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	return s, nil
}

// CacheOptions keep a process's cache small: of our namespace alone for our own kinds,
// of status objects those that the process itself writes, and nobody's managedFields.
func CacheOptions(namespace string, r Reporter) cache.Options {
	ours := cache.ByObject{Namespaces: map[string]cache.Config{namespace: {}}}
	own := cache.ByObject{
		Namespaces: map[string]cache.Config{namespace: {}},
		Field:      fields.OneTermEqualSelector("metadata.name", r.Name),
	}
	return cache.Options{
		DefaultTransform:            strip,
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&v1beta1.IPAddressPool{}:      ours,
			&v1beta1.L2Advertisement{}:    ours,
			&v1beta1.ConfigurationState{}: own,
			&v1beta1.ServiceL2Status{}: {
				Namespaces: map[string]cache.Config{namespace: {}},
				Label:      labels.SelectorFromSet(labels.Set{labelNode: r.Node}),
			},
		},
	}
}

// strip drops what is never looked at and makes up most of an object's size.
func strip(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Node:
		o.Status.Images = nil
		o.ManagedFields = nil
	case client.Object:
		o.SetManagedFields(nil)
	}
	return obj, nil
}

// Pools reads what the controller's configuration is made of, and the advertisements,
// on which it reports.
func Pools(ctx context.Context, r client.Reader, namespace string) (config.Objects, error) {
	o, err := ownKinds(ctx, r, namespace)
	if err != nil {
		return o, err
	}
	var namespaces corev1.NamespaceList
	if err := r.List(ctx, &namespaces); err != nil {
		return o, fmt.Errorf("list Namespaces: %w", err)
	}
	for i := range namespaces.Items {
		o.Namespaces = append(o.Namespaces, config.Namespace{Name: namespaces.Items[i].Name, Labels: namespaces.Items[i].Labels})
	}
	return o, nil
}

// Advertisements reads what a speaker's configuration is made of.
func Advertisements(ctx context.Context, r client.Reader, namespace string) (config.Objects, error) {
	o, err := ownKinds(ctx, r, namespace)
	if err != nil {
		return o, err
	}
	var nodes corev1.NodeList
	if err := r.List(ctx, &nodes); err != nil {
		return o, fmt.Errorf("list Nodes: %w", err)
	}
	o.Nodes = make([]lb.Node, len(nodes.Items))
	for i := range nodes.Items {
		o.Nodes[i] = Node(&nodes.Items[i])
	}
	return o, nil
}

func ownKinds(ctx context.Context, r client.Reader, namespace string) (config.Objects, error) {
	var pools v1beta1.IPAddressPoolList
	if err := r.List(ctx, &pools, client.InNamespace(namespace)); err != nil {
		return config.Objects{}, fmt.Errorf("list IPAddressPools: %w", err)
	}
	var ads v1beta1.L2AdvertisementList
	if err := r.List(ctx, &ads, client.InNamespace(namespace)); err != nil {
		return config.Objects{}, fmt.Errorf("list L2Advertisements: %w", err)
	}
	return config.Objects{Pools: pools.Items, L2Advertisements: ads.Items}, nil
}
