package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/layer2"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/link"
	"github.com/herald-lb/herald/internal/metrics"
	"github.com/herald-lb/herald/internal/plan"
)

// parts are what a speaker works with.
type parts struct {
	logger      logger
	options     options
	client      client.Client
	events      teller
	state       *kube.ConfigurationState
	l2Statuses  *kube.ServiceL2Statuses
	bgpStatuses *kube.ServiceBGPStatuses
	secrets     *kube.Secrets
	metrics     *metrics.Client
	links       *link.Watcher
	ring        ring
	announcer   *layer2.Announcer
	sessions    *sessions
	inbox       *inbox
	durations   *durations
}

// speaker reads what there is to know, plans, hands the plan to the announcer and to
// BGP, and reports. All of its state belongs to the goroutine of Start.
type speaker struct {
	parts

	keeper   config.Keeper
	problems []lb.Problem
	planner  *plan.Planner
	// view is what the planner was made of, and news is when the first of what a round is
	// about was heard.
	view  plan.View
	news  time.Time
	drain drain
	// blind says that the other speakers are out of sight: who decides without them
	// takes addresses from those that announce them.
	blind bool

	// holders, verdicts, announcements and routes are kept service by service.
	holders       *plan.Holders
	verdicts      map[lb.ServiceKey]verdicts
	announcements *plan.Announcements
	routes        *plan.Routes

	node        nodeCheck
	published   published
	decidedOnce atomic.Bool
}

// verdicts are this node's answers about one service.
type verdicts struct {
	layer2 lb.Verdict
	bgp    lb.BGPVerdict
}

func newSpeaker(p parts) *speaker {
	return &speaker{
		parts:         p,
		drain:         drain{time: p.options.drainTime},
		holders:       plan.NewHolders(),
		verdicts:      map[lb.ServiceKey]verdicts{},
		announcements: plan.NewAnnouncements(),
		routes:        plan.NewRoutes(),
	}
}

// ready reports whether everything was decided once and the sockets are open. Whether
// routers answer is no part of it: a router that is away is no reason to stop a rollout.
func (s *speaker) ready(*http.Request) error {
	if !s.decidedOnce.Load() {
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
	nodeCheck := time.NewTicker(nodeCheckInterval)
	defer nodeCheck.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-nodeCheck.C:
			s.checkNode(ctx)
			continue
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

// waitForInputs waits until links and members are known. It reports false if ctx ended first.
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
	keys, everything, since := s.inbox.take()
	s.news = since
	read := s.readSome
	if everything {
		if err := s.look(ctx); err != nil {
			return err
		}
		read = s.readAll
	}
	subjects, err := read(ctx, keys)
	if err != nil {
		return err
	}
	if err := s.addSharing(ctx, subjects); err != nil {
		return err
	}
	layer2Changed, bgpChanged := s.decide(subjects)
	if layer2Changed || everything {
		s.announcer.Set(s.links.Links(), s.announcements.List())
	}
	if bgpChanged || everything {
		s.sessions.set(s.routes.Sessions(s.planner.Peers()), s.links.Links())
	}
	if everything && !s.ring.setPrepared() {
		s.decided(ctx)
	} // else there is a first plan, in which all is left to others, and the next is due
	return nil
}

// decided notes that all there is was decided about. Others leave to this node what is its own
// when it answers for that already.
func (s *speaker) decided(ctx context.Context) {
	s.decidedOnce.Store(true)
	if s.ring.withholds() && slices.Contains(s.view.Speakers, s.options.node) {
		s.tellWhenInPlace(ctx)
	}
	s.l2Statuses.Decided()
	s.bgpStatuses.Decided()
}

const (
	// placePoll is how often it is looked whether this node answers; when it comes, and when it
	// comes back.
	placePoll = time.Millisecond
	// placePatience bounds the wait: a link that hangs is not to keep others waiting.
	placePatience = time.Second
)

// tellWhenInPlace has the others know that this node can announce, when it does.
func (s *speaker) tellWhenInPlace(ctx context.Context) {
	ctx, stop := context.WithTimeout(ctx, placePatience)
	defer stop()
	for ctx.Err() == nil && !s.announcer.InPlace() {
		select {
		case <-ctx.Done():
		case <-time.After(placePoll):
		}
	}
	s.ring.tell()
}

// look makes a planner of the world as it is now.
func (s *speaker) look(ctx context.Context) error {
	links := s.links.Links()
	s.ring.setLinked(anyUsable(links))
	s.blind = !s.ring.ready()
	objects, err := kube.Configuration(ctx, s.client, s.options.Namespace, s.options.node)
	if err != nil {
		return err
	}
	objects.Secrets = s.secrets.NamedBy(ctx, objects.Peers)
	cfg, problems := s.keeper.Parse(objects)
	s.report(objects, problems)
	s.metrics.Loaded(len(problems) > 0)
	unlinked := s.ring.setUnlinked(plan.Unlinked(cfg, s.options.node, links))
	s.view = plan.View{
		Node:               s.options.node,
		Config:             cfg,
		Nodes:              objects.Nodes,
		Speakers:           s.ring.speakers(s.options.node),
		Unlinked:           s.ring.unlinked(s.options.node, unlinked),
		Links:              links,
		IgnoreExcludeLabel: s.options.ignoreExcludeLabel,
		Draining:           s.draining(objects.Nodes),
	}
	s.planner = plan.New(s.view)
	return nil
}

func anyUsable(links []lb.Link) bool {
	return slices.ContainsFunc(links, func(l lb.Link) bool { return l.ARP || l.NDP })
}

// decide makes the verdicts about the services anew: over layer 2 group by group, over
// BGP one by one. It reports what changed.
func (s *speaker) decide(subjects map[lb.ServiceKey]subject) (layer2, bgp bool) {
	shared := map[lb.ServiceKey]lb.Verdict{}
	for key, sub := range subjects {
		now := verdicts{layer2: s.verdicts[key].layer2}
		switch {
		case sub.object == nil:
			now = verdicts{gone, goneFromBGP}
		case s.blind:
			now.bgp = s.planner.BGP(sub.Service, sub.Endpoints)
		default:
			now.layer2 = s.layer2Verdict(key, subjects, shared)
			now.bgp = s.planner.BGP(sub.Service, sub.Endpoints)
		}
		layer2Changed, bgpChanged := s.conclude(key, sub, now)
		layer2, bgp = layer2 || layer2Changed, bgp || bgpChanged
	}
	return layer2, bgp
}

const whyGone = "the service is gone or no longer a load balancer"

var (
	gone        = lb.Verdict{Reason: lb.NotLoadBalancer, Why: whyGone}
	goneFromBGP = lb.BGPVerdict{Reason: lb.NotLoadBalancer, Why: whyGone}
)

// layer2Verdict decides about a service, together with those that share its addresses:
// the verdicts about all of them are kept in shared.
func (s *speaker) layer2Verdict(key lb.ServiceKey, subjects map[lb.ServiceKey]subject, shared map[lb.ServiceKey]lb.Verdict) lb.Verdict {
	if v, ok := shared[key]; ok {
		return v
	}
	keys := s.holders.Group(key)
	group := make([]plan.Served, len(keys))
	for i, k := range keys {
		group[i] = subjects[k].Served
	}
	for i, v := range s.planner.Layer2Shared(group) {
		shared[keys[i]] = v
	}
	return shared[key]
}

// conclude takes the verdicts over for one service, where they differ from those before.
func (s *speaker) conclude(key lb.ServiceKey, sub subject, now verdicts) (layer2, bgp bool) {
	before := s.verdicts[key]
	s.verdicts[key] = now
	if sub.object == nil {
		delete(s.verdicts, key)
	}
	if layer2 = !now.layer2.Equal(before.layer2); layer2 {
		s.announcements.Set(key, now.layer2.Announcements)
		s.published.set(key, layer2Protocol, addressesOf(now.layer2))
		s.tellLayer2(key, sub.object, before.layer2, now.layer2)
	}
	if bgp = !now.bgp.Equal(before.bgp); bgp {
		s.routes.Set(key, now.bgp.Offers)
		s.published.set(key, bgpProtocol, advertisedOf(sub.Service, now.bgp))
		s.tellBGP(key, sub.object, before.bgp, now.bgp)
	}
	if layer2 || bgp {
		s.durations.concluded(key, before, now, s.lossOf(before.layer2.Owner, sub))
	}
	return layer2, bgp
}
