package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
)

func (c *cluster) wantStatuses(want map[string]string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.statuses()); diff != "" {
		c.t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func (c *cluster) wantEvents(want ...string) {
	c.t.Helper()
	if diff := cmp.Diff(want, c.newEvents(), cmpopts.EquateEmpty()); diff != "" {
		c.t.Errorf("events (-want +got):\n%s", diff)
	}
}

func (c *cluster) wantWrites(n int) {
	c.t.Helper()
	if got := int(c.writes.Load()); got != n {
		c.t.Errorf("%d writes since the last count, want %d", got, n)
	}
	c.writes.Store(0)
}

func TestANewServiceIsGivenAnAddressInOneWrite(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.9"), service("web", 0))
	c.look("web")
	c.wantStatuses(map[string]string{"web": "192.0.2.1 blue"})
	c.wantWrites(1)
	c.wantEvents(`Normal web: IPAllocated: Assigned IP ["192.0.2.1"]`)
}

func TestLookingAgainChangesNothingAndSaysNothing(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0), service("late", 1), service("bad", 2, annotated("metallb.universe.tf/loadBalancerIPs", "nonsense")))
	c.look("web", "late", "bad")
	c.wantEvents(
		`Normal web: IPAllocated: Assigned IP ["192.0.2.1"]`,
		`Warning late: AllocationFailed: Failed to allocate IP for "default/late": no available IPs in pool "blue" for IPv4`,
		`Warning bad: deprecatedAnnotation: deprecated annotations in use, write them with the prefix metallb.io/: metallb.universe.tf/loadBalancerIPs`,
		`Warning bad: LoadBalancerFailed: metallb.io/loadBalancerIPs: invalid IP address "nonsense"`,
	)
	c.writes.Store(0)
	for range 3 {
		c.look("web", "late", "bad")
		c.lookAtPools()
	}
	c.wantWrites(0)
	c.wantEvents()
}

func TestWhatChangesIsTold(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0), service("late", 1))
	c.look("web", "late")
	c.newEvents()
	c.change("late", annotated("metallb.io/address-pool", "green"))
	c.look("late")
	c.wantEvents(`Warning late: AllocationFailed: Failed to allocate IP for "default/late": unknown pool "green"`)

	c.setAddresses("blue", "198.51.100.1/32")
	c.lookAtPools()
	c.wantStatuses(map[string]string{"web": "198.51.100.1 blue", "late": ""})
	c.wantEvents(
		"Normal web: ClearAssignment: 192.0.2.1 may no longer be held: 192.0.2.1 is in no pool",
		`Normal web: IPAllocated: Assigned IP ["198.51.100.1"]`,
	)
}

// Whoever recorded the addresses, and in whatever order they are seen after a start:
// nobody loses one, nobody is given one that another holds, and nothing is written.
func TestARestartKeepsEveryAddress(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		objects := []client.Object{pool("blue", "192.0.2.0/28"), service("early", 0)}
		names := []string{"early"} // The oldest, and the first to be looked at, but not a holder.
		want := map[string]string{"early": ""}
		for i, ip := range r.Perm(16) {
			name, ip := fmt.Sprintf("web-%d", i), fmt.Sprintf("192.0.2.%d", ip)
			objects = append(objects, service(name, 10+i, holding(ip, "blue")))
			names, want[name] = append(names, name), ip+" blue"
		}
		c := newCluster(t, objects...)
		c.look(names...)
		c.wantStatuses(want)
		c.wantWrites(0)
	}
}

// A holder that has to move is not given what another holds, who is looked at later.
func TestAServiceThatMovesAtARestartLeavesOthersAlone(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.2"),
		service("moves", 0, holding("203.0.113.1", "gone")), service("stays", 1, holding("192.0.2.1", "blue")))
	c.lookAtPools()
	c.wantStatuses(map[string]string{"moves": "192.0.2.2 blue", "stays": "192.0.2.1 blue"})
	c.wantWrites(1)
}

func TestAStarvedServiceIsServedWhenAnotherGoes(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("first", 0), service("third", 2), service("second", 1))
	c.look("first", "third", "second")
	c.wantStatuses(map[string]string{"first": "192.0.2.1 blue", "second": "", "third": ""})
	c.newEvents()
	c.remove(service("first", 0))
	c.look("first")
	c.wantStatuses(map[string]string{"second": "192.0.2.1 blue", "third": ""})
	c.wantEvents(`Normal second: IPAllocated: Assigned IP ["192.0.2.1"]`)
}

func TestAStarvedServiceIsServedWhenThePoolGrows(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("first", 0), service("second", 1))
	c.look("first", "second")
	c.setAddresses("blue", "192.0.2.1-192.0.2.2")
	c.lookAtPools()
	c.wantStatuses(map[string]string{"first": "192.0.2.1 blue", "second": "192.0.2.2 blue"})
}

func TestAServiceThatIsNoLoadBalancerAnyMoreLosesItsMarks(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0), service("waits", 1))
	c.look("web", "waits")
	c.change("web", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeClusterIP })
	c.look("web")
	c.wantStatuses(map[string]string{"web": "", "waits": "192.0.2.1 blue"})
	c.writes.Store(0)
	c.look("web")
	c.wantWrites(0)
}

func TestAServiceOfAnotherLoadBalancerIsLeftAlone(t *testing.T) {
	other := "example.com/other"
	c := newCluster(t, pool("blue", "192.0.2.1/32"),
		service("theirs", 0, holding("192.0.2.1", "theirs"), func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &other }), service("ours", 1))
	c.look("theirs", "ours")
	c.wantStatuses(map[string]string{"theirs": "192.0.2.1 theirs", "ours": "192.0.2.1 blue"})
	c.wantWrites(1)
}

// The cache may show a Service as it was before our own write: that is not to be taken
// for a change that somebody made.
func TestAWatchThatLagsBehindIsNotBelieved(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.9"), service("web", 0))
	before := c.service("web")
	c.lagging[client.ObjectKeyFromObject(before)] = before
	c.look("web", "web")
	c.wantWrites(1)
	clear(c.lagging)
	c.look("web")
	c.wantWrites(0)
	c.wantEvents(`Normal web: IPAllocated: Assigned IP ["192.0.2.1"]`)
}

func TestAnAddressIsNotGivenAwayWhileItCannotBeWritten(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.2"), service("web", 0), service("api", 1))
	c.lookAtPools()
	c.change("web", annotated("metallb.io/loadBalancerIPs", "192.0.2.2"))
	c.refuse = errors.New("etcd is on fire")
	if _, err := c.Reconcile(t.Context(), toService(t.Context(), service("web", 0))[0]); !errors.Is(err, c.refuse) {
		t.Errorf("error %v, want that of the write, so that it is tried again", err)
	}
	c.refuse = nil
	c.look("api")
	c.look("web")
	// api held 192.0.2.2 first, so web waits for it.
	c.wantStatuses(map[string]string{"api": "192.0.2.2 blue", "web": ""})
}

func TestAnAddressIsShownByItsNextHolderWhenTheLastShowsItNoMore(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.2"),
		service("first", 0), service("next", 1, annotated("metallb.io/loadBalancerIPs", "192.0.2.1")))
	c.look("first", "next")
	c.wantStatuses(map[string]string{"first": "192.0.2.1 blue", "next": ""})
	c.change("first", annotated("metallb.io/loadBalancerIPs", "192.0.2.2"))
	c.newEvents()

	c.refuse = errors.New("etcd is on fire")
	if _, err := c.Reconcile(t.Context(), toService(t.Context(), service("first", 0))[0]); err == nil {
		t.Error("no error, want that of the write")
	}
	c.refuse = nil
	c.look("next")
	c.wantStatuses(map[string]string{"first": "192.0.2.1 blue", "next": ""})
	c.look("first")
	c.wantStatuses(map[string]string{"first": "192.0.2.2 blue", "next": "192.0.2.1 blue"})
	c.wantEvents(
		"Normal first: ClearAssignment: 192.0.2.1 may no longer be held: the service asks for 192.0.2.2",
		`Normal first: IPAllocated: Assigned IP ["192.0.2.2"]`,
		`Normal next: IPAllocated: Assigned IP ["192.0.2.1"]`,
	)
}

// Two statuses that show one address are what somebody else has left.
func TestOfTwoThatShowAnAddressTheOlderKeepsIt(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.2"),
		service("older", 0, holding("192.0.2.1", "blue")), service("younger", 1, holding("192.0.2.1", "blue")))
	before := c.service("older").ResourceVersion
	c.lookAtPools()
	c.look("older", "younger")
	c.wantStatuses(map[string]string{"older": "192.0.2.1 blue", "younger": "192.0.2.2 blue"})
	if c.service("older").ResourceVersion != before {
		t.Error("the older one was written")
	}
}

func TestServicesThatSwapAddressesDoNotWaitForEachOther(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), pool("green", "192.0.2.2/32"),
		service("one", 0, annotated("metallb.io/address-pool", "blue")), service("two", 1, annotated("metallb.io/address-pool", "green")))
	c.look("one", "two")
	c.wantStatuses(map[string]string{"one": "192.0.2.1 blue", "two": "192.0.2.2 green"})
	c.newEvents()
	c.setAddresses("blue", "192.0.2.9/32")
	c.setAddresses("green", "192.0.2.1/32")
	c.setAddresses("blue", "192.0.2.2/32")
	c.lookAtPools()
	c.wantStatuses(map[string]string{"one": "192.0.2.2 blue", "two": "192.0.2.1 green"})
	c.wantEvents(
		`Normal one: ClearAssignment: 192.0.2.1 may no longer be held: the service asks for pool "blue"`,
		`Normal two: ClearAssignment: 192.0.2.2 may no longer be held: the service asks for pool "green"`,
		`Normal two: IPAllocated: Assigned IP ["192.0.2.1"]`,
		`Normal one: IPAllocated: Assigned IP ["192.0.2.2"]`,
	)
}

func TestAServiceThatWentWhileItWasWrittenIsNoError(t *testing.T) {
	resource := schema.GroupResource{Resource: "services"}
	for name, refusal := range map[string]error{
		"it is gone":        apierrors.NewNotFound(resource, "web"),
		"it is another now": apierrors.NewConflict(resource, "web", errors.New("uid")),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0))
			c.refuse = refusal
			c.look("web")
			c.wantEvents()
		})
	}
}

func TestAServiceOfTheSameNameIsAnother(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0, annotated("metallb.io/address-pool", "green")))
	c.look("web")
	c.newEvents()
	c.remove(service("web", 0))
	c.create(service("web", 1, annotated("metallb.io/address-pool", "green"), func(svc *corev1.Service) { svc.UID = "another" }))
	c.look("web")
	c.wantEvents(`Warning web: AllocationFailed: Failed to allocate IP for "default/web": unknown pool "green"`)
}

func TestABadPoolIsReportedOnceAndHarmsNobody(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), pool("green", "198.51.100.1/32"), service("web", 0), service("api", 1))
	c.look("web", "api")
	c.newEvents()
	c.writes.Store(0)
	c.setAddresses("blue", "192.0.2.1/32", "nonsense")
	c.lookAtPools()
	c.lookAtPools()
	c.wantEvents(`Warning blue: ConfigurationError: spec.addresses[1]: invalid CIDR "nonsense"`)
	c.wantStatuses(map[string]string{"web": "192.0.2.1 blue", "api": "198.51.100.1 green"})

	c.restart()
	c.lookAtPools()
	c.wantStatuses(map[string]string{"web": "192.0.2.1 blue", "api": "198.51.100.1 green"})
	c.wantWrites(0)
}

func TestABadAdvertisementIsReportedAndMovesNoAddress(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0))
	c.look("web")
	c.newEvents()
	c.writes.Store(0)
	bad := &v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "lan"}}
	bad.Spec.IPAddressPools = []string{"blue", "blue"}
	c.create(bad)
	c.lookAtPools()
	c.wantEvents(`Warning lan: ConfigurationError: spec.ipAddressPools[1]: duplicate definition of "blue"`)
	c.wantWrites(0)
}

func TestTheControllerIsReadyOnceItHasDecided(t *testing.T) {
	c := newCluster(t)
	if c.ready(nil) == nil {
		t.Error("ready before anything was read")
	}
	c.lookAtPools()
	if err := c.ready(nil); err != nil {
		t.Errorf("not ready after everything was decided: %s", err)
	}
}

func TestPoolStatusesAreWrittenWhereTheyDiffer(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.9", "2001:db8::/126"), pool("bad", "nonsense"), service("web", 0))
	c.look("web")
	c.wantWrites(1)
	statuses := newPoolStatuses(c.logger, c.api, c.allocator, "metallb-system")
	for range 2 {
		if err := statuses.write(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.wantWrites(1)
	stored := &v1beta1.IPAddressPool{}
	if err := c.api.Get(t.Context(), types.NamespacedName{Namespace: "metallb-system", Name: "blue"}, stored); err != nil {
		t.Fatal(err)
	}
	want := v1beta1.IPAddressPoolStatus{AssignedIPv4: 1, AvailableIPv4: 8, AvailableIPv6: 4}
	if diff := cmp.Diff(want, stored.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

// What the leader before gave away last is not in the cache yet: it is not given away again.
func TestANewLeaderKnowsWhatTheOneBeforeItWrote(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1-192.0.2.2"), service("served", 0), service("fresh", 1))
	before := c.service("served")
	c.look("served")
	c.lagging[client.ObjectKeyFromObject(before)] = before
	c.restart()
	c.look("fresh", "served")
	c.wantStatuses(map[string]string{"served": "192.0.2.1 blue", "fresh": "192.0.2.2 blue"})
}

func TestAReplicaThatStandsByDecidesNothing(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0))
	ctx, end := context.WithCancel(t.Context())
	c.term.begin(ctx)
	end()
	c.term.end()
	if err := c.ready(nil); err == nil {
		t.Error("ready though nobody is known to lead")
	}
	c.follow()
	if err := c.ready(nil); err != nil {
		t.Errorf("not ready to stand by: %s", err)
	}
	c.lookAtPools()
	c.look("web")
	c.wantWrites(0)
	c.wantEvents()

	c.term.begin(t.Context())
	c.look("web")
	c.wantStatuses(map[string]string{"web": "192.0.2.1 blue"})
}

// A pool that has become invalid while another led stays in force as it was before.
func TestAReplicaThatStandsByRemembersValidPools(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0))
	ctx, end := context.WithCancel(t.Context())
	c.term.begin(ctx)
	end()
	c.term.end()
	c.lookAtPools()
	c.setAddresses("blue", "nonsense")
	c.lookAtPools()

	c.term.begin(t.Context())
	c.look("web")
	c.wantStatuses(map[string]string{"web": "192.0.2.1 blue"})
}

// Whoever leads tells what is wrong, also if it was so before.
func TestANewLeaderTellsOfProblems(t *testing.T) {
	c := newCluster(t, pool("bad", "nonsense"))
	ctx, end := context.WithCancel(t.Context())
	c.term.begin(ctx)
	end()
	c.term.end()
	c.lookAtPools()
	c.wantEvents()
	c.term.begin(t.Context())
	c.lookAtPools()
	c.wantEvents(`Warning bad: ConfigurationError: spec.addresses[0]: invalid CIDR "nonsense"`)
}

// A write that the fence stops is tried again, as the lease may be renewed the next moment.
func TestAWriteBeforeAClosedFenceIsTriedAgain(t *testing.T) {
	c := newCluster(t, pool("blue", "192.0.2.1/32"), service("web", 0))
	c.refuse = errFenced
	c.look("web")
	c.refuse = nil
	w, _ := c.queue.Get()
	c.reconcile(w)
	c.wantStatuses(map[string]string{"web": "192.0.2.1 blue"})
	c.wantEvents(`Normal web: IPAllocated: Assigned IP ["192.0.2.1"]`)
}
