package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// The labels of status objects, by which users find them.
const (
	labelNode             = "metallb.io/node"
	labelServiceName      = "metallb.io/service-name"
	labelServiceNamespace = "metallb.io/service-namespace"
)

// l2StatusWriters is how many objects may be written at once.
const l2StatusWriters = 4

// ServiceL2Statuses says, in one ServiceL2Status for each Service, that this node
// announces it. The name of the object follows from the Service alone, so there is
// never more than one: who takes a service over replaces the object of who had it.
type ServiceL2Statuses struct {
	logger    log.Logger
	client    client.Client
	reader    client.Reader
	namespace string
	node      lb.NodeName
	pod       string
	queue     workqueue.TypedRateLimitingInterface[lb.ServiceKey]
	// decided is closed once it is known what this node announces.
	decided chan struct{}
	decide  sync.Once

	mu sync.Mutex
	// announced are the services of this node, with the links that restrict them.
	announced map[lb.ServiceKey][]string
	// written are the resource versions of our own last writes.
	written map[lb.ServiceKey]string
	owner   *metav1.OwnerReference
}

// NewServiceL2Statuses returns the keeper of the objects of one node.
func NewServiceL2Statuses(l log.Logger, mgr ctrl.Manager, namespace, pod string, node lb.NodeName) *ServiceL2Statuses {
	return &ServiceL2Statuses{
		logger: l, client: mgr.GetClient(), reader: mgr.GetAPIReader(), namespace: namespace, node: node, pod: pod,
		queue:     workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[lb.ServiceKey]()),
		decided:   make(chan struct{}),
		announced: map[lb.ServiceKey][]string{},
		written:   map[lb.ServiceKey]string{},
	}
}

// Watch has objects made again that somebody deletes or changes, and removes those
// that an earlier life of this node left behind.
func (s *ServiceL2Statuses) Watch(ctx context.Context, mgr ctrl.Manager) error {
	return onEvery(ctx, mgr, &v1beta1.ServiceL2Status{}, func(o client.Object) {
		s.queue.Add(lb.ServiceKey{Namespace: o.GetLabels()[labelServiceNamespace], Name: o.GetLabels()[labelServiceName]})
	})
}

// Announced notes that this node announces the service: on the given links, or on all
// if there are none. It does not block.
func (s *ServiceL2Statuses) Announced(key lb.ServiceKey, links []string) {
	s.mu.Lock()
	s.announced[key] = links
	s.mu.Unlock()
	s.queue.Add(key)
}

// Withdrawn notes that this node does not announce the service any more. It does not block.
func (s *ServiceL2Statuses) Withdrawn(key lb.ServiceKey) {
	s.mu.Lock()
	delete(s.announced, key)
	delete(s.written, key)
	s.mu.Unlock()
	s.queue.Add(key)
}

// Decided notes that every service was decided about once: objects of which nothing
// was said by then are left over.
func (s *ServiceL2Statuses) Decided() { s.decide.Do(func() { close(s.decided) }) }

// Start writes objects from when all is decided until ctx ends.
func (s *ServiceL2Statuses) Start(ctx context.Context) error {
	select {
	case <-s.decided:
	case <-ctx.Done():
	}
	var writers sync.WaitGroup
	for range l2StatusWriters {
		writers.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	s.queue.ShutDown()
	writers.Wait()
	return nil
}

func (s *ServiceL2Statuses) next(ctx context.Context) bool {
	key, ended := s.queue.Get()
	if ended {
		return false
	}
	defer s.queue.Done(key)
	err := s.write(ctx, key)
	if err == nil || ctx.Err() != nil {
		s.queue.Forget(key)
		return true
	}
	// Where two nodes hand over, one may be a moment ahead of the other.
	if !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		level.Error(s.logger).Log("msg", "layer 2 status not written", "service", key, "error", err)
	}
	s.queue.AddRateLimited(key)
	return true
}

// write makes the object of one service say what is true.
func (s *ServiceL2Statuses) write(ctx context.Context, key lb.ServiceKey) error {
	s.mu.Lock()
	links, announced := s.announced[key]
	s.mu.Unlock()

	stored := &v1beta1.ServiceL2Status{}
	err := s.client.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: l2StatusName(key)}, stored)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return err
	case !announced && err != nil:
		return nil
	case !announced:
		return s.remove(ctx, stored)
	case err == nil && (s.outdated(key, stored) || sameL2Status(stored.Status, s.status(key, links))):
		return nil
	case err != nil:
		if stored, err = s.create(ctx, key); err != nil {
			return err
		}
	}
	return s.writeStatus(ctx, key, stored, s.status(key, links))
}

// outdated reports whether the cache shows an object from before our own last write.
// It will show the later one, and with it comes another look.
func (s *ServiceL2Statuses) outdated(key lb.ServiceKey, cached *v1beta1.ServiceL2Status) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, s.written[key])
	return err == nil && order < 0
}

// writeStatus patches, since the status is all ours; a conflict means that the object
// is another by now.
func (s *ServiceL2Statuses) writeStatus(ctx context.Context, key lb.ServiceKey, obj *v1beta1.ServiceL2Status, status v1beta1.ServiceL2StatusStatus) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": obj.UID},
		"status": map[string]any{
			"node": status.Node, "serviceName": status.ServiceName, "serviceNamespace": status.ServiceNamespace,
			"interfaces": status.Interfaces, // null where no list restricts them
		},
	})
	if err != nil {
		return err
	}
	if err := s.client.Status().Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("write status of ServiceL2Status %s: %w", obj.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written[key] = obj.ResourceVersion
	return nil
}

// create makes the object; one that another node left is replaced.
func (s *ServiceL2Statuses) create(ctx context.Context, key lb.ServiceKey) (*v1beta1.ServiceL2Status, error) {
	obj, err := s.object(ctx, key)
	if err != nil {
		return nil, err
	}
	err = s.client.Create(ctx, obj)
	if !apierrors.IsAlreadyExists(err) {
		return obj, err
	}
	theirs := &v1beta1.ServiceL2Status{}
	if err := s.reader.Get(ctx, client.ObjectKeyFromObject(obj), theirs); err != nil {
		return nil, err
	}
	if theirs.Labels[labelNode] == string(s.node) {
		return theirs, nil // ours, and the cache does not show it yet
	}
	if err := s.remove(ctx, theirs); err != nil {
		return nil, err
	}
	obj.ResourceVersion = ""
	return obj, s.client.Create(ctx, obj)
}

// remove deletes this very object, and not one of its name that came after it.
func (s *ServiceL2Statuses) remove(ctx context.Context, obj *v1beta1.ServiceL2Status) error {
	err := s.client.Delete(ctx, obj, client.Preconditions{UID: &obj.UID})
	if apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

func (s *ServiceL2Statuses) object(ctx context.Context, key lb.ServiceKey) (*v1beta1.ServiceL2Status, error) {
	owner, err := s.ownerReference(ctx)
	if err != nil {
		return nil, err
	}
	obj := &v1beta1.ServiceL2Status{}
	obj.Namespace, obj.Name = s.namespace, l2StatusName(key)
	obj.OwnerReferences = owner
	obj.Labels = map[string]string{
		labelNode: string(s.node), labelServiceName: key.Name, labelServiceNamespace: key.Namespace,
	}
	return obj, nil
}

// ownerReference is this pod, so that the objects go with it.
func (s *ServiceL2Statuses) ownerReference(ctx context.Context) ([]metav1.OwnerReference, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner == nil && s.pod != "" {
		owner, err := podOwner(ctx, s.reader, s.namespace, s.pod)
		if err != nil {
			return nil, err
		}
		s.owner = &owner
	}
	if s.owner == nil {
		return nil, nil
	}
	return []metav1.OwnerReference{*s.owner}, nil
}

func (s *ServiceL2Statuses) status(key lb.ServiceKey, links []string) v1beta1.ServiceL2StatusStatus {
	out := v1beta1.ServiceL2StatusStatus{Node: string(s.node), ServiceName: key.Name, ServiceNamespace: key.Namespace}
	for _, name := range links {
		out.Interfaces = append(out.Interfaces, v1beta1.InterfaceInfo{Name: name})
	}
	return out
}

func sameL2Status(a, b v1beta1.ServiceL2StatusStatus) bool {
	return a.Node == b.Node && a.ServiceName == b.ServiceName && a.ServiceNamespace == b.ServiceNamespace &&
		slices.Equal(a.Interfaces, b.Interfaces)
}

// l2StatusName follows from the service alone; names of services may be longer than
// what would fit beside a prefix.
func l2StatusName(key lb.ServiceKey) string {
	sum := sha256.Sum256([]byte(key.String()))
	return "l2-" + hex.EncodeToString(sum[:8])
}
