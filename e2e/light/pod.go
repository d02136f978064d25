package light

import (
	"context"
	"errors"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// runner is one pod's life.
type runner struct {
	node *Node
	pod  *corev1.Pod // as first seen: what matters of its spec never changes
	ips  []string

	over     chan struct{} // closed when the pod is to end
	overOnce sync.Once
	changed  chan struct{} // capacity 1: a container's state is another, look again

	containers []*container
}

func newRunner(n *Node, pod *corev1.Pod) *runner {
	return &runner{node: n, pod: pod, over: make(chan struct{}), changed: make(chan struct{}, 1)}
}

// end tells the runner to end its pod.
func (r *runner) end() { r.overOnce.Do(func() { close(r.over) }) }

func (r *runner) dir() string { return filepath.Join(r.node.Dir, string(r.pod.UID)) }

// run brings the pod up, keeps its status true, and takes it down.
func (r *runner) run(ctx context.Context) {
	for r.setUp(ctx) != nil { // a Secret that it needs may come later
		select {
		case <-ctx.Done():
			return
		case <-r.over:
			r.takeDown(ctx)
			return
		case <-time.After(time.Second):
		}
	}
	var supervised sync.WaitGroup
	life, stop := context.WithCancel(ctx)
	for _, c := range r.containers {
		supervised.Go(func() { c.supervise(life) })
	}
	r.keepStatus(ctx)
	stop()
	supervised.Wait()
	r.takeDown(ctx)
}

// setUp gives the pod its network and makes its containers.
func (r *runner) setUp(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			log.Printf("set pod %s/%s up: %v", r.pod.Namespace, r.pod.Name, err)
		}
	}()
	if err := os.MkdirAll(r.dir(), 0o755); err != nil {
		return err
	}
	r.ips = r.node.Addresses
	if !r.pod.Spec.HostNetwork {
		if r.ips, err = r.node.addNetwork(ctx, string(r.pod.UID)); err != nil {
			return err
		}
	}
	r.containers = nil
	for i := range r.pod.Spec.Containers {
		c, err := r.newContainer(ctx, &r.pod.Spec.Containers[i])
		if err != nil {
			return err
		}
		r.containers = append(r.containers, c)
	}
	return nil
}

// keepStatus writes the pod's status at first and on every change, until the pod is over.
func (r *runner) keepStatus(ctx context.Context) {
	for {
		if err := r.writeStatus(ctx); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			log.Printf("write status of pod %s/%s: %v", r.pod.Namespace, r.pod.Name, err)
			time.AfterFunc(time.Second, r.touch)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.over:
			return
		case <-r.changed:
		}
	}
}

func (r *runner) touch() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// takeDown releases what the pod had and, as its kubelet's last word, removes the object.
func (r *runner) takeDown(ctx context.Context) {
	if err := r.release(); err != nil {
		log.Printf("release what pod %s/%s had: %v", r.pod.Namespace, r.pod.Name, err)
	}
	if ctx.Err() != nil {
		return // the node ends, not the pod
	}
	now := int64(0)
	err := r.node.Client.CoreV1().Pods(r.pod.Namespace).Delete(ctx, r.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &r.pod.UID},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		log.Printf("remove pod %s/%s: %v", r.pod.Namespace, r.pod.Name, err)
	}
}

func (r *runner) release() error {
	if r.pod.Spec.HostNetwork {
		return os.RemoveAll(r.dir())
	}
	return errors.Join(r.node.removeNetwork(string(r.pod.UID)), os.RemoveAll(r.dir()))
}

func (r *runner) writeStatus(ctx context.Context) error {
	pods := r.node.Client.CoreV1().Pods(r.pod.Namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		pod, err := pods.Get(ctx, r.pod.Name, metav1.GetOptions{})
		if err != nil || pod.UID != r.pod.UID {
			return err
		}
		r.fillStatus(&pod.Status)
		_, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{})
		return err
	})
}

// fillStatus sets what a kubelet would (Pod Lifecycle, kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle).
func (r *runner) fillStatus(s *corev1.PodStatus) {
	now := metav1.Now()
	s.Phase = corev1.PodRunning
	s.HostIP, s.PodIP = r.node.Addresses[0], r.ips[0]
	s.HostIPs, s.PodIPs = nil, nil
	for _, ip := range r.node.Addresses {
		s.HostIPs = append(s.HostIPs, corev1.HostIP{IP: ip})
	}
	for _, ip := range r.ips {
		s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip})
	}
	if s.StartTime == nil {
		s.StartTime = &now
	}
	ready := true
	s.ContainerStatuses = nil
	for _, c := range r.containers {
		status := c.status()
		ready = ready && status.Ready
		s.ContainerStatuses = append(s.ContainerStatuses, status)
	}
	setCondition(s, corev1.PodReadyToStartContainers, true, now)
	setCondition(s, corev1.PodInitialized, true, now)
	setCondition(s, corev1.ContainersReady, ready, now)
	setCondition(s, corev1.PodReady, ready, now)
}

func setCondition(s *corev1.PodStatus, kind corev1.PodConditionType, yes bool, now metav1.Time) {
	wanted := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, LastTransitionTime: now}
	if yes {
		wanted.Status = corev1.ConditionTrue
	}
	for i, c := range s.Conditions {
		if c.Type == kind {
			if c.Status != wanted.Status {
				s.Conditions[i] = wanted
			}
			return
		}
	}
	s.Conditions = append(s.Conditions, wanted)
}
