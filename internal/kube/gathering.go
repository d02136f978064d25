package kube

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// Gathered is what the leading controller gathers to say in the status of each object
// of the configuration how it is.
type Gathered struct {
	// Objects are those of the configuration, but for Secrets and Namespaces.
	Objects config.Objects
	// Speakers are the nodes that run a speaker, Ready those that are ready.
	Speakers, Ready map[lb.NodeName]bool
	// Sessions are what speakers say of their sessions.
	Sessions map[lb.PeerName]map[lb.NodeName]v1beta1.BGPSessionStateStatus
}

// Gather reads it, from a cache with GatheringCacheOptions.
func Gather(ctx context.Context, r client.Reader, namespace string) (g Gathered, err error) {
	if g.Objects, err = Configuration(ctx, r, namespace, ""); err != nil {
		return g, err
	}
	nodes, err := list(ctx, r, "Nodes", corev1.NodeList{})
	g.Ready = map[lb.NodeName]bool{}
	for _, n := range nodes.Items {
		g.Ready[lb.NodeName(n.Name)] = ready(n.Status.Conditions)
	}
	if err != nil {
		return g, err
	}
	states, err := list(ctx, r, "ConfigurationStates", v1beta1.ConfigurationStateList{}, client.InNamespace(namespace))
	g.Speakers = map[lb.NodeName]bool{}
	for _, s := range states.Items {
		g.Speakers[lb.NodeName(s.Labels[labelNodeName])] = true
	}
	if err != nil {
		return g, err
	}
	sessions, err := list(ctx, r, "BGPSessionStates", v1beta1.BGPSessionStateList{}, client.InNamespace(namespace))
	g.Sessions = map[lb.PeerName]map[lb.NodeName]v1beta1.BGPSessionStateStatus{}
	for _, s := range sessions.Items {
		peer := lb.PeerName(s.Status.BGPPeer)
		if g.Sessions[peer] == nil {
			g.Sessions[peer] = map[lb.NodeName]v1beta1.BGPSessionStateStatus{}
		}
		g.Sessions[peer][lb.NodeName(s.Status.Node)] = s.Status
	}
	return g, err
}

func ready(conditions []corev1.NodeCondition) bool {
	return slices.ContainsFunc(conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// GatheringCacheOptions are those of a cache that Gather reads. It is a cache of its own, which
// is there while a replica leads: of Nodes and sessions there may be thousands.
func GatheringCacheOptions(namespace string) cache.Options {
	ours := map[string]cache.Config{namespace: {}}
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&v1beta1.IPAddressPool{}:      {Namespaces: ours, Transform: strip},
			&v1beta1.L2Advertisement{}:    {Namespaces: ours, Transform: strip},
			&v1beta2.BGPPeer{}:            {Namespaces: ours, Transform: strip},
			&v1beta1.BGPAdvertisement{}:   {Namespaces: ours, Transform: strip},
			&v1beta1.BFDProfile{}:         {Namespaces: ours, Transform: strip},
			&v1beta1.Community{}:          {Namespaces: ours, Transform: strip},
			&v1beta1.ConfigurationState{}: {Namespaces: ours, Transform: strip},
			&v1beta1.BGPSessionState{}:    {Namespaces: ours, Transform: stripStatus},
			&corev1.Node{}:                {Transform: stripNode},
		},
	}
}

// stripNode keeps of a Node its labels, and what its conditions say.
func stripNode(obj any) (any, error) {
	if o, ok := obj.(*corev1.Node); ok {
		o.Annotations, o.Spec = nil, corev1.NodeSpec{}
		o.Status = corev1.NodeStatus{Conditions: slices.Clone(o.Status.Conditions)}
		for i, c := range o.Status.Conditions {
			o.Status.Conditions[i] = corev1.NodeCondition{Type: c.Type, Status: c.Status}
		}
	}
	return strip(obj)
}

// WatchGathering calls look whenever Gather may find something else than before. What
// is left of a Node's heartbeats is no change.
func WatchGathering(ctx context.Context, c cache.Cache, look func()) error {
	for kind := range GatheringCacheOptions("").ByObject {
		informer, err := c.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { look() },
			UpdateFunc: func(before, now any) {
				if !isHeartbeat(before, now) {
					look()
				}
			},
			DeleteFunc: func(any) { look() },
		}); err != nil {
			return err
		}
	}
	return nil
}

func isHeartbeat(before, now any) bool {
	b, isNode := before.(*corev1.Node)
	n, _ := now.(*corev1.Node)
	return isNode && equality.Semantic.DeepEqual(b.Labels, n.Labels) && equality.Semantic.DeepEqual(b.Status, n.Status)
}
