package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

const (
	// conditionsPause lies between a change of how a service is announced and the look at
	// it: an address that is handed over is not one that nobody announces, and what changes
	// within that time is one write.
	conditionsPause = time.Second
	// conditionsPace and conditionsBurst are how many requests this takes in a second, and
	// at once: there may be thousands of services when the last router goes.
	conditionsPace, conditionsBurst = 100, 100
	// endpointsRecheck is how often the endpoints are read again of a service that nobody
	// announces. Nothing tells of their change, as nobody watches them here.
	endpointsRecheck = time.Minute
	// warningsPace, in a second, and warningsBurst limit the events and log lines about services that
	// are not announced: where there is one cause for thousands, conditions alone tell of the rest.
	warningsPace, warningsBurst = 1, 100
)

// announcers know which nodes say that they announce which services.
type announcers interface {
	// Start keeps them true until ctx ends.
	Start(ctx context.Context)
	// Of are those that say that they announce a service, in order.
	Of(key lb.ServiceKey) []kube.Announcer
	// Known reports whether all of them are.
	Known() bool
}

// announcements tells on each service, in its conditions, whether it has an address, and
// whether and by whom that is announced. It has a pace of its own, so that no address waits for it.
// What it knows of services is the allocator's.
type announcements struct {
	logger    logger
	client    client.Client
	stored    client.Reader
	events    *kube.Events
	allocator *allocator
	// announcers is nil where nobody is asked who announces.
	announcers announcers
	pace       flowcontrol.RateLimiter
	warnings   flowcontrol.PassiveRateLimiter
	// outlook and problems are what was gathered last; nil if nothing was in this term.
	outlook  atomic.Pointer[outlook]
	problems atomic.Pointer[[]lb.Problem]

	mu sync.Mutex
	// queue is there for a term.
	queue workqueue.TypedRateLimitingInterface[lb.ServiceKey]
	// foreseen are the services that were written of before it was certain what is written.
	foreseen map[lb.ServiceKey]struct{}
	// missed are the announced services that nobody was found to announce at the last
	// look, and when that was first so. They belong to the goroutine of Start.
	missed map[lb.ServiceKey]time.Time
}

func newAnnouncements(a *allocator) *announcements {
	return &announcements{
		logger: a.logger, client: a.client, stored: a.stored, events: a.events, allocator: a,
		foreseen: map[lb.ServiceKey]struct{}{},
		pace:     flowcontrol.NewTokenBucketRateLimiter(conditionsPace, conditionsBurst),
		warnings: flowcontrol.NewTokenBucketPassiveRateLimiter(warningsPace, warningsBurst),
	}
}

// watch has it known who announces, while this replica leads.
func (n *announcements) watch(mgr ctrl.Manager) error {
	c, err := client.NewWithWatch(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return err
	}
	n.announcers = kube.NewAnnouncers(n.logger, c, n.allocator.namespace, n.look, n.lookAtAll)
	return nil
}

// Start keeps the conditions true until ctx ends: for a term.
func (n *announcements) Start(ctx context.Context) error {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[lb.ServiceKey]())
	n.missed = map[lb.ServiceKey]time.Time{}
	n.setQueue(queue)
	defer n.setQueue(nil)
	var running sync.WaitGroup
	defer running.Wait()
	if n.announcers != nil {
		running.Go(func() { n.announcers.Start(ctx) })
	}
	running.Go(func() {
		for n.next(ctx, queue) {
		}
	})
	n.lookAtAll()
	<-ctx.Done()
	queue.ShutDown()
	n.outlook.Store(nil)
	n.problems.Store(nil)
	return nil
}

func (n *announcements) setQueue(q workqueue.TypedRateLimitingInterface[lb.ServiceKey]) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queue = q
}

// look has a service looked at soon. It does not block.
func (n *announcements) look(key lb.ServiceKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.queue != nil {
		n.queue.AddAfter(key, conditionsPause)
	}
}

// everyService stands in the queue for all of them.
var everyService lb.ServiceKey

// lookAtAll has every service looked at soon. It does not block.
func (n *announcements) lookAtAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.queue != nil {
		n.queue.Add(everyService)
	}
}

// lookAtEach queues every service that is ours.
func (n *announcements) lookAtEach(ctx context.Context) error {
	var list corev1.ServiceList
	if err := n.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list Services: %w", err)
	}
	for i := range list.Items {
		if kube.Handled(&list.Items[i], n.allocator.class) {
			n.look(kube.Key(&list.Items[i]))
		}
	}
	return nil
}

// see takes what is gathered about the cluster, and what is wrong with its configuration.
func (n *announcements) see(g kube.Gathered, c lb.Config, problems []lb.Problem) {
	n.problems.Store(&problems)
	now := sightOf(g, c)
	if before := n.outlook.Load(); before != nil && reflect.DeepEqual(before.from, now) {
		return
	}
	n.outlook.Store(newOutlook(now))
	n.lookAtAll()
}

// next looks at one service.
func (n *announcements) next(ctx context.Context, queue workqueue.TypedRateLimitingInterface[lb.ServiceKey]) bool {
	key, ended := queue.Get()
	if ended {
		return false
	}
	defer queue.Done(key)
	again, err := n.keep(ctx, key)
	switch {
	case ctx.Err() != nil:
		return true
	case err != nil:
		level.Error(n.logger).Log("msg", "conditions not written", "service", key, "error", err)
		queue.AddRateLimited(key)
		return true
	case again > 0:
		queue.AddAfter(key, again)
	}
	queue.Forget(key)
	return true
}

// keep makes the conditions of one service say what is so, and returns after how long it is to
// be looked at again if nothing happens; 0 is never.
func (n *announcements) keep(ctx context.Context, key lb.ServiceKey) (again time.Duration, err error) {
	if key == everyService {
		return 0, n.lookAtEach(ctx)
	}
	svc, told, ours, err := n.allocator.standing(ctx, key)
	if err != nil || !ours {
		n.wasForeseen(key)
		delete(n.missed, key)
		return 0, err
	}
	read := kube.Service(svc)
	announced, again, err := n.announced(ctx, svc, read)
	if err != nil {
		return 0, err
	}
	want := append([]kube.Condition{addressCondition(read.Held, read.HeldFrom, told)}, announced...)
	if !kube.Says(svc, want) {
		if written, err := n.write(ctx, svc, want); !written {
			return conditionsPause, err
		}
	}
	if len(announced) > 0 && (n.wasForeseen(key) || !kube.Says(svc, announced)) {
		n.tell(svc, announced[0])
	}
	return again, nil
}

// write reports whether the conditions were written. They are not if the service is another
// by now, or the lease has to be renewed first.
func (n *announcements) write(ctx context.Context, svc *corev1.Service, want []kube.Condition) (bool, error) {
	if err := n.pace.Wait(ctx); err != nil {
		return false, err
	}
	stored, err := kube.WriteConditions(ctx, n.client, svc, want)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) || errors.Is(err, errFenced) {
		return false, nil
	}
	n.allocator.metrics.Wrote(err)
	if err != nil {
		return false, err
	}
	n.allocator.remember(stored)
	return true, nil
}

// announced says whether and by whom a service is announced, as far as that is known.
func (n *announcements) announced(ctx context.Context, svc *corev1.Service, read lb.Service) (c []kube.Condition, again time.Duration, err error) {
	if len(read.Held) == 0 {
		return []kube.Condition{notAnnounced(withoutAddress)}, 0, nil
	}
	o := n.outlook.Load()
	if o == nil || n.announcers == nil || !n.announcers.Known() {
		return nil, 0, nil
	}
	by := n.announcers.Of(read.Key)
	now := o.announced(by)
	if len(by) > 0 && now.Status == metav1.ConditionTrue {
		delete(n.missed, read.Key)
		return []kube.Condition{now}, 0, nil
	}
	if kube.IsAnnounced(svc) && !n.missedForLong(read.Key) {
		return nil, conditionsPause, nil
	}
	delete(n.missed, read.Key)
	if len(by) > 0 {
		return []kube.Condition{now}, 0, nil
	}
	absence := o.planner.Precluded(read)
	if absence.Reason == "" {
		endpoints, err := n.endpoints(ctx, read.Key)
		if err != nil {
			return nil, 0, err
		}
		absence, again = o.planner.Nobody(read, endpoints), endpointsRecheck
	}
	return []kube.Condition{notAnnounced(absence)}, again, nil
}

// missedForLong reports whether nobody was found to announce the service for so long that it
// is no hand-over.
func (n *announcements) missedForLong(key lb.ServiceKey) bool {
	since, ok := n.missed[key]
	if !ok {
		n.missed[key] = time.Now()
		return false
	}
	return time.Since(since) >= conditionsPause
}

// endpoints reads those of one service from the API server.
func (n *announcements) endpoints(ctx context.Context, key lb.ServiceKey) ([]lb.Endpoint, error) {
	if err := n.pace.Wait(ctx); err != nil {
		return nil, err
	}
	var list discoveryv1.EndpointSliceList
	err := n.stored.List(ctx, &list, client.InNamespace(key.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: key.Name})
	if err != nil {
		return nil, fmt.Errorf("list the EndpointSlices of service %s: %w", key, err)
	}
	return kube.Endpoints(list.Items), nil
}

// foresee returns the conditions that a service is to have with what was decided: that it
// has an address or none and, if no node can announce it, that. What was gathered may be a
// moment old: whether it was true, the next look shows.
func (n *announcements) foresee(svc *corev1.Service, d lb.Decision) []kube.Condition {
	address := addressCondition(d.Addresses, d.Pool, tellingOf(d, svc))
	if len(d.Addresses) == 0 {
		return []kube.Condition{address, notAnnounced(withoutAddress)}
	}
	if o := n.outlook.Load(); o != nil {
		read := kube.Service(svc)
		read.Held, read.HeldFrom = d.Addresses, d.Pool
		if absence := o.planner.Precluded(read); absence.Reason != "" && absence.Reason != lb.NoPool {
			announced := notAnnounced(absence)
			if !kube.Says(svc, []kube.Condition{announced}) {
				n.noteForeseen(read.Key)
			}
			return []kube.Condition{address, announced}
		}
	}
	if kube.IsAnnounced(svc) {
		return []kube.Condition{address} // it will be again
	}
	return []kube.Condition{address, {Type: kube.Announced}}
}

func (n *announcements) noteForeseen(key lb.ServiceKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.foreseen[key] = struct{}{}
}

func (n *announcements) wasForeseen(key lb.ServiceKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, was := n.foreseen[key]
	delete(n.foreseen, key)
	return was
}

// tell has the events of a service say what is new: that nobody announces it. That somebody
// does, speakers tell; and that it has no address, the allocator.
func (n *announcements) tell(svc *corev1.Service, announced kube.Condition) {
	if announced.Status == metav1.ConditionTrue || announced.Reason == lb.NoAddress || !n.warnings.TryAccept() {
		return
	}
	level.Info(n.logger).Log("msg", "service not announced", "service", kube.Key(svc), "reason", announced.Reason, "why", announced.Message)
	n.events.Warning(svc, announced.Reason, "not announced: "+announced.Message)
}
