package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	herald "github.com/herald-lb/herald/internal/metrics"
)

// leaseRecheck is how often a controller that may keep no lease asks whether it may by now.
const leaseRecheck = time.Minute

// A controller may keep no lease if it was refused it so many times in a row, with a pause between: roles
// that are being replaced refuse for a moment, and who leads alone does so without a fence.
const (
	leaseRefusals = 3
	refusalPause  = time.Second
)

// part is something that runs until its context ends.
type part interface {
	Start(context.Context) error
}

// candidacy has this replica stand for the lease, again and again, and lead while it
// holds it. Losing it, as when the API server is away, ends no process: what leading
// takes is stopped, and what standing by takes has never stopped.
type candidacy struct {
	logger    logger
	manager   ctrl.Manager
	namespace string
	identity  string
	fence     *fence
	writes    prometheus.Counter
	// granted is set once this replica has read the lease: who is refused it later has roles that are being
	// replaced, and not such as know of none.
	granted bool
	// vacancies says that somebody has let go of the lease.
	vacancies chan struct{}
	// predecessors are waited for before each term.
	predecessors predecessors
	// follow is called when there is no need to wait for this replica to be ready.
	follow func()
	// lead is what only one replica may do at a time.
	lead []part
}

// newCandidacy returns the candidacy of this replica; its caller says what to lead with.
func newCandidacy(mgr ctrl.Manager, f *fence, l logger, o options) (*candidacy, error) {
	identity, err := identityOf(o)
	return &candidacy{
		logger: l, manager: mgr, namespace: o.Namespace, identity: identity, fence: f,
		writes:       herald.NewLeaseWrites(metrics.Registry),
		vacancies:    make(chan struct{}, 1),
		predecessors: predecessors{logger: l, reader: mgr.GetAPIReader(), self: types.NamespacedName{Namespace: o.Namespace, Name: o.PodName}},
	}, err
}

// identityOf is how a replica is known in the Lease: by its pod. A container that is started
// again in its pod goes on where the one before it ended.
func identityOf(o options) (string, error) {
	if o.PodName != "" {
		return o.PodName, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find a name to stand for the lease with: %w", err)
	}
	return host, nil
}

// Start stands for the lease until ctx ends.
func (c *candidacy) Start(ctx context.Context) error {
	for watching := false; ctx.Err() == nil; {
		lease, err := newLease(c.manager.GetConfig(), c.namespace, c.identity, c.fence, c.writes)
		if err != nil {
			return fmt.Errorf("stand for the lease: %w", err)
		}
		if !c.permitted(ctx, lease) {
			c.leadAlone(ctx, lease)
			continue
		}
		if !watching {
			watching = true
			if err := onEvery(ctx, c.manager, &coordinationv1.Lease{}, c.noteLease); err != nil {
				return fmt.Errorf("watch the lease: %w", err)
			}
		}
		if err := c.stand(ctx, lease); err != nil {
			return fmt.Errorf("stand for the lease: %w", err)
		}
	}
	return nil
}

// permitted reports whether the roles grant the lease, once that is known: an API server
// that does not answer says neither yes nor no. If ctx ends first, they do not.
func (c *candidacy) permitted(ctx context.Context, l *lease) bool {
	for refused := 0; !c.granted && refused < leaseRefusals && ctx.Err() == nil; {
		switch err := c.ask(ctx, l); {
		case apierrors.IsForbidden(err):
			refused++
		case err != nil:
			refused = 0
		}
		if !c.granted {
			pause(ctx, refusalPause)
		}
	}
	return c.granted
}

// ask notes whether the lease is granted, and returns why not.
func (c *candidacy) ask(ctx context.Context, l *lease) error {
	_, _, err := l.Get(ctx)
	if apierrors.IsNotFound(err) {
		err = nil
	}
	c.granted = err == nil
	return err
}

// leadAlone leads without a lease, as who has roles that predate Herald is the only
// replica. It ends when a lease is granted, and not when nobody says so.
func (c *candidacy) leadAlone(ctx context.Context, l *lease) {
	if ctx.Err() != nil {
		return
	}
	level.Info(c.logger).Log("msg", "leading without a lease: the roles grant none, so that this has to be the only replica")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	c.fence.open()
	defer c.fence.openUntil(time.Time{})
	var led sync.WaitGroup
	led.Go(func() { c.run(ctx) })
	for !c.granted && ctx.Err() == nil {
		pause(ctx, leaseRecheck)
		_ = c.ask(ctx, l) // again, as long as it is refused or not answered
	}
	stop()
	led.Wait()
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// stand waits for the lease, leads while it is ours, and returns when all that leading
// takes has ended. A lease that was let go of is stood for anew, which is at once.
func (c *candidacy) stand(ctx context.Context, l *lease) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	led := make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l, Name: leaseName, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: renewPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { defer close(led); c.serve(ctx) },
			OnStoppedLeading: func() {},
			OnNewLeader:      c.noteLeader,
		},
	})
	if err != nil {
		return err
	}
	go c.awaitVacancy(ctx, elector, stop)
	// What it would log is said here, once.
	elector.Run(klog.NewContext(ctx, logr.Discard()))
	if !l.held {
		return nil
	}
	<-led
	level.Info(c.logger).Log("msg", "no longer leading", "lease", leaseName)
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), leasePatience)
	defer cancel()
	if err := l.release(release); err != nil {
		level.Info(c.logger).Log("msg", "lease not released: the next replica waits for its end", "error", err)
	}
	return nil
}

// awaitVacancy ends an attempt that is waiting for its time when there is nothing to
// wait for any more.
func (c *candidacy) awaitVacancy(ctx context.Context, e *leaderelection.LeaderElector, stop func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.vacancies:
			if !e.IsLeader() {
				stop()
				return
			}
		}
	}
}

// noteLease looks for a lease without a holder. It does not block.
func (c *candidacy) noteLease(obj client.Object) {
	if holder := obj.(*coordinationv1.Lease).Spec.HolderIdentity; holder == nil || *holder == "" {
		select {
		case c.vacancies <- struct{}{}:
		default:
		}
	}
}

func (c *candidacy) noteLeader(identity string) {
	if identity != "" && identity != c.identity {
		level.Info(c.logger).Log("msg", "standing by", "leader", identity)
		c.follow()
	}
}

// serve leads until ctx ends.
func (c *candidacy) serve(ctx context.Context) {
	level.Info(c.logger).Log("msg", "leading", "lease", leaseName, "as", c.identity)
	c.follow() // who came before ends when this replica is ready
	c.predecessors.await(ctx)
	c.run(ctx)
}

// partRetry lies between the failure of a part of the leader and its next start.
const partRetry = 5 * time.Second

// run runs the parts until ctx ends. One that fails is started again.
func (c *candidacy) run(ctx context.Context) {
	var running sync.WaitGroup
	for _, p := range c.lead {
		running.Go(func() {
			for ctx.Err() == nil {
				err := p.Start(ctx)
				if err == nil {
					return
				}
				level.Error(c.logger).Log("msg", "part of the leader ended", "error", err, "retry", partRetry)
				pause(ctx, partRetry)
			}
		})
	}
	running.Wait()
	<-ctx.Done()
}
