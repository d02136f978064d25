// Package kube is the edge to Kubernetes: it reads objects as lb values, watches what
// Herald depends on, and writes statuses and events.
package kube

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// Scheme knows the kinds of metallb.io, and those groups of Kubernetes that we look at: all of them
// would take 3 MB.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		admissionregistrationv1.AddToScheme, appsv1.AddToScheme, coordinationv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme,
		v1beta1.AddToScheme, v1beta2.AddToScheme,
	} {
		if err := add(s); err != nil {
			return nil, fmt.Errorf("build scheme: %w", err)
		}
	}
	return s, nil
}

// Pools reads what the controller's configuration is made of, and the advertisements,
// on which it reports.
func Pools(ctx context.Context, r client.Reader, namespace string) (config.Objects, error) {
	o, err := ownKinds(ctx, r, namespace)
	if err != nil {
		return o, err
	}
	namespaces, err := list(ctx, r, "Namespaces", corev1.NamespaceList{})
	for i := range namespaces.Items {
		o.Namespaces = append(o.Namespaces, config.Namespace{Name: namespaces.Items[i].Name, Labels: namespaces.Items[i].Labels})
	}
	return o, err
}

// Configuration reads what the configuration of a node's speaker is made of, but for the
// Secrets that it names.
func Configuration(ctx context.Context, r client.Reader, namespace string, node lb.NodeName) (config.Objects, error) {
	o, err := ownKinds(ctx, r, namespace)
	if err != nil {
		return o, err
	}
	if err := addBGPKinds(ctx, r, namespace, &o); err != nil {
		return o, err
	}
	o.Node = node
	nodes, err := list(ctx, r, "Nodes", corev1.NodeList{})
	o.Nodes = make([]lb.Node, len(nodes.Items))
	for i := range nodes.Items {
		o.Nodes[i] = Node(&nodes.Items[i])
	}
	return o, err
}

func ownKinds(ctx context.Context, r client.Reader, namespace string) (config.Objects, error) {
	in := client.InNamespace(namespace)
	pools, err := list(ctx, r, "IPAddressPools", v1beta1.IPAddressPoolList{}, in)
	if err != nil {
		return config.Objects{}, err
	}
	ads, err := list(ctx, r, "L2Advertisements", v1beta1.L2AdvertisementList{}, in)
	return config.Objects{Pools: pools.Items, L2Advertisements: ads.Items}, err
}

func addBGPKinds(ctx context.Context, r client.Reader, namespace string, o *config.Objects) error {
	in := client.InNamespace(namespace)
	peers, err := list(ctx, r, "BGPPeers", v1beta2.BGPPeerList{}, in)
	if err != nil {
		return err
	}
	ads, err := list(ctx, r, "BGPAdvertisements", v1beta1.BGPAdvertisementList{}, in)
	if err != nil {
		return err
	}
	profiles, err := list(ctx, r, "BFDProfiles", v1beta1.BFDProfileList{}, in)
	if err != nil {
		return err
	}
	communities, err := list(ctx, r, "Communities", v1beta1.CommunityList{}, in)
	o.Peers, o.BGPAdvertisements, o.BFDProfiles, o.Communities = peers.Items, ads.Items, profiles.Items, communities.Items
	return err
}

func list[L any, P interface {
	*L
	client.ObjectList
}](ctx context.Context, r client.Reader, kind string, out L, opts ...client.ListOption) (L, error) {
	if err := r.List(ctx, P(&out), opts...); err != nil {
		return out, fmt.Errorf("list %s: %w", kind, err)
	}
	return out, nil
}
