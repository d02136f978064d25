package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// conditionValid is False while an object has a problem.
const conditionValid = "Valid"

const (
	// objectStatusPause lies between two rounds of writing statuses of objects: the first
	// change of a burst is told at once, and what follows together, be it a session that flaps.
	objectStatusPause = time.Second
	// objectStatusRetry lies between a round that failed and the next.
	objectStatusRetry = 5 * time.Second
)

// objectStatuses says in the status of each object of the configuration whether it is in
// force and, of a BGPPeer, how the sessions of all nodes with it go.
type objectStatuses struct {
	logger    logger
	client    client.Client
	stored    client.Reader
	namespace string
	// newCache makes what is read from while this replica leads.
	newCache func() (cache.Cache, error)
	changed  chan struct{}
	// see is told of what is gathered, what is configured by it, and what is wrong with that.
	see func(kube.Gathered, lb.Config, []lb.Problem)
}

func newObjectStatuses(l logger, mgr ctrl.Manager, namespace string, see func(kube.Gathered, lb.Config, []lb.Problem)) *objectStatuses {
	o := kube.GatheringCacheOptions(namespace)
	o.Scheme, o.Mapper, o.HTTPClient = mgr.GetScheme(), mgr.GetRESTMapper(), mgr.GetHTTPClient()
	return &objectStatuses{
		logger: l, client: mgr.GetClient(), stored: mgr.GetAPIReader(), namespace: namespace,
		newCache: func() (cache.Cache, error) { return cache.New(mgr.GetConfig(), o) },
		changed:  make(chan struct{}, 1),
		see:      see,
	}
}

// Start writes statuses on each change of what they say until ctx ends.
func (s *objectStatuses) Start(ctx context.Context) error {
	if !kube.AwaitBGPSessionStates(ctx, s.stored, s.namespace, s.noteMissing) {
		return nil
	}
	c, err := s.newCache()
	if err != nil {
		return fmt.Errorf("set up the cache of what nodes say: %w", err)
	}
	if err := kube.WatchGathering(ctx, c, s.lookAgain); err != nil {
		return fmt.Errorf("watch what nodes say: %w", err)
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() {
		if err := c.Start(ctx); err != nil {
			level.Error(s.logger).Log("msg", "cache of what nodes say ended", "error", err)
		}
	})
	if c.WaitForCacheSync(ctx) {
		s.keep(ctx, c)
	}
	return nil
}

func (s *objectStatuses) noteMissing() {
	level.Info(s.logger).Log("msg", "statuses of BGPPeers and others are not written: the cluster does not know BGPSessionStates, or does not let them be read")
}

func (s *objectStatuses) lookAgain() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// keep keeps the statuses true.
func (s *objectStatuses) keep(ctx context.Context, r client.Reader) {
	var keeper config.Keeper
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.changed:
		}
		if err := s.round(ctx, r, &keeper); err != nil && ctx.Err() == nil {
			level.Error(s.logger).Log("msg", "statuses of objects not written", "error", err, "retry", objectStatusRetry)
			s.lookAgain()
			pause(ctx, objectStatusRetry)
			continue
		}
		pause(ctx, objectStatusPause)
	}
}

// round makes each status say what is so now.
func (s *objectStatuses) round(ctx context.Context, r client.Reader, k *config.Keeper) error {
	g, err := kube.Gather(ctx, r, s.namespace)
	if err != nil {
		return err
	}
	cfg, problems := k.Parse(withSecrets(g.Objects))
	s.see(g, cfg, problems)
	var failed error
	for _, now := range listed(g.Objects) {
		kind, err := s.client.GroupVersionKindFor(now)
		if err != nil {
			return err
		}
		ref := lb.ObjectRef{Kind: kind.Kind, Namespace: now.GetNamespace(), Name: now.GetName()}
		want := now.DeepCopyObject().(client.Object)
		words := wordsOn(ref, problems)
		if peer, ok := want.(*v1beta2.BGPPeer); ok {
			if told := wordsOfNodes(lb.PeerName(peer.Name), g); len(told) > 0 {
				words = told
			}
			describe(peer, holders(ref, cfg, g), g, words)
		}
		judge(want, words)
		failed = errors.Join(failed, s.write(ctx, ref, now, want))
	}
	return failed
}

// withSecrets has Secrets stand in for those that peers name: the controller may not read them,
// and what is wrong with them is the speakers' to say.
func withSecrets(o config.Objects) config.Objects {
	for i := range o.Peers {
		if name := o.Peers[i].Spec.PasswordSecret.Name; name != "" {
			o.Secrets = append(o.Secrets, config.Secret{Name: name, Type: string(corev1.SecretTypeBasicAuth), Password: "unknown"})
		}
	}
	return o
}

// listed are all objects of the configuration.
func listed(o config.Objects) []client.Object {
	return slices.Concat(pointers(o.Pools), pointers(o.L2Advertisements), pointers(o.Peers),
		pointers(o.BGPAdvertisements), pointers(o.BFDProfiles), pointers(o.Communities))
}

func pointers[T any, P interface {
	*T
	client.Object
}](items []T) []client.Object {
	var out []client.Object
	for i := range items {
		out = append(out, P(&items[i]))
	}
	return out
}

// wordsOn are the problems of an object.
func wordsOn(ref lb.ObjectRef, problems []lb.Problem) []string {
	var out []string
	for _, p := range problems {
		if p.Object == ref {
			out = append(out, p.Words())
		}
	}
	return out
}

// wordsOfNodes are the problems of a peer as nodes tell of them, which know of Secrets, too.
func wordsOfNodes(peer lb.PeerName, g kube.Gathered) []string {
	var out []string
	for node, session := range g.Sessions[peer] {
		if session.Problem != "" && g.Ready[node] {
			out = append(out, session.Problem)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// holders are the nodes that are to hold a session with a peer and run a speaker: with the
// peer as it is in force or, if it never was, as it is.
func holders(peer lb.ObjectRef, cfg lb.Config, g kube.Gathered) []lb.NodeName {
	nodes := g.Objects.Selected(peer)
	if i := slices.IndexFunc(cfg.Peers, func(p lb.Peer) bool { return string(p.Name) == peer.Name }); i >= 0 {
		nodes = slices.Clone(cfg.Peers[i].Nodes)
	}
	return slices.DeleteFunc(nodes, func(n lb.NodeName) bool { return !g.Speakers[n] })
}

// judge makes an object's status say whether it has problems.
func judge(o client.Object, problems []string) {
	c := kube.Condition{Type: conditionValid, Status: metav1.ConditionTrue, Reason: lb.Reconciled}
	if len(problems) > 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, lb.ConfigurationError, kube.Lines("", problems)
	}
	kube.SetCondition(o, c)
}

// write changes a status that is not as it should be. Where the object is another by now, or
// the lease has to be renewed first, there is another look.
func (s *objectStatuses) write(ctx context.Context, ref lb.ObjectRef, now, want client.Object) error {
	if equality.Semantic.DeepEqual(now, want) {
		return nil
	}
	err := s.client.Status().Update(ctx, want)
	switch {
	case apierrors.IsConflict(err), errors.Is(err, errFenced):
		s.lookAgain()
		return nil
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("write status of %s: %w", ref, err)
	}
	return nil
}
