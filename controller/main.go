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
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/logging"
	herald "github.com/herald-lb/herald/internal/metrics"
	"github.com/herald-lb/herald/internal/process"
	"github.com/herald-lb/herald/internal/version"
	"github.com/herald-lb/herald/internal/webhook"
)

func main() {
	process.Unmap() // what only the initialization of packages needed
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
	fence := &fence{}
	mgr, err := o.Manager(logger, scheme, cached(o), "", func(m *ctrl.Options) {
		m.NewClient = fence.newClient
		*m.GracefulShutdownTimeout += webhook.LingerTime
	})
	if err != nil {
		return err
	}
	if o.webhookMode != webhookDisabled {
		if err := addReviews(ctx, mgr, logger, o); err != nil {
			return err
		}
	}
	if o.webhookMode == webhookOnly {
		level.Info(logger).Log("msg", "running without allocating addresses", "webhook-mode", o.webhookMode)
	} else if err := addParts(ctx, mgr, fence, logger, o); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return err
	}
	level.Info(logger).Log("msg", "controller stopped")
	return nil
}

// cached are the objects that are watched: of the Lease, the Secret and the webhook
// configuration the one each that is ours, as the roles grant no more.
func cached(o options) cache.Options {
	c := kube.CacheOptions(o.Namespace, kube.ControllerReporter(o.PodName))
	ours := func(name string) cache.ByObject {
		return cache.ByObject{Field: fields.OneTermEqualSelector("metadata.name", name)}
	}
	ourNamespace := map[string]cache.Config{o.Namespace: {}}
	lease, secret := ours(leaseName), ours(o.admission.secret)
	lease.Namespaces, secret.Namespaces = ourNamespace, ourNamespace
	c.ByObject[&coordinationv1.Lease{}] = lease
	c.ByObject[&corev1.Secret{}] = secret
	c.ByObject[&admissionregistrationv1.ValidatingWebhookConfiguration{}] = ours(webhook.ConfigurationName)
	return c
}

// addParts hands everything to the manager that has to do with addresses. All of it runs
// on every replica but what the candidacy leads with.
func addParts(ctx context.Context, mgr ctrl.Manager, f *fence, logger logger, o options) error {
	events, err := kube.NewEvents(mgr.GetConfig(), mgr.GetScheme(), "metallb-controller", "")
	if err != nil {
		return fmt.Errorf("set up events: %w", err)
	}
	state := kube.NewConfigurationState(logger, mgr, o.Namespace, kube.ControllerReporter(o.PodName))
	if err := state.Watch(ctx, mgr); err != nil {
		return fmt.Errorf("watch ConfigurationStates: %w", err)
	}
	a := newAllocator(logger, mgr.GetClient(), mgr.GetAPIReader(), events, state, herald.NewClient(metrics.Registry), herald.NewAssignments(metrics.Registry), o.Namespace, o.LoadBalancerClass)
	if err := a.announcements.watch(mgr); err != nil {
		return fmt.Errorf("watch who announces: %w", err)
	}
	herald.RegisterPools(metrics.Registry, a.poolMetrics)
	herald.RegisterWaiting(metrics.Registry, a.waitingMetrics)
	herald.RegisterProblems(metrics.Registry, a.problemMetrics)
	if err := a.register(mgr); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	if err := mgr.AddReadyzCheck("addresses", a.ready); err != nil {
		return err
	}
	candidacy, err := newCandidacy(mgr, f, logger, o)
	if err != nil {
		return err
	}
	candidacy.follow = a.follow
	candidacy.lead = []part{a, a.announcements, state, newPoolStatuses(logger, mgr.GetClient(), a, o.Namespace), newObjectStatuses(logger, mgr, o.Namespace, a.announcements.see), newMemberlistSecret(logger, mgr, o)}
	if err := mgr.Add(events); err != nil {
		return err
	}
	return mgr.Add(candidacy)
}
