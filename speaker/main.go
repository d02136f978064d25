// The speaker announces the addresses of Services from the node that it runs on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-kit/log/level"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/layer2"
	"github.com/herald-lb/herald/internal/link"
	"github.com/herald-lb/herald/internal/logging"
	herald "github.com/herald-lb/herald/internal/metrics"
	"github.com/herald-lb/herald/internal/process"
	"github.com/herald-lb/herald/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "speaker:", err)
		os.Exit(1)
	}
}

// run is the life of the process: settings, manager, parts, start, hand-over.
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
	level.Info(logger).Log("msg", "speaker starting", "version", version.String(), "node", o.node)
	idle, err := o.idle()
	if err != nil {
		return err
	}
	process.NoteIdle(logger, idle)

	scheme, err := kube.Scheme()
	if err != nil {
		return err
	}
	mgr, err := o.Manager(logger, scheme, kube.CacheOptions(o.Namespace, kube.SpeakerReporter(o.PodName, o.node)), "127.0.0.1")
	if err != nil {
		return err
	}
	announcer := layer2.New(logger, layer2.Config{Refresh: o.refresh})
	if err := addParts(ctx, mgr, logger, o, announcer); err != nil {
		return err
	}
	return startThenHandOver(ctx, mgr, announcer, logger)
}

// addParts hands everything that runs to the manager, but for the announcer, which
// outlives the rest.
func addParts(ctx context.Context, mgr ctrl.Manager, l logger, o options, announcer *layer2.Announcer) error {
	excludes, err := readExcludes(excludesFile)
	if err != nil {
		return err
	}
	links := link.New(l, excludes)
	ring, err := newRing(l, mgr.GetAPIReader(), o)
	if err != nil {
		return err
	}
	events, err := kube.NewEvents(mgr.GetConfig(), mgr.GetScheme(), "metallb-speaker", string(o.node))
	if err != nil {
		return fmt.Errorf("set up events: %w", err)
	}
	state := kube.NewConfigurationState(l, mgr, o.Namespace, kube.SpeakerReporter(o.PodName, o.node))
	if err := state.Watch(ctx, mgr); err != nil {
		return fmt.Errorf("watch ConfigurationStates: %w", err)
	}
	statuses := kube.NewServiceL2Statuses(l, mgr, o.Namespace, o.PodName, o.node)
	if err := statuses.Watch(ctx, mgr); err != nil {
		return fmt.Errorf("watch ServiceL2Statuses: %w", err)
	}
	s := newSpeaker(l, mgr.GetClient(), events, state, statuses, herald.NewClient(metrics.Registry), o, links, ring, announcer)
	herald.RegisterSpeaker(metrics.Registry, s.announced, s.layer2)
	if err := s.watch(ctx, mgr); err != nil {
		return fmt.Errorf("watch Kubernetes: %w", err)
	}
	if err := mgr.AddReadyzCheck("announcing", s.ready); err != nil {
		return err
	}
	for _, part := range []interface {
		Start(context.Context) error
	}{events, state, statuses, links, ring, s} {
		if err := mgr.Add(part); err != nil {
			return err
		}
	}
	return nil
}

// handOver is how long this node goes on answering after it told the others that it
// leaves: they have announced themselves by then. Two that answer for a moment cost
// nothing, as kube-proxy forwards on both.
const handOver = 500 * time.Millisecond

// startThenHandOver runs until ctx ends. By when the manager returns, this speaker
// has left the ring; only then do the answers stop.
func startThenHandOver(ctx context.Context, mgr ctrl.Manager, announcer *layer2.Announcer, l logger) error {
	answering, silence := context.WithCancel(context.WithoutCancel(ctx))
	silent := make(chan error, 1)
	go func() { silent <- announcer.Start(answering) }()
	context.AfterFunc(ctx, announcer.Quiet)

	err := mgr.Start(ctx)
	if err == nil {
		level.Info(l).Log("msg", "handing over", "for", handOver)
		time.Sleep(handOver)
	}
	silence()
	err = errors.Join(err, <-silent)
	level.Info(l).Log("msg", "speaker stopped")
	return err
}
