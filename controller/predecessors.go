package main

import (
	"context"
	"time"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// labelElects is on the pods of a Deployment whose roles grant the lease.
const labelElects = "herald-lb.io/leader-election"

const (
	// predecessorsPause lies between two looks.
	predecessorsPause = 500 * time.Millisecond
	// predecessorsPatience bounds the wait: a pod on a node that is gone stays forever.
	predecessorsPatience = time.Minute
)

// predecessors are pods of this Deployment that write and know nothing of the lease: those
// of an installation which Herald's manifest was applied over. The Deployment takes
// them away when their successor is ready, which it is while it waits here.
type predecessors struct {
	logger logger
	reader client.Reader
	self   types.NamespacedName
}

// await returns when there are none left.
func (p predecessors) await(ctx context.Context) {
	if p.self.Name == "" {
		return // not in a pod
	}
	ctx, stop := context.WithTimeout(ctx, predecessorsPatience)
	defer stop()
	for told := false; ; {
		names, err := p.alive(ctx)
		switch {
		case err != nil:
			level.Error(p.logger).Log("msg", "cannot tell whether another controller is at work", "error", err)
		case len(names) == 0:
			return
		case !told:
			told = true
			level.Info(p.logger).Log("msg", "waiting for the controllers before this one to end", "pod", names[0], "at most", predecessorsPatience)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(predecessorsPause):
		}
	}
}

// alive names the pods that have the same service account, and not the label.
func (p predecessors) alive(ctx context.Context) ([]string, error) {
	var self corev1.Pod
	if err := p.reader.Get(ctx, p.self, &self); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if self.Labels[labelElects] == "" {
		return nil, nil // then its absence says nothing of others
	}
	var pods corev1.PodList
	if err := p.reader.List(ctx, &pods, client.InNamespace(p.self.Namespace)); err != nil {
		return nil, err
	}
	var names []string
	for i := range pods.Items {
		other := &pods.Items[i]
		over := other.Status.Phase == corev1.PodSucceeded || other.Status.Phase == corev1.PodFailed
		if other.Spec.ServiceAccountName == self.Spec.ServiceAccountName && other.Labels[labelElects] == "" && !over {
			names = append(names, other.Name)
		}
	}
	return names, nil
}
