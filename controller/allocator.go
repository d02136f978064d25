package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
)

// work is what the allocator's queue holds: one service to look at, or, with an empty
// key, the pools.
type work struct{ service lb.ServiceKey }

var thePools = work{}

// conflictPause lies between a write that met a conflict and the next look.
const conflictPause = 100 * time.Millisecond

// pageSize is how many Services are read at once from the API server.
const pageSize = 500

// allocator reads services and pools, lets the ledger decide, and writes. Decisions
// are made one at a time, behind mu; writes go out side by side.
//
// It decides while it leads. While another replica does, it keeps an eye on the pools, so
// as to know their last valid versions, and on nothing else.
type allocator struct {
	logger logger
	client client.Client
	// stored reads what the API server has, where client shows what it had lately.
	stored    client.Reader
	events    *kube.Events
	state     *kube.ConfigurationState
	namespace string
	class     string
	metrics   *metrics.Client
	// waits measures how long services wait for their first address, in seconds.
	waits prometheus.Observer

	// queued is closed when there is a queue.
	queued chan struct{}
	queue  workqueue.TypedRateLimitingInterface[work]
	term   term
	// announcements tell on services what is decided, and whether it is announced.
	announcements *announcements

	mu     sync.Mutex
	keeper config.Keeper
	// following is set once another replica is known to lead.
	following bool
	decisions
	// usageChanged wakes who reports how full the pools are.
	usageChanged chan struct{}
}

// decisions are what an allocator knows of services and has told users. They hold for as
// long as nobody else decides: for one term.
type decisions struct {
	ledger *ipam.Ledger
	// config is nil until every service has been looked at once, the holders first.
	config *lb.Config
	// problems are those of the configuration that were told of.
	problems []lb.Problem
	written  kube.Overlay
	leaving  leaving
	// cleared is why services lose addresses, until they are told.
	cleared map[lb.ServiceKey]string
	told    map[lb.ServiceKey]telling
	// unserved are those that hold no address and never did, with when they were created.
	unserved map[lb.ServiceKey]time.Time
}

func newDecisions() decisions {
	return decisions{
		ledger:   ipam.NewLedger(),
		leaving:  newLeaving(),
		cleared:  map[lb.ServiceKey]string{},
		told:     map[lb.ServiceKey]telling{},
		unserved: map[lb.ServiceKey]time.Time{},
	}
}

func newAllocator(l logger, c client.Client, stored client.Reader, events *kube.Events, state *kube.ConfigurationState, m *metrics.Client, waits prometheus.Observer, namespace, class string) *allocator {
	a := &allocator{
		logger: l, client: c, stored: stored, events: events, state: state, metrics: m, waits: waits, namespace: namespace, class: class,
		decisions:    newDecisions(),
		queued:       make(chan struct{}),
		usageChanged: make(chan struct{}, 1),
	}
	a.announcements = newAnnouncements(a)
	return a
}

// ready reports whether there is somebody who decides about services: this replica, which
// has then decided about each once, or another. A replica that stands by is ready, as it
// reviews changes of the configuration and takes over at any moment; and a rolling
// update does not go on before it is.
func (a *allocator) ready(*http.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil && !a.following {
		return errors.New("pools and services are not read yet")
	}
	return nil
}

// follow notes that another decides.
func (a *allocator) follow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.following = true
}

// Start leads until ctx ends: for a term.
func (a *allocator) Start(ctx context.Context) error {
	select {
	case <-a.queued:
	case <-ctx.Done():
		return nil
	}
	a.term.begin(ctx)
	a.queue.Add(thePools)
	<-ctx.Done()
	a.term.end()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.decisions, a.following = newDecisions(), true
	return nil
}

// Reconcile looks at one service, or at the pools and then at every service, if it leads.
func (a *allocator) Reconcile(ctx context.Context, w work) (reconcile.Result, error) {
	during, leave, leading := a.term.join(ctx)
	if !leading {
		return reconcile.Result{}, a.keepAnEye(ctx, w)
	}
	defer leave()
	err := a.look(during, w)
	if during.Err() != nil {
		return reconcile.Result{}, nil // whoever leads next looks at everything
	}
	return reconcile.Result{}, err
}

func (a *allocator) look(ctx context.Context, w work) error {
	if w == thePools {
		return a.reload(ctx, false)
	}
	if err := a.reload(ctx, true); err != nil {
		return err
	}
	svc := &corev1.Service{}
	err := a.client.Get(ctx, types.NamespacedName(w.service), svc)
	if apierrors.IsNotFound(err) {
		a.release(w.service)
		return nil
	}
	if err != nil {
		return err
	}
	if !kube.Handled(svc, a.class) {
		return a.letGo(ctx, svc)
	}
	svc, d := a.decide(svc)
	return a.apply(ctx, svc, d)
}

// decide lets the ledger decide about one service as it now is, and wakes those that
// the decision left something for. What it returns may be written.
func (a *allocator) decide(svc *corev1.Service) (*corev1.Service, lb.Decision) {
	a.mu.Lock()
	defer a.mu.Unlock()
	svc = a.written.Newest(svc)
	read := kube.Service(svc)
	a.noteUnserved(svc, read)
	d := a.assign(read)
	a.leaves(read.Key, minus(read.Held, d.Addresses))
	a.changed()
	return svc, a.leaving.presentable(read.Key, read.Held, d)
}

// assign lets the ledger decide. A service that loses an address is told the first
// reason for it: once the address is another's, that is all that the ledger has to say.
func (a *allocator) assign(svc lb.Service) lb.Decision {
	d := a.ledger.Assign(svc)
	switch first, known := a.cleared[svc.Key]; {
	case d.Cleared == "":
		delete(a.cleared, svc.Key)
	case known:
		d.Cleared = first
	default:
		a.cleared[svc.Key] = d.Cleared
	}
	return d
}

// leaves notes which addresses the service leaves, and wakes those who waited for what
// it has left.
func (a *allocator) leaves(key lb.ServiceKey, addrs []netip.Addr) {
	for _, woken := range a.leaving.set(key, addrs) {
		a.queue.Add(work{woken})
	}
}

// release frees what a service held that is gone, and reports whether it held anything.
func (a *allocator) release(key lb.ServiceKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := a.ledger.Holder(key)
	if len(held) > 0 {
		level.Info(a.logger).Log("msg", "addresses released", "service", key, "addresses", lb.Join(held))
	}
	a.ledger.Release(key)
	a.leaves(key, nil)
	a.written.Forget(key)
	delete(a.told, key)
	delete(a.cleared, key)
	delete(a.unserved, key)
	a.changed()
	return len(held) > 0
}

// letGo frees what a service held that is not ours to serve any more, and removes our
// marks from it. Of one that belongs to another load balancer now it removes what that
// would not: conditions, if they are ours for certain.
func (a *allocator) letGo(ctx context.Context, svc *corev1.Service) error {
	held := a.release(kube.Key(svc))
	nothing, err := kube.Assignment{Conditions: kube.NoConditions()}, error(nil)
	switch {
	case svc.Spec.Type != corev1.ServiceTypeLoadBalancer && !nothing.Records(svc):
		_, err = nothing.Write(ctx, a.client, svc)
	case svc.Spec.Type == corev1.ServiceTypeLoadBalancer && held && !kube.Says(svc, nothing.Conditions):
		_, err = kube.WriteConditions(ctx, a.client, svc, nothing.Conditions)
	}
	return client.IgnoreNotFound(err)
}

// standing returns a service of ours as it now is, with what its user was told last, unless a
// write is under way or due that changes what it holds.
func (a *allocator) standing(ctx context.Context, key lb.ServiceKey) (svc *corev1.Service, told telling, ok bool, err error) {
	svc = &corev1.Service{} // it is not changed
	if err := a.client.Get(ctx, types.NamespacedName(key), svc, client.UnsafeDisableDeepCopy); err != nil || !kube.Handled(svc, a.class) {
		return nil, telling{}, false, client.IgnoreNotFound(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil {
		return nil, telling{}, false, nil
	}
	svc = a.written.Newest(svc)
	if told = a.told[key]; told.uid != svc.UID {
		told = telling{}
	}
	shown, given := kube.Held(svc), a.ledger.Holder(key)
	return svc, told, len(minus(shown, given))+len(minus(given, shown)) == 0, nil
}

// changed wakes the services that the ledger found addresses for, and who reports usage.
func (a *allocator) changed() {
	for _, key := range a.ledger.Woken() {
		a.queue.Add(work{key})
	}
	a.lookAgainAtUsage()
}

// lookAgainAtUsage wakes who reports how full the pools are.
func (a *allocator) lookAgainAtUsage() {
	select {
	case a.usageChanged <- struct{}{}:
	default:
	}
}

// reload reads the pools and, if they changed, decides about every service anew:
// holders first, then oldest first, so that nobody is given what another holds. With
// first it does so only if it was never done.
func (a *allocator) reload(ctx context.Context, first bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if first && a.config != nil {
		return nil
	}
	objects, cfg, problems, err := a.pools(ctx)
	if err != nil {
		return err
	}
	a.report(objects, problems)
	if a.config != nil && a.config.Equal(cfg) {
		a.metrics.Loaded(len(problems) > 0)
		return nil
	}
	services, err := a.services(ctx)
	if err != nil {
		return err
	}
	level.Info(a.logger).Log("msg", "configuration loaded", "pools", len(cfg.Pools), "services", len(services))
	a.config = &cfg
	a.metrics.Loaded(len(problems) > 0)
	a.decideAll(services)
	a.changed()
	return nil
}

// keepAnEye is what there is to do while another leads: to know the pools and their
// problems, of which it tells nobody.
func (a *allocator) keepAnEye(ctx context.Context, w work) error {
	if w != thePools {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, _, problems, err := a.pools(ctx)
	if err != nil {
		return err
	}
	a.metrics.Loaded(len(problems) > 0)
	return nil
}

// pools reads the pools, with the last valid version in the place of each invalid one.
func (a *allocator) pools(ctx context.Context) (config.Objects, lb.Config, []lb.Problem, error) {
	objects, err := kube.Pools(ctx, a.client, a.namespace)
	if err != nil {
		return objects, lb.Config{}, nil, err
	}
	cfg, problems := a.keeper.Parse(objects)
	cfg.L2Advertisements = nil // they are the speakers' matter, and no change of them moves an address
	return objects, cfg, problems, nil
}

// decideAll decides about every service under the pools as they are now. What each
// holds is known to the ledger before the first is given anything new.
func (a *allocator) decideAll(services []*corev1.Service) {
	read := make([]lb.Service, len(services))
	shown := make([][]netip.Addr, len(services))
	for i, svc := range services {
		read[i] = kube.Service(svc)
		// A write may be on its way that shows what the service holds until now.
		shown[i] = slices.Concat(read[i].Held, minus(a.ledger.Holder(read[i].Key), read[i].Held))
	}
	a.ledger.SetPools(a.config.Pools, a.config.PoolsIncomplete)
	a.ledger.Restore(read)
	for i, svc := range services {
		d := a.assign(read[i])
		left := minus(shown[i], d.Addresses)
		a.leaves(read[i].Key, left)
		if told := a.told[read[i].Key]; len(left) > 0 || !assignment(d).Records(svc) || told != tellingOf(d, svc) {
			a.queue.Add(work{read[i].Key})
		}
		a.announcements.look(read[i].Key)
	}
}

// services returns all that are ours, holders first, then oldest first.
func (a *allocator) services(ctx context.Context) ([]*corev1.Service, error) {
	var list corev1.ServiceList
	if err := a.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	if a.config == nil {
		if err := a.catchUp(ctx, &list); err != nil {
			return nil, err
		}
	}
	var out []*corev1.Service
	for i := range list.Items {
		if kube.Handled(&list.Items[i], a.class) {
			out = append(out, a.written.Newest(&list.Items[i]))
		}
	}
	holds := func(s *corev1.Service) int { return min(1, len(s.Status.LoadBalancer.Ingress)) }
	slices.SortFunc(out, func(x, y *corev1.Service) int {
		return cmp.Or(
			cmp.Compare(holds(y), holds(x)),
			x.CreationTimestamp.Compare(y.CreationTimestamp.Time),
			kube.Key(x).Compare(kube.Key(y)),
		)
	})
	return out, nil
}

// catchUp turns what the cache shows into what the API server has stored by now, at the
// beginning of a term: the cache may not show yet what the leader before us wrote last, and
// what it gave away must not be given away again.
func (a *allocator) catchUp(ctx context.Context, list *corev1.ServiceList) error {
	shown := make(map[types.UID]*corev1.Service, len(list.Items))
	for i := range list.Items {
		shown[list.Items[i].UID] = &list.Items[i]
	}
	var current []corev1.Service
	for page := (corev1.ServiceList{}); ; {
		if err := a.stored.List(ctx, &page, client.Limit(pageSize), client.Continue(page.Continue)); err != nil {
			return fmt.Errorf("list the stored Services: %w", err)
		}
		for i := range page.Items {
			svc := &page.Items[i]
			if old := shown[svc.UID]; old != nil && old.ResourceVersion == svc.ResourceVersion {
				svc = old
			} else {
				a.written.Add(svc.DeepCopy())
			}
			current = append(current, *svc)
		}
		if page.Continue == "" {
			list.Items = current
			return nil
		}
	}
}

// apply makes the service's status say what was decided, and tells its user.
func (a *allocator) apply(ctx context.Context, svc *corev1.Service, d lb.Decision) error {
	want := assignment(d)
	if !want.Records(svc) {
		want.Conditions = a.announcements.foresee(svc, d)
		stored, err := want.Write(ctx, a.client, svc)
		if apierrors.IsNotFound(err) {
			return nil // its own event follows
		}
		if apierrors.IsConflict(err) || errors.Is(err, errFenced) {
			// Another of its name has taken its place, or it has changed: its own event follows, as a rule.
			// Or the lease is about to be renewed, else another looks at it.
			a.queue.AddAfter(work{kube.Key(svc)}, conflictPause)
			return nil
		}
		a.metrics.Wrote(err)
		if err != nil {
			return err
		}
		a.remember(stored)
		level.Info(a.logger).Log("msg", "status written", "service", kube.Key(svc), "addresses", lb.Join(d.Addresses), "pool", d.Pool, "reason", d.Reason)
	}
	a.tell(svc, d)
	a.announcements.look(kube.Key(svc))
	return nil
}

func (a *allocator) remember(stored *corev1.Service) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.written.Add(stored)
	read := kube.Service(stored)
	a.noteServed(read)
	a.leaves(read.Key, minus(read.Held, a.ledger.Holder(read.Key)))
}

// noteUnserved notes that a service waits for its first address. One that was judged before
// may have lost one since it was created.
func (a *allocator) noteUnserved(svc *corev1.Service, read lb.Service) {
	if _, known := a.unserved[read.Key]; !known && len(read.Held) == 0 && meta.FindStatusCondition(svc.Status.Conditions, kube.AddressAssigned) == nil {
		a.unserved[read.Key] = kube.Created(svc, time.Now())
	}
}

// noteServed measures how long a service has waited that holds an address now.
func (a *allocator) noteServed(read lb.Service) {
	if created, ok := a.unserved[read.Key]; ok && len(read.Held) > 0 {
		a.waits.Observe(time.Since(created).Seconds())
		delete(a.unserved, read.Key)
	}
}

func assignment(d lb.Decision) kube.Assignment {
	return kube.Assignment{Addresses: d.Addresses, Pool: d.Pool}
}
