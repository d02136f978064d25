// The speaker announces the addresses of Services from the node that it runs on.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/go-kit/log/level"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/herald-lb/herald/internal/bfd"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/link"
	"github.com/herald-lb/herald/internal/logging"
	herald "github.com/herald-lb/herald/internal/metrics"
	"github.com/herald-lb/herald/internal/process"
	"github.com/herald-lb/herald/internal/version"
)

func main() {
	process.Unmap() // what only the initialization of packages needed
	if err := choose(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "speaker:", err)
		os.Exit(1)
	}
}

// choose runs the speaker, or the process that it keeps beside it.
func choose(args []string) error {
	if slices.Equal(args, []string{bfdCommand}) {
		logger, err := logging.New(os.Stderr, "info")
		if err != nil {
			return err
		}
		return bfd.Serve(logger, os.Stdin, os.Stdout)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args)
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
	e := newEngines(logger, o, metrics.Registry)
	if err := addParts(ctx, mgr, logger, o, e); err != nil {
		return err
	}
	return startThenHandOver(ctx, mgr, e, logger)
}

// addParts hands everything that runs to the manager, but for the engines, which
// outlive the rest.
func addParts(ctx context.Context, mgr ctrl.Manager, l logger, o options, e engines) error {
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
	r, err := addReports(ctx, mgr, l, o)
	if err != nil {
		return err
	}
	inbox := newInbox()
	secrets := kube.NewSecrets(l, mgr.GetAPIReader(), o.Namespace, inbox.addEverything)
	sessions := newSessions(l, o, e.bgp, e.paths, mgr.GetClient(), events)
	s := newSpeaker(parts{
		logger: l, options: o, client: mgr.GetClient(), events: events, state: r.state, l2Statuses: r.layer2, bgpStatuses: r.bgp,
		secrets: secrets, metrics: herald.NewClient(metrics.Registry), links: links, ring: ring, announcer: e.layer2, sessions: sessions, inbox: inbox, durations: e.durations,
	})
	herald.RegisterSpeaker(metrics.Registry, s.announcedMetrics, s.layer2Metrics)
	herald.RegisterBGP(metrics.Registry, sessions.bgpMetrics)
	herald.RegisterBFD(metrics.Registry, e.bfdMetrics, e.bfdDrops)
	if err := s.watch(ctx, mgr); err != nil {
		return fmt.Errorf("watch Kubernetes: %w", err)
	}
	if err := mgr.AddReadyzCheck("announcing", s.ready); err != nil {
		return err
	}
	for _, part := range []manager.Runnable{events, secrets, links, ring, sessions, sessionReports{l, mgr, o, sessions.reportTo}, s} {
		if err := mgr.Add(part); err != nil {
			return err
		}
	}
	return nil
}
