package chaos

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/herald"
)

// What befalls the controllers. The one that is spared does not end: the other does, whether it leads or not.

func leaderKilled(ctx context.Context, s *stage, _ fault) error {
	return s.endController(ctx, true, func(p *corev1.Pod) error { return herald.Kill(ctx, s.lab, p) })
}

func standbyKilled(ctx context.Context, s *stage, _ fault) error {
	return s.endController(ctx, false, func(p *corev1.Pod) error { return herald.Kill(ctx, s.lab, p) })
}

func controllerShutDown(ctx context.Context, s *stage, f fault) error {
	return s.endController(ctx, f.draw%2 == 0, func(p *corev1.Pod) error { return s.remove(ctx, p) })
}

// leaderFrozen stops the leader, for longer or shorter than its lease lasts. When it goes on, another may lead.
func leaderFrozen(ctx context.Context, s *stage, f fault) error {
	pod, err := s.controller(ctx, true)
	if err != nil {
		return err
	}
	return s.freeze(ctx, pod, f.lasts)
}

func rollingRestart(ctx context.Context, s *stage, _ fault) error {
	if err := s.kubectl(ctx, "rollout", "restart", "--namespace", herald.Namespace, "deployment/controller", "daemonset/speaker"); err != nil {
		return err
	}
	return herald.AwaitReady(ctx, s.lab)
}

// endController ends the leading or the other controller.
func (s *stage) endController(ctx context.Context, leading bool, end func(*corev1.Pod) error) error {
	pod, err := s.controller(ctx, leading)
	if err == nil && s.spared != nil && pod.Name == s.spared.Name {
		pod, err = s.controller(ctx, !leading)
	}
	if err != nil {
		return err
	}
	s.journal.note("controller %s is to end", pod.Name)
	return end(pod)
}

// controller waits for the pod of the controller that leads, or of one that does not.
func (s *stage) controller(ctx context.Context, leading bool) (found *corev1.Pod, err error) {
	err = herald.Await(ctx, "the controllers", func(ctx context.Context) error {
		leader, err := herald.Controller(ctx, s.lab)
		if err != nil {
			return err
		}
		pods, err := herald.Pods(ctx, s.lab, "controller")
		if err != nil {
			return err
		}
		for _, p := range pods {
			if isReady(&p) && p.DeletionTimestamp == nil && (p.Name == leader.Name) == leading {
				found = &p
				return nil
			}
		}
		return fmt.Errorf("none of %d is the one", len(pods))
	})
	return found, err
}
