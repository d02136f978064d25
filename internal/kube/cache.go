package kube

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// CacheOptions keep a process's cache small: of our namespace alone for our own kinds,
// of status objects those that the process itself writes, and nobody's managedFields.
func CacheOptions(namespace string, r Reporter) cache.Options {
	ours := cache.ByObject{Namespaces: map[string]cache.Config{namespace: {}}}
	own := cache.ByObject{
		Namespaces: map[string]cache.Config{namespace: {}},
		Field:      fields.OneTermEqualSelector("metadata.name", r.Name),
	}
	ofNode := ofNode(namespace, lb.NodeName(r.Node))
	o := cache.Options{
		DefaultTransform:            strip,
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&v1beta1.IPAddressPool{}:      ours,
			&v1beta1.L2Advertisement{}:    ours,
			&v1beta2.BGPPeer{}:            ours,
			&v1beta1.BGPAdvertisement{}:   ours,
			&v1beta1.BFDProfile{}:         ours,
			&v1beta1.Community{}:          ours,
			&v1beta1.ConfigurationState{}: own,
			&v1beta1.ServiceL2Status{}:    ofNode,
			&v1beta1.ServiceBGPStatus{}:   ofNode,
		},
	}
	if r.Node != "" { // a speaker, which there are many of, and none of which writes Services
		o.ByObject[&corev1.Service{}] = cache.ByObject{Transform: stripService}
		o.ByObject[&discoveryv1.EndpointSlice{}] = cache.ByObject{Transform: stripEndpoints}
	}
	return o
}

// SessionCacheOptions are those of a cache of the BGPSessionStates of one node. It is a
// cache of its own, as one that knew of a kind which the cluster lacks could not be made.
func SessionCacheOptions(namespace string, node lb.NodeName) cache.Options {
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		ByObject:                    map[client.Object]cache.ByObject{&v1beta1.BGPSessionState{}: ofNode(namespace, node)},
	}
}

// ofNode are the status objects that a node writes, of which labels are not looked at.
func ofNode(namespace string, node lb.NodeName) cache.ByObject {
	return cache.ByObject{
		Namespaces: map[string]cache.Config{namespace: {}},
		Label:      labels.SelectorFromSet(labels.Set{labelNode: string(node)}),
		Transform:  stripStatus,
	}
}

// strip drops what is never looked at and makes up most of an object's size, and keeps once
// what thousands of Services say alike.
func strip(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Node:
		o.Status.Images = nil
		o.ManagedFields = nil
	case *corev1.Service:
		o.ManagedFields = nil
		for i := range o.Status.Conditions {
			c := &o.Status.Conditions[i]
			c.Type, c.Status, c.Reason, c.Message = shared(c.Type), shared(c.Status), shared(c.Reason), shared(c.Message)
		}
	case client.Object:
		o.SetManagedFields(nil)
	}
	return obj, nil
}

// stripService keeps of the annotations those that are ours: kubectl's is as large as
// the object.
func stripService(obj any) (any, error) {
	if o, ok := obj.(*corev1.Service); ok {
		maps.DeleteFunc(o.Annotations, func(name, _ string) bool {
			return !strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, legacyPrefix)
		})
		o.OwnerReferences, o.Finalizers, o.Status.Conditions = nil, nil, nil
	}
	return strip(obj)
}

// stripEndpoints keeps of endpoints where they are, and whether they can serve.
func stripEndpoints(obj any) (any, error) {
	if o, ok := obj.(*discoveryv1.EndpointSlice); ok {
		o.Annotations, o.OwnerReferences, o.Ports = nil, nil, nil
		o.Labels = map[string]string{discoveryv1.LabelServiceName: o.Labels[discoveryv1.LabelServiceName]}
		for i, e := range o.Endpoints {
			o.Endpoints[i] = discoveryv1.Endpoint{NodeName: e.NodeName, Conditions: e.Conditions}
		}
	}
	return strip(obj)
}

func stripStatus(obj any) (any, error) {
	if o, ok := obj.(client.Object); ok {
		o.SetLabels(nil)
	}
	return strip(obj)
}
