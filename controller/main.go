// The controller gives Services of type LoadBalancer their addresses.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-kit/log/level"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/logging"
	herald "github.com/herald-lb/herald/internal/metrics"
	"github.com/herald-lb/herald/internal/process"
	"github.com/herald-lb/herald/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "controller:", err)
		os.Exit(1)
	}
}

// run is the life of the process: settings, manager, parts, start.
func run(ctx context.Context, args []string) error {
	o, err := parseOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	logger, err := logging.New(os.Stdout, o.LogLevel)
	if err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	level.Info(logger).Log("msg", "controller starting", "version", version.String())
	bgpType, err := process.BGPType()
	if err != nil {
		return err
	}
	if bgpType != "" {
		process.NoteIdle(logger, []string{"METALLB_BGP_TYPE"})
	}

	scheme, err := kube.Scheme()
	if err != nil {
		return err
	}
	mgr, err := o.Manager(logger, scheme, kube.CacheOptions(o.Namespace, kube.ControllerReporter(o.PodName)), "")
	if err != nil {
		return err
	}
	if o.webhookMode == webhookOnly {
		level.Info(logger).Log("msg", "running without allocating addresses", "webhook-mode", o.webhookMode)
		return mgr.Start(ctx)
	}
	if err := addParts(ctx, mgr, logger, o); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return err
	}
	level.Info(logger).Log("msg", "controller stopped")
	return nil
}

// addParts hands everything that runs to the manager.
func addParts(ctx context.Context, mgr ctrl.Manager, logger logger, o options) error {
	events, err := kube.NewEvents(mgr.GetConfig(), mgr.GetScheme(), "metallb-controller", "")
	if err != nil {
		return fmt.Errorf("set up events: %w", err)
	}
	state := kube.NewConfigurationState(logger, mgr, o.Namespace, kube.ControllerReporter(o.PodName))
	if err := state.Watch(ctx, mgr); err != nil {
		return fmt.Errorf("watch ConfigurationStates: %w", err)
	}
	a := newAllocator(logger, mgr.GetClient(), events, state, herald.NewClient(metrics.Registry), o.Namespace, o.LoadBalancerClass)
	herald.RegisterPools(metrics.Registry, a.poolMetrics)
	if err := a.register(mgr); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	if err := mgr.AddReadyzCheck("addresses", a.ready); err != nil {
		return err
	}
	for _, part := range []interface {
		Start(context.Context) error
	}{events, state, newPoolStatuses(logger, mgr.GetClient(), a, o.Namespace), newMemberlistSecret(logger, mgr, o)} {
		if err := mgr.Add(part); err != nil {
			return err
		}
	}
	return nil
}
