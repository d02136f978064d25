package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// leaseName is the Lease that the replicas stand for.
const leaseName = "metallb-controller"

// The terms of the lease. Who leads renews it twice a second, the one write that an idle
// cluster costs. Who dies is replaced when leaseDuration has passed, and up to
// 1.1 s in which the others look next.
const (
	leaseDuration = 3 * time.Second
	renewDeadline = 2 * time.Second
	renewPeriod   = 500 * time.Millisecond
	// leasePatience bounds one request, so that the deadline leaves time for another.
	leasePatience = time.Second
)

// lease is the lock of the election. It opens the fence with each renewal, for as
// long as the others are sure to wait: they count from when they see the renewal, we
// from before it is sent, and less than they do.
type lease struct {
	*resourcelock.LeaseLock
	fence *fence
	// writes counts the updates.
	writes prometheus.Counter
	// held is set once the lease is ours. Only the elector's goroutine writes, and it has ended before
	// anybody else reads.
	held bool
}

// newLease is the lease for one attempt to lead.
func newLease(cfg *rest.Config, namespace, identity string, f *fence, writes prometheus.Counter) (*lease, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout = leasePatience
	c, err := coordinationv1client.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &lease{fence: f, writes: writes, LeaseLock: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: leaseName},
		Client:     c,
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}}, nil
}

// Create makes the Lease, as its first holder.
func (l *lease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.noting(time.Now(), l.LeaseLock.Create(ctx, r))
}

// Update takes or renews the lease. It fails if another was first.
func (l *lease) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.noting(time.Now(), l.write(ctx, r))
}

// write counts what reached the API server.
func (l *lease) write(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	err := l.LeaseLock.Update(ctx, r)
	if err == nil || apierrors.IsConflict(err) {
		l.writes.Inc()
	}
	return err
}

// noting is given the moment before the request, as arguments are evaluated in order.
func (l *lease) noting(sent time.Time, err error) error {
	if err == nil {
		l.held = true
		l.fence.openUntil(sent.Add(renewDeadline))
	}
	return err
}

// release lets go of the lease, so that the next replica need not wait for its end. Whoever
// calls it has stopped writing. A renewal that was given up on may have been stored
// all the same; hence the second try.
func (l *lease) release(ctx context.Context) (err error) {
	l.fence.openUntil(time.Time{})
	for range 2 {
		var stored *resourcelock.LeaderElectionRecord
		stored, _, err = l.Get(ctx)
		if err != nil || stored.HolderIdentity != l.Identity() {
			return err
		}
		stored.HolderIdentity = ""
		if err = l.write(ctx, *stored); err == nil {
			return nil
		}
	}
	return err
}
