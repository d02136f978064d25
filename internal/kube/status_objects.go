package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/herald-lb/herald/internal/lb"
)

// The labels of status objects, by which users find them.
const (
	labelNode             = "metallb.io/node"
	labelServiceName      = "metallb.io/service-name"
	labelServiceNamespace = "metallb.io/service-namespace"
	labelPeer             = "metallb.io/peer"
	labelVRF              = "metallb.io/vrf"
)

// statusWriters is how many objects of a kind may be written at once.
const statusWriters = 4

// What could not be written is tried again after firstRetry, then twice as long, up to
// lastRetry: when the API server is back after a while, a status must not be wrong for as long.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// statusObjects keeps the objects of one kind of status true that one node writes. The
// name of an object follows from what it is about, so there is never more than one.
type statusObjects[S any] struct {
	logger    log.Logger
	client    client.Client
	reader    client.Reader
	namespace string
	node      lb.NodeName
	pod       string
	kind      statusKind[S]
	queue     workqueue.TypedRateLimitingInterface[string]
	// decided is closed once it is known what this node has to say.
	decided chan struct{}
	decide  sync.Once

	mu sync.Mutex
	// said is what the objects should say, by their names.
	said map[string]said[S]
	// written are the resource versions of our own last writes.
	written map[string]string
	owner   *metav1.OwnerReference
}

// statusKind is a kind of object whose status has the type S.
type statusKind[S any] struct {
	name   string
	object func() client.Object
	status func(client.Object) *S
}

// said is what one object should say, and under which labels, which are needed only once.
type said[S any] struct {
	labels func() map[string]string
	status S
}

func newStatusObjects[S any](l log.Logger, c cluster.Cluster, namespace, pod string, node lb.NodeName, kind statusKind[S]) *statusObjects[S] {
	return &statusObjects[S]{
		logger: l, client: c.GetClient(), reader: c.GetAPIReader(), namespace: namespace, node: node, pod: pod, kind: kind,
		queue:   workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, lastRetry)),
		decided: make(chan struct{}),
		said:    map[string]said[S]{},
		written: map[string]string{},
	}
}

// Watch has objects made again that somebody deletes or changes, and removes those
// that an earlier life of this node left behind.
func (s *statusObjects[S]) Watch(ctx context.Context, c cluster.Cluster) error {
	return onEvery(ctx, c, s.kind.object(), func(o client.Object) { s.queue.Add(o.GetName()) })
}

// say notes what an object should say.
func (s *statusObjects[S]) say(name string, labels func() map[string]string, status S) {
	s.mu.Lock()
	s.said[name] = said[S]{labels, status}
	s.mu.Unlock()
	s.queue.Add(name)
}

// unsay notes that there should be no such object.
func (s *statusObjects[S]) unsay(name string) {
	s.mu.Lock()
	delete(s.said, name)
	delete(s.written, name)
	s.mu.Unlock()
	s.queue.Add(name)
}

// Decided notes that everything was decided about once: objects of which nothing was
// said by then are left over.
func (s *statusObjects[S]) Decided() { s.decide.Do(func() { close(s.decided) }) }

// Start writes objects from when all is decided until ctx ends.
func (s *statusObjects[S]) Start(ctx context.Context) error {
	select {
	case <-s.decided:
	case <-ctx.Done():
	}
	var writers sync.WaitGroup
	for range statusWriters {
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

func (s *statusObjects[S]) next(ctx context.Context) bool {
	name, ended := s.queue.Get()
	if ended {
		return false
	}
	defer s.queue.Done(name)
	err := s.write(ctx, name)
	if err == nil || ctx.Err() != nil {
		s.queue.Forget(name)
		return true
	}
	// Where two nodes hand over, one may be a moment ahead of the other.
	if !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		level.Error(s.logger).Log("msg", "status not written", "kind", s.kind.name, "name", name, "error", err)
	}
	s.queue.AddRateLimited(name)
	return true
}

// write makes one object say what is true.
func (s *statusObjects[S]) write(ctx context.Context, name string) error {
	s.mu.Lock()
	want, wanted := s.said[name]
	s.mu.Unlock()

	stored := s.kind.object()
	err := s.client.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: name}, stored)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return err
	case !wanted && err != nil:
		return nil
	case !wanted:
		return s.remove(ctx, stored)
	case err == nil && s.outdated(stored):
		return nil
	case err == nil:
		err = s.adopt(ctx, stored)
	default:
		stored, err = s.create(ctx, name, want.labels())
	}
	if err != nil || equality.Semantic.DeepEqual(*s.kind.status(stored), want.status) {
		return err
	}
	return s.writeStatus(ctx, stored, want.status)
}

// outdated reports whether the cache shows an object from before our own last write.
// It will show the later one, and with it comes another look.
func (s *statusObjects[S]) outdated(cached client.Object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	order, err := resourceversion.CompareResourceVersion(cached.GetResourceVersion(), s.written[cached.GetName()])
	return err == nil && order < 0
}

// writeStatus patches, since the status is all ours; a conflict means that the object
// is another by now. One whose status is about another node, which cannot be changed, is
// of no use: it is removed, and made anew with the next try.
func (s *statusObjects[S]) writeStatus(ctx context.Context, obj client.Object, status S) error {
	patch, err := statusPatch(obj.GetResourceVersion(), *s.kind.status(obj), status)
	if err != nil {
		return err
	}
	err = s.client.Status().Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch))
	if err == nil {
		s.wrote(obj)
		return nil
	}
	err = fmt.Errorf("write status of %s %s: %w", s.kind.name, obj.GetName(), err)
	if apierrors.IsInvalid(err) {
		err = errors.Join(err, s.remove(ctx, obj))
	}
	return err
}

func (s *statusObjects[S]) wrote(obj client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written[obj.GetName()] = obj.GetResourceVersion()
}

// adopt makes this pod the owner of an object that an earlier one left, so that not all
// are collected with that one and made anew.
func (s *statusObjects[S]) adopt(ctx context.Context, obj client.Object) error {
	owners, err := s.ownerReference(ctx)
	if err != nil || equality.Semantic.DeepEqual(owners, obj.GetOwnerReferences()) {
		return err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": obj.GetUID(), "ownerReferences": owners}})
	if err != nil {
		return err
	}
	if err := s.client.Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return fmt.Errorf("adopt %s %s: %w", s.kind.name, obj.GetName(), err)
	}
	s.wrote(obj)
	return nil
}

// statusPatch sets the fields of want, and deletes those that only now has (RFC 7386). It names the
// version that it is for: a UID would not do, as the API server takes of what is sent as the status of
// a custom resource nothing else.
func statusPatch(version string, now, want any) ([]byte, error) {
	before, err := fieldsOf(now)
	if err != nil {
		return nil, err
	}
	after, err := fieldsOf(want)
	if err != nil {
		return nil, err
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			after[name] = nil
		}
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": version}, "status": after})
}

func fieldsOf(status any) (map[string]any, error) {
	text, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, json.Unmarshal(text, &out)
}

// sightPause is when it is looked again at an object that was made.
const sightPause = 5 * time.Second

// create makes the object; one that another node left is replaced. It may be replaced
// itself, by a node that takes its turn, before the cache has shown it: then no event will
// ever tell that it is gone.
func (s *statusObjects[S]) create(ctx context.Context, name string, labels map[string]string) (client.Object, error) {
	s.queue.AddAfter(name, sightPause)
	owner, err := s.ownerReference(ctx)
	if err != nil {
		return nil, err
	}
	obj := s.kind.object()
	obj.SetNamespace(s.namespace)
	obj.SetName(name)
	labels[labelNode] = string(s.node)
	obj.SetLabels(labels)
	obj.SetOwnerReferences(owner)
	err = s.client.Create(ctx, obj)
	if !apierrors.IsAlreadyExists(err) {
		return obj, err
	}
	theirs := s.kind.object()
	if err := s.reader.Get(ctx, client.ObjectKeyFromObject(obj), theirs); err != nil {
		return nil, err
	}
	if theirs.GetLabels()[labelNode] == string(s.node) {
		return theirs, nil // ours, and the cache does not show it yet
	}
	if err := s.remove(ctx, theirs); err != nil {
		return nil, err
	}
	obj.SetResourceVersion("")
	return obj, s.client.Create(ctx, obj)
}

// remove deletes this very object, and not one of its name that came after it.
func (s *statusObjects[S]) remove(ctx context.Context, obj client.Object) error {
	err := s.client.Delete(ctx, obj, client.Preconditions{UID: new(obj.GetUID())})
	if apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// ownerReference is this pod, so that the objects go with it.
func (s *statusObjects[S]) ownerReference(ctx context.Context) ([]metav1.OwnerReference, error) {
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

// nameOf is a name that follows from what an object is about; what that is may be
// longer than a name, and may hold what a name must not.
func nameOf(prefix, subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return prefix + hex.EncodeToString(sum[:8])
}
