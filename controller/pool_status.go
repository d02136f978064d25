package main

import (
	"context"
	"fmt"
	"time"

	"github.com/go-kit/log/level"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// poolStatusPause lies between two rounds of writing pool statuses: in a burst of
// thousands of services they are not worth a write for each.
const poolStatusPause = time.Second

// poolStatuses keeps the counters in the status of each IPAddressPool true.
type poolStatuses struct {
	logger    logger
	client    client.Client
	allocator *allocator
	namespace string
}

func newPoolStatuses(l logger, c client.Client, a *allocator, namespace string) *poolStatuses {
	return &poolStatuses{logger: l, client: c, allocator: a, namespace: namespace}
}

// Start writes the statuses on each change of usage until ctx ends.
func (s *poolStatuses) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.allocator.usageChanged:
		}
		if err := s.write(ctx); err != nil && ctx.Err() == nil {
			s.allocator.lookAgainAtUsage()
			if !apierrors.IsConflict(err) { // with a conflict, the cache is behind: it will be there next time
				level.Error(s.logger).Log("msg", "pool status not written", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(poolStatusPause):
		}
	}
}

func (s *poolStatuses) write(ctx context.Context) error {
	var pools v1beta1.IPAddressPoolList
	if err := s.client.List(ctx, &pools, client.InNamespace(s.namespace)); err != nil {
		return err
	}
	usage := s.allocator.usage()
	for i := range pools.Items {
		pool := &pools.Items[i]
		want, known := usage[pool.Name]
		want.Conditions = pool.Status.Conditions
		if !known || equality.Semantic.DeepEqual(pool.Status, want) {
			continue
		}
		pool.Status = want
		if err := s.client.Status().Update(ctx, pool); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("write status of IPAddressPool %s: %w", pool.Name, err)
		}
	}
	return nil
}

// usage returns the status that each pool should have.
func (a *allocator) usage() map[string]v1beta1.IPAddressPoolStatus {
	out := map[string]v1beta1.IPAddressPoolStatus{}
	usage, _ := a.snapshot()
	for _, u := range usage {
		out[string(u.Pool)] = v1beta1.IPAddressPoolStatus{
			AssignedIPv4: u.AssignedIPv4, AssignedIPv6: u.AssignedIPv6,
			AvailableIPv4: u.AvailableIPv4, AvailableIPv6: u.AvailableIPv6,
		}
	}
	return out
}

// snapshot returns how full the pools are now, and how many services each serves.
func (a *allocator) snapshot() ([]ipam.Usage, map[lb.PoolName]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ledger.Usage(), a.ledger.Holders()
}
