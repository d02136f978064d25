package main

import (
	"context"
	"fmt"

	"github.com/go-kit/log/level"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/herald-lb/herald/internal/kube"
)

// reports are the objects in which a speaker says what is so.
type reports struct {
	state  *kube.ConfigurationState
	layer2 *kube.ServiceL2Statuses
	bgp    *kube.ServiceBGPStatuses
	// sessions is nil where the cluster does not let them be written.
	sessions *kube.BGPSessionStates
}

// addReports hands to the manager what keeps the objects true.
func addReports(ctx context.Context, mgr ctrl.Manager, l logger, o options) (reports, error) {
	r := reports{
		state:  kube.NewConfigurationState(l, mgr, o.Namespace, kube.SpeakerReporter(o.PodName, o.node)),
		layer2: kube.NewServiceL2Statuses(l, mgr, o.Namespace, o.PodName, o.node),
		bgp:    kube.NewServiceBGPStatuses(l, mgr, o.Namespace, o.PodName, o.node),
	}
	for _, k := range []keeper{r.state, r.layer2, r.bgp} {
		if err := addKeeper(ctx, mgr, mgr, k); err != nil {
			return r, err
		}
	}
	known, err := kube.KnowsBGPSessionStates(ctx, mgr.GetAPIReader(), o.Namespace)
	switch {
	case err != nil:
		return r, fmt.Errorf("look for BGPSessionStates: %w", err)
	case !known:
		level.Info(l).Log("msg", "BGPSessionStates are not written: the cluster does not know them, or does not let them be read")
		return r, nil
	}
	r.sessions, err = addSessions(ctx, mgr, l, o)
	return r, err
}

// keeper keeps objects of one kind true, also when somebody else changes them.
type keeper interface {
	manager.Runnable
	Watch(context.Context, cluster.Cluster) error
}

func addKeeper(ctx context.Context, mgr ctrl.Manager, c cluster.Cluster, k keeper) error {
	if err := k.Watch(ctx, c); err != nil {
		return fmt.Errorf("watch status objects: %w", err)
	}
	return mgr.Add(k)
}

func addSessions(ctx context.Context, mgr ctrl.Manager, l logger, o options) (*kube.BGPSessionStates, error) {
	c, err := cluster.New(mgr.GetConfig(), func(co *cluster.Options) {
		co.Scheme, co.Logger, co.Cache = mgr.GetScheme(), mgr.GetLogger(), kube.SessionCacheOptions(o.Namespace, o.node)
	})
	if err != nil {
		return nil, fmt.Errorf("set up the cache of BGPSessionStates: %w", err)
	}
	states := kube.NewBGPSessionStates(l, c, o.Namespace, o.PodName, o.node)
	if err := mgr.Add(c); err != nil {
		return nil, err
	}
	return states, addKeeper(ctx, mgr, c, states)
}
