package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// world is the cluster as changes of the configuration are held against it. It is read
// from the API server when a change comes, which is seldom: of two changes that
// follow each other closely, the second is held against the first.
type world struct {
	logger    logger
	stored    client.Reader
	services  client.Reader // a cache: there may be thousands
	namespace string
	class     string
}

// Objects reads the configuration.
func (w world) Objects(ctx context.Context) (config.Objects, error) {
	var (
		pools       v1beta1.IPAddressPoolList
		l2          v1beta1.L2AdvertisementList
		bgp         v1beta1.BGPAdvertisementList
		peers       v1beta2.BGPPeerList
		profiles    v1beta1.BFDProfileList
		communities v1beta1.CommunityList
	)
	for _, list := range []client.ObjectList{&pools, &l2, &bgp, &peers, &profiles, &communities} {
		if err := w.stored.List(ctx, list, client.InNamespace(w.namespace)); err != nil {
			return config.Objects{}, fmt.Errorf("read the configuration: %w", err)
		}
	}
	o := config.Objects{
		Pools: pools.Items, L2Advertisements: l2.Items, BGPAdvertisements: bgp.Items,
		Peers: peers.Items, BFDProfiles: profiles.Items, Communities: communities.Items,
	}
	nodes, err := w.labels(ctx, "Node")
	for _, n := range nodes {
		o.Nodes = append(o.Nodes, lb.Node{Name: lb.NodeName(n.Name), Labels: n.Labels})
	}
	if err != nil {
		return o, err
	}
	namespaces, err := w.labels(ctx, "Namespace")
	for _, n := range namespaces {
		o.Namespaces = append(o.Namespaces, config.Namespace{Name: n.Name, Labels: n.Labels})
	}
	return o, err
}

// labels reads of the objects of a kind what selectors look at.
func (w world) labels(ctx context.Context, kind string) ([]metav1.PartialObjectMetadata, error) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: kind + "List"})
	if err := w.stored.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("read the labels of each %s: %w", kind, err)
	}
	return list.Items, nil
}

// Losing tries the configuration out on a ledger of its own.
func (w world) Losing(ctx context.Context, c lb.Config) []lb.ServiceKey {
	var list corev1.ServiceList
	if err := w.services.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		level.Error(w.logger).Log("msg", "Services not read: nobody is warned of what they lose", "error", err)
		return nil
	}
	var holders []lb.Service
	for i := range list.Items {
		if svc := kube.Service(&list.Items[i]); kube.Handled(&list.Items[i], w.class) && len(svc.Held) > 0 {
			holders = append(holders, svc)
		}
	}
	return losing(holders, c)
}

// losing names those who hold an address that they may hold no more.
func losing(holders []lb.Service, c lb.Config) (losers []lb.ServiceKey) {
	ledger := ipam.NewLedger()
	ledger.SetPools(c.Pools, c.PoolsIncomplete)
	ledger.Restore(holders)
	for _, svc := range holders {
		if len(minus(svc.Held, ledger.Assign(svc).Addresses)) > 0 {
			losers = append(losers, svc.Key)
		}
	}
	slices.SortFunc(losers, lb.ServiceKey.Compare)
	return losers
}
