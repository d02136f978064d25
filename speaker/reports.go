package main

import (
	"context"
	"fmt"
	"sync"
	"time"

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
}

// addReports hands to the manager what keeps the objects true.
func addReports(ctx context.Context, mgr ctrl.Manager, l logger, o options) (reports, error) {
	r := reports{
		state:  kube.NewConfigurationState(l, mgr, o.Namespace, kube.SpeakerReporter(o.PodName, o.node)),
		layer2: kube.NewServiceL2Statuses(l, mgr, o.Namespace, o.PodName, o.node),
		bgp:    kube.NewServiceBGPStatuses(l, mgr, o.Namespace, o.PodName, o.node),
	}
	for _, k := range []keeper{r.state, r.layer2, r.bgp} {
		if err := addKeeper(ctx, mgr, k); err != nil {
			return r, err
		}
	}
	return r, nil
}

// keeper keeps objects of one kind true, also when somebody else changes them.
type keeper interface {
	manager.Runnable
	Watch(context.Context, cluster.Cluster) error
}

func addKeeper(ctx context.Context, mgr ctrl.Manager, k keeper) error {
	if err := k.Watch(ctx, mgr); err != nil {
		return fmt.Errorf("watch status objects: %w", err)
	}
	return mgr.Add(k)
}

// sessionReports has it told in BGPSessionStates how sessions go, from when the cluster takes them.
type sessionReports struct {
	logger  logger
	manager ctrl.Manager
	options options
	// use is handed the keeper of the objects.
	use func(*kube.BGPSessionStates)
}

// sessionReportsRetry lies between a failure to keep the objects and the next try.
const sessionReportsRetry = 5 * time.Second

// Start keeps the objects until ctx ends.
func (r sessionReports) Start(ctx context.Context) error {
	for kube.AwaitBGPSessionStates(ctx, r.manager.GetAPIReader(), r.options.Namespace, r.noteMissing) {
		if err := r.keep(ctx); err != nil {
			level.Error(r.logger).Log("msg", "BGPSessionStates are not written", "error", err, "retry", sessionReportsRetry)
			select {
			case <-ctx.Done():
			case <-time.After(sessionReportsRetry):
			}
		}
	}
	return nil
}

func (r sessionReports) noteMissing() {
	level.Info(r.logger).Log("msg", "BGPSessionStates are not written: the cluster does not know them, or does not let them be read")
}

// keep keeps the objects until ctx ends, or what is known of them cannot be read.
func (r sessionReports) keep(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c, err := cluster.New(r.manager.GetConfig(), func(co *cluster.Options) {
		co.Scheme, co.Logger, co.Cache = r.manager.GetScheme(), r.manager.GetLogger(), kube.SessionCacheOptions(r.options.Namespace, r.options.node)
	})
	if err != nil {
		return fmt.Errorf("set up the cache of BGPSessionStates: %w", err)
	}
	states := kube.NewBGPSessionStates(r.logger, c, r.options.Namespace, r.options.PodName, r.options.node)
	if err := states.Watch(ctx, c); err != nil {
		return fmt.Errorf("watch BGPSessionStates: %w", err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer stop()
		err = c.Start(ctx)
	})
	if c.GetCache().WaitForCacheSync(ctx) {
		r.use(states)
		_ = states.Start(ctx) // it ends with ctx, and in no other way
	}
	reading.Wait()
	return err
}
