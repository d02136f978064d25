package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// said are announcers as a test has them.
type said map[string][]kube.Announcer

func (s said) Start(context.Context)                 {}
func (s said) Of(key lb.ServiceKey) []kube.Announcer { return s[key.Name] }
func (s said) Known() bool                           { return true }

// told is a cluster that leads and tells of announcements, in a bubble of synctest. Its pool is
// announced over layer 2 by each of two nodes that may.
type told struct {
	*cluster
	said
	gathered kube.Gathered
	config   lb.Config
}

func inTold(t *testing.T, test func(t *testing.T, c *told)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &told{cluster: newCluster(t, pool("blue", "192.0.2.1-192.0.2.9")), said: said{}, gathered: gatheredWith(nil)}
		pool := lb.Pool{Name: "blue", AutoAssign: true, Ranges: []lb.Range{{First: netip.MustParseAddr("192.0.2.1"), Last: netip.MustParseAddr("192.0.2.9")}}}
		ad := lb.L2Advertisement{Name: "lan", Pools: []lb.PoolName{"blue"}, Nodes: []lb.NodeName{"node-a", "node-b"}}
		c.config = lb.Config{Pools: []lb.Pool{pool}, L2Advertisements: []lb.L2Advertisement{ad}}
		c.announcements.announcers = c.said
		c.lookAtPools()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.announcements.Start(ctx) }()
		c.see()
		test(t, c)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		c.queue.ShutDown()
	})
}

func (c *told) see() { c.announcements.see(c.gathered, c.config, nil) }

// say has nodes say that they announce the service web.
func (c *told) say(by ...kube.Announcer) {
	synctest.Wait() // nobody reads it now
	c.said["web"] = by
	c.announcements.look(lb.ServiceKey{Namespace: "default", Name: "web"})
}

// pause lets so much time go by that all is told.
func (c *told) pause() {
	time.Sleep(10 * conditionsPause)
	synctest.Wait()
}

// wantConditions compares "status reason message" of the conditions of a service, by their types.
func (c *told) wantConditions(name, address, announced string) {
	c.t.Helper()
	got := map[string]string{}
	for _, condition := range c.service(name).Status.Conditions {
		got[strings.TrimPrefix(condition.Type, "metallb.io/")] = fmt.Sprintf("%s %s %s", condition.Status, condition.Reason, condition.Message)
	}
	want := map[string]string{}
	if address != "" {
		want["AddressAssigned"] = address
	}
	if announced != "" {
		want["Announced"] = announced
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		c.t.Errorf("conditions of %s (-want +got):\n%s", name, diff)
	}
}

const (
	fromBlue = `True IPAllocated from pool "blue"`
	onNodeA  = "True Announced layer 2: node-a"
)

var (
	nodeA = kube.Announcer{Node: "node-a"}
	nodeB = kube.Announcer{Node: "node-b"}
)

func TestAServiceIsToldOfInOneWriteWithItsAddressAndOneWhenItIsAnnounced(t *testing.T) {
	inTold(t, func(_ *testing.T, c *told) {
		c.create(service("web", 0))
		c.look("web")
		c.wantWrites(1)
		c.wantConditions("web", fromBlue, "")
		c.say(nodeA)
		c.pause()
		c.wantConditions("web", fromBlue, onNodeA)
		c.wantWrites(1)
		c.wantEvents(`Normal web: IPAllocated: Assigned IP ["192.0.2.1"]`)
		c.look("web")
		c.see()
		c.pause()
		c.wantWrites(0)
	})
}

func TestWhatNobodyCanAnnounceIsToldWithTheAddress(t *testing.T) {
	inTold(t, func(_ *testing.T, c *told) {
		c.config.L2Advertisements = nil
		c.see()
		c.create(service("web", 0))
		c.look("web")
		const why = `neither an L2Advertisement nor a BGPAdvertisement selects pool "blue"`
		c.wantConditions("web", fromBlue, "False NoMatchingAdvertisement "+why)
		c.wantEvents(`Normal web: IPAllocated: Assigned IP ["192.0.2.1"]`)
		c.pause() // until it is certain
		c.wantEvents("Warning web: noMatchingAdvertisement: not announced: " + why)
		c.wantWrites(1)
	})
}

// An address that is handed over from node to node, be it several times in a second, is
// announced all the while.
func TestAHandOverIsOneWriteAndNoLoss(t *testing.T) {
	inTold(t, func(t *testing.T, c *told) {
		c.create(service("web", 0))
		c.look("web")
		c.say(nodeA)
		c.pause()
		c.writes.Store(0)
		since := c.service("web").Status.Conditions[1].LastTransitionTime
		for range 4 {
			c.say(nodeB)
			time.Sleep(conditionsPause / 10)
			c.say()
			time.Sleep(conditionsPause / 10)
		}
		time.Sleep(conditionsPause)
		c.say(nodeB)
		c.pause()
		c.wantConditions("web", fromBlue, "True Announced layer 2: node-b")
		c.wantWrites(1)
		c.newEvents()
		if now := c.service("web").Status.Conditions[1].LastTransitionTime; !now.Equal(&since) {
			t.Errorf("announced since %s, and since %s before", now, since)
		}
	})
}

func TestWhoIsNotAnnouncedForASecondIsToldWhy(t *testing.T) {
	inTold(t, func(_ *testing.T, c *told) {
		c.create(service("web", 0))
		c.look("web")
		c.say(nodeA)
		c.pause()
		c.newEvents()
		c.writes.Store(0)

		c.say()
		time.Sleep(conditionsPause + conditionsPause/2)
		synctest.Wait()
		c.wantWrites(0)
		c.pause()
		c.wantConditions("web", fromBlue, "False NoEndpoints no endpoint can serve")
		c.wantEvents("Warning web: noEndpoints: not announced: no endpoint can serve")

		node, yes := "node-c", true
		c.create(&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			Endpoints:  []discoveryv1.Endpoint{{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &yes}}},
		})
		time.Sleep(endpointsRecheck) // nothing tells of them
		c.pause()
		c.wantWrites(2)
		const failing = `node "node-a" is to announce it and does not: no link is usable, or its speaker is not at work`
		c.wantConditions("web", fromBlue, "False AnnounceFailed "+failing)
		c.wantEvents("Warning web: announceFailed: not announced: " + failing)
	})
}

func TestAServiceWithoutAnAddressIsToldOnce(t *testing.T) {
	inTold(t, func(_ *testing.T, c *told) {
		c.create(service("web", 0, annotated("metallb.io/address-pool", "green")))
		c.look("web")
		c.pause()
		const why = `Failed to allocate IP for "default/web": unknown pool "green"`
		c.wantConditions("web", "False AllocationFailed "+why, "False NoIPAllocated the Service holds no address")
		c.wantWrites(1)
		c.wantEvents("Warning web: AllocationFailed: " + why)
	})
}

// Whoever served it before: it keeps its address, and is told of it at the pace of conditions.
func TestAServiceOfAPredecessorIsToldOfItsAddress(t *testing.T) {
	inTold(t, func(_ *testing.T, c *told) {
		c.create(service("web", 0, holding("192.0.2.7", "blue")))
		c.look("web")
		c.wantWrites(0)
		c.say(nodeA)
		c.pause()
		c.wantConditions("web", fromBlue, onNodeA)
		c.wantWrites(1)
	})
}

func TestConditionsGoWithTheServiceThatTheyAreOf(t *testing.T) {
	inTold(t, func(_ *testing.T, c *told) {
		c.create(service("web", 0))
		c.look("web")
		c.say(nodeA)
		c.pause()
		c.change("web", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeClusterIP })
		c.look("web")
		c.wantConditions("web", "", "")
		c.create(service("api", 1))
		c.look("api")
		other := "example.com/other"
		c.change("api", func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &other })
		c.look("api")
		c.wantConditions("api", "", "")
		c.writes.Store(0)
		c.pause()
		c.wantWrites(0)
	})
}

func TestConditionsThatCannotBeWrittenAreTriedAgain(t *testing.T) {
	inTold(t, func(_ *testing.T, c *told) {
		c.create(service("web", 0))
		c.look("web")
		c.refuse = errors.New("etcd is on fire")
		c.say(nodeA)
		c.pause()
		c.refuse = nil
		c.announcements.lookAtAll()
		c.pause()
		c.wantConditions("web", fromBlue, onNodeA)
	})
}

func TestManyConditionsKeepTheirPace(t *testing.T) {
	inTold(t, func(t *testing.T, c *told) {
		const many = 2*conditionsBurst + conditionsPace/2
		c.setAddresses("blue", "10.0.0.0/16")
		for i := range many {
			name := fmt.Sprintf("web-%d", i)
			c.create(service(name, 0, holding(fmt.Sprintf("10.0.0.%d", i), "blue")))
			c.said[name] = []kube.Announcer{nodeA}
		}
		c.lookAtPools()
		time.Sleep(conditionsPause + time.Second/2)
		synctest.Wait()
		if n := c.writes.Load(); n < conditionsBurst || n > conditionsBurst+conditionsPace {
			t.Errorf("%d writes within half a second", n)
		}
		c.pause()
		c.wantWrites(many)
	})
}

func TestProblemsAreCountedByKind(t *testing.T) {
	c := newCluster(t, pool("blue", "nonsense"))
	c.lookAtPools()
	want := map[string]int{"IPAddressPool": 1, "L2Advertisement": 0, "BGPPeer": 0, "BGPAdvertisement": 0, "BFDProfile": 0, "Community": 0}
	if diff := cmp.Diff(want, c.problemMetrics()); diff != "" {
		t.Errorf("before anything is gathered (-want +got):\n%s", diff)
	}
	c.announcements.see(kube.Gathered{}, lb.Config{}, []lb.Problem{{Object: lb.ObjectRef{Kind: "BGPPeer"}}, {Object: lb.ObjectRef{Kind: "BGPPeer"}}})
	want["IPAddressPool"], want["BGPPeer"] = 0, 2
	if diff := cmp.Diff(want, c.problemMetrics()); diff != "" {
		t.Errorf("of all that is gathered (-want +got):\n%s", diff)
	}
}
