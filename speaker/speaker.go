package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/layer2"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/link"
	"github.com/herald-lb/herald/internal/metrics"
	"github.com/herald-lb/herald/internal/plan"
)

// speaker reads what there is to know, plans, hands the plan to the announcer, and
// reports. All of its state belongs to the goroutine of Start.
type speaker struct {
	logger    logger
	client    client.Client
	events    *kube.Events
	state     *kube.ConfigurationState
	statuses  *kube.ServiceL2Statuses
	metrics   *metrics.Client
	options   options
	links     *link.Watcher
	ring      ring
	announcer *layer2.Announcer
	inbox     *inbox

	keeper   config.Keeper
	problems []lb.Problem
	planner  *plan.Planner
	verdicts map[lb.ServiceKey]lb.Verdict
	// published is what metrics and readiness see of the verdicts.
	published atomic.Pointer[[]metrics.Announced]
}

func newSpeaker(l logger, c client.Client, events *kube.Events, state *kube.ConfigurationState, statuses *kube.ServiceL2Statuses, m *metrics.Client, o options, links *link.Watcher, r ring, a *layer2.Announcer) *speaker {
	return &speaker{
		logger: l, client: c, events: events, state: state, statuses: statuses, metrics: m, options: o,
		links: links, ring: r, announcer: a,
		inbox:    newInbox(),
		verdicts: map[lb.ServiceKey]lb.Verdict{},
	}
}

// ready reports whether everything was decided once and the sockets are open.
func (s *speaker) ready(*http.Request) error {
	if s.published.Load() == nil {
		return errors.New("services, links and members are not read yet")
	}
	if !s.announcer.Ready() {
		return errors.New("sockets are not open yet")
	}
	return nil
}

// Start decides and announces until ctx ends. What is announced then stays so: the
// announcer goes on until this node has handed over.
func (s *speaker) Start(ctx context.Context) error {
	if !s.waitForInputs(ctx) {
		return nil
	}
	s.inbox.addEverything()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.inbox.signal:
		case <-s.links.Changed():
			s.inbox.addEverything()
		case <-s.ring.changed():
			s.inbox.addEverything()
		}
		if err := s.round(ctx); err != nil && ctx.Err() == nil {
			level.Error(s.logger).Log("msg", "round not completed", "error", err, "retry", roundRetry)
			time.AfterFunc(roundRetry, s.inbox.addEverything)
		}
	}
}

// roundRetry is the pause after a round that could not be completed.
const roundRetry = time.Second

// inputPoll is how often it is looked whether links and members are known; at the
// start only, where a few milliseconds do not matter.
const inputPoll = 10 * time.Millisecond

// waitForInputs waits until links and members are known: who decides without them takes
// addresses from those that announce them. It reports false if ctx ended first.
func (s *speaker) waitForInputs(ctx context.Context) bool {
	for !s.links.Ready() || !s.ring.ready() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(inputPoll):
		}
	}
	return true
}

// round decides about what changed and hands the whole plan on.
func (s *speaker) round(ctx context.Context) error {
	keys, everything := s.inbox.take()
	var services map[lb.ServiceKey]*corev1.Service
	var err error
	if everything {
		services, err = s.lookAround(ctx)
	} else {
		services, err = s.read(ctx, keys)
	}
	if err != nil {
		return err
	}
	changed := everything
	for key, svc := range services {
		verdictChanged, err := s.decide(ctx, key, svc)
		if err != nil {
			return err
		}
		changed = changed || verdictChanged
	}
	if changed {
		s.apply()
	}
	return nil
}

// lookAround makes a new planner, and returns every service that there is to decide
// about: those that exist, and those of which a verdict is held, nil if they are gone.
// While the other speakers are out of sight it returns none: the ring says when they
// are not.
func (s *speaker) lookAround(ctx context.Context) (map[lb.ServiceKey]*corev1.Service, error) {
	links := s.links.Links()
	s.ring.setUsable(anyUsable(links))
	if !s.ring.ready() {
		return nil, nil
	}
	if err := s.look(ctx, links); err != nil {
		return nil, err
	}
	var list corev1.ServiceList
	if err := s.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	out := map[lb.ServiceKey]*corev1.Service{}
	for key := range s.verdicts {
		out[key] = nil
	}
	for i := range list.Items {
		if kube.Handled(&list.Items[i], s.options.LoadBalancerClass) {
			out[kube.Key(&list.Items[i])] = &list.Items[i]
		}
	}
	return out, nil
}

// read returns the services of that name; nil for those that are gone or not ours.
func (s *speaker) read(ctx context.Context, keys map[lb.ServiceKey]struct{}) (map[lb.ServiceKey]*corev1.Service, error) {
	out := map[lb.ServiceKey]*corev1.Service{}
	for key := range keys {
		svc := &corev1.Service{}
		err := s.client.Get(ctx, types.NamespacedName(key), svc)
		switch {
		case apierrors.IsNotFound(err) || err == nil && !kube.Handled(svc, s.options.LoadBalancerClass):
			out[key] = nil
		case err != nil:
			return nil, fmt.Errorf("read service %s: %w", key, err)
		default:
			out[key] = svc
		}
	}
	return out, nil
}

// look makes a planner of the world as it is now.
func (s *speaker) look(ctx context.Context, links []lb.Link) error {
	objects, err := kube.Advertisements(ctx, s.client, s.options.Namespace)
	if err != nil {
		return err
	}
	cfg, problems := s.keeper.Parse(objects)
	s.report(problems)
	s.metrics.Loaded(len(problems) > 0)
	s.planner = plan.New(plan.View{
		Node:               s.options.node,
		Config:             cfg,
		Nodes:              objects.Nodes,
		Speakers:           s.ring.speakers(s.options.node, anyUsable(links)),
		Links:              links,
		IgnoreExcludeLabel: s.options.ignoreExcludeLabel,
	})
	return nil
}

func anyUsable(links []lb.Link) bool {
	return slices.ContainsFunc(links, func(l lb.Link) bool { return l.ARP || l.NDP })
}

// report logs the problems of the configuration, each once while it lasts. The
// controller tells users of those of the pools.
func (s *speaker) report(problems []lb.Problem) {
	for _, p := range problems {
		if !slices.Contains(s.problems, p) {
			level.Error(s.logger).Log("msg", "configuration problem", "object", p.Object, "field", p.Field, "error", p.Message)
		}
	}
	s.problems = problems
	s.state.Report(problems)
}

// decide makes the verdict about one service anew and reports whether it changed.
func (s *speaker) decide(ctx context.Context, key lb.ServiceKey, svc *corev1.Service) (bool, error) {
	before, known := s.verdicts[key]
	if svc == nil {
		if before.Announces() {
			s.withdrawn(key, before, lb.Verdict{Reason: lb.NotLoadBalancer, Why: "the service is gone or no longer a load balancer"})
		}
		delete(s.verdicts, key)
		return known, nil
	}
	endpoints, err := s.endpoints(ctx, key)
	if err != nil {
		return false, err
	}
	now := s.planner.Layer2(kube.Service(svc), endpoints)
	s.verdicts[key] = now
	if known && now.Equal(before) {
		return false, nil
	}
	s.tell(svc, before, now)
	return true, nil
}

func (s *speaker) endpoints(ctx context.Context, key lb.ServiceKey) ([]lb.Endpoint, error) {
	var list discoveryv1.EndpointSliceList
	err := s.client.List(ctx, &list, client.UnsafeDisableDeepCopy, client.InNamespace(key.Namespace), client.MatchingFields{bySliceService: key.Name})
	if err != nil {
		return nil, fmt.Errorf("list the EndpointSlices of service %s: %w", key, err)
	}
	return kube.Endpoints(list.Items), nil
}

// apply hands the announcements of all verdicts to the announcer.
func (s *speaker) apply() {
	byAddress := map[netip.Addr]lb.Announcement{}
	published := []metrics.Announced{}
	for key, v := range s.verdicts {
		for _, a := range v.Announcements {
			byAddress[a.Address] = merge(byAddress[a.Address], a)
			published = append(published, metrics.Announced{
				Service: key.String(), Protocol: "layer2", Node: string(s.options.node), IP: a.Address.String(),
			})
		}
	}
	announcements := make([]lb.Announcement, 0, len(byAddress))
	for _, a := range byAddress {
		announcements = append(announcements, a)
	}
	s.announcer.Set(s.links.Links(), announcements)
	s.published.Store(&published)
	s.statuses.Decided()
}
