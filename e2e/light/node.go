// Package light does a kubelet's part for a node without containers, for labs of many nodes: it keeps the Node Ready,
// gives pods their addresses, runs the programs that it knows by their images, and writes pod status as a kubelet would.
//
// A program runs in a root directory of its own, with its pod's volumes, environment and network. What a container would
// add beyond that (capabilities, users, limits, liveness probes) is for nodes with real kubelets. A container whose
// image is not known has no process and counts as running.
package light

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Node is one light node.
type Node struct {
	Name      string
	Addresses []string
	CNI       string            // directory of network plugins
	Dir       string            // for the pods' files
	Programs  map[string]string // image without its tag → program
	Client    kubernetes.Interface

	mu      sync.Mutex // guards runners
	runners map[types.UID]*runner
	running sync.WaitGroup
}

// ReadPrograms reads lines of an image and a program.
func ReadPrograms(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	programs := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var image, program string
		if _, err := fmt.Sscan(lines.Text(), &image, &program); err != nil {
			return nil, fmt.Errorf("read %s: line %q: want an image and a program: %w", file, lines.Text(), err)
		}
		programs[image] = program
	}
	return programs, nil
}

// heartbeat is how often a kubelet renews its Lease and writes its status.
const heartbeat = 10 * time.Second

// Start runs the node until the context ends, then its pods' programs have ended too.
func (n *Node) Start(ctx context.Context) error {
	n.runners = map[types.UID]*runner{}
	selector := fields.OneTermEqualSelector("spec.nodeName", n.Name).String()
	pods := cache.NewListWatchFromClient(n.Client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, fields.ParseSelectorOrDie(selector))
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: pods,
		ObjectType:    &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { n.observe(ctx, o.(*corev1.Pod)) },
			UpdateFunc: func(_, o any) { n.observe(ctx, o.(*corev1.Pod)) },
			DeleteFunc: func(o any) { n.forget(o) },
		},
	})
	n.running.Go(func() { controller.RunWithContext(ctx) })
	for ; ctx.Err() == nil; sleep(ctx, heartbeat) {
		n.beat(ctx)
	}
	n.running.Wait()
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// observe tells the pod's runner of its pod, and makes the runner for a new one.
func (n *Node) observe(ctx context.Context, pod *corev1.Pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.runners[pod.UID]
	if r == nil {
		r = newRunner(n, pod)
		n.runners[pod.UID] = r
		n.running.Go(func() { r.run(ctx); n.ended(pod.UID) })
	}
	if pod.DeletionTimestamp != nil {
		r.end()
	}
	r.touch() // others write its status, too, such as the node controller while the node is cut off
}

func (n *Node) forget(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if r := n.runners[object.(*corev1.Pod).UID]; r != nil {
		r.end()
	}
}

func (n *Node) ended(pod types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.runners, pod)
}

// beat says that the node lives: by its status, and by the Lease that the node controller watches.
func (n *Node) beat(ctx context.Context) {
	if err := n.writeStatus(ctx); err != nil {
		log.Printf("write status of node %s: %v", n.Name, err)
	}
	if err := n.renewLease(ctx); err != nil {
		log.Printf("renew lease of node %s: %v", n.Name, err)
	}
}

func (n *Node) writeStatus(ctx context.Context) error {
	node, err := n.Client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	room := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("64"),
		corev1.ResourceMemory: resource.MustParse("64Gi"),
		corev1.ResourcePods:   resource.MustParse("250"),
	}
	node.Status.Capacity, node.Status.Allocatable = room, room
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: n.Name}}
	for _, a := range n.Addresses {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	node.Status.NodeInfo = corev1.NodeSystemInfo{KubeletVersion: "light", OperatingSystem: "linux", Architecture: runtime.GOARCH}
	now := metav1.Now()
	ready := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "light node",
		LastHeartbeatTime: now, LastTransitionTime: readySince(node, now),
	}
	// Other conditions are others' to set, as on nodes with a kubelet.
	others := slices.DeleteFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
	node.Status.Conditions = append(others, ready)
	_, err = n.Client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

func readySince(node *corev1.Node, now metav1.Time) metav1.Time {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime
		}
	}
	return now
}

func (n *Node) renewLease(ctx context.Context) error {
	leases := n.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	seconds, now := int32(40), metav1.NowMicro()
	spec := coordinationv1.LeaseSpec{HolderIdentity: &n.Name, LeaseDurationSeconds: &seconds, RenewTime: &now}
	lease, err := leases.Get(ctx, n.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: n.Name}, Spec: spec}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec = spec
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}
