package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// election is an API server in memory and what the replicas do, second by second.
type election struct {
	t     *testing.T
	begin time.Time
	api   *fake.Clientset

	mu    sync.Mutex
	story []string
}

func newElection(t *testing.T) *election {
	return &election{t: t, begin: time.Now(), api: fake.NewClientset()}
}

func (e *election) tell(what string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.story = append(e.story, fmt.Sprintf("%.1fs %s", time.Since(e.begin).Seconds(), fmt.Sprintf(what, args...)))
}

func (e *election) told() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.story)
}

// replica is one that can be cut off from the API server, and refused the lease.
type replica struct {
	*candidacy
	lease   *lease
	cut     atomic.Bool
	refused atomic.Bool
}

func (e *election) replica(name string) *replica {
	api := fake.NewClientset()
	r := &replica{}
	// All share what is stored, and each has a line of its own to it.
	for _, verb := range []string{"get", "create", "update"} {
		api.PrependReactor(verb, "leases", func(a k8stesting.Action) (bool, runtime.Object, error) {
			if r.cut.Load() {
				return true, nil, errors.New("connection refused")
			}
			if r.refused.Load() {
				return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, leaseName, nil)
			}
			obj, err := e.api.Invokes(a, nil)
			return true, obj, err
		})
	}
	f := &fence{}
	r.lease = &lease{
		fence: f, writes: prometheus.NewCounter(prometheus.CounterOpts{Name: "writes"}),
		LeaseLock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: leaseName}, Client: api.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		},
	}
	r.candidacy = &candidacy{
		logger: log.NewNopLogger(), identity: name, fence: f, vacancies: make(chan struct{}, 1), follow: func() {},
		lead: []part{deed{e, name, f}},
	}
	return r
}

// deed is what a leader does.
type deed struct {
	*election
	name  string
	fence *fence
}

// Start takes a while to end.
func (w deed) Start(ctx context.Context) error {
	w.tell("%s leads", w.name)
	if !w.fence.passable() {
		w.t.Errorf("%s leads, and the fence does not let it write", w.name)
	}
	<-ctx.Done()
	time.Sleep(100 * time.Millisecond)
	w.tell("%s has ended", w.name)
	return nil
}

func (e *election) want(story ...string) {
	e.t.Helper()
	if diff := cmp.Diff(story, e.told()); diff != "" {
		e.t.Errorf("what happened (-want +got):\n%s", diff)
	}
}

// stands runs an attempt of a replica in the background.
func (e *election) stands(ctx context.Context, r *replica) {
	go func() {
		if err := r.stand(ctx, r.lease); err != nil {
			e.t.Error(err)
		}
	}()
}

func TestAReplicaThatEndsHandsOverWhenItsWorkHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElection(t)
		first, second := e.replica("first"), e.replica("second")
		ctx, end := context.WithCancel(t.Context())
		e.stands(ctx, first)
		time.Sleep(10 * time.Second)
		all, over := context.WithCancel(t.Context())
		e.stands(all, second)
		time.Sleep(10 * time.Second)
		end()
		time.Sleep(3 * time.Second)
		// By its next look, 1.1 s later at most.
		if told := e.told(); len(told) != 3 || told[1] != "20.1s first has ended" {
			t.Errorf("what happened: %q", told)
		}
		if first.fence.passable() {
			t.Error("who has handed over may still write")
		}
		over()
		synctest.Wait()
		time.Sleep(time.Second)
	})
}

func TestAVacancyThatIsNoticedIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElection(t)
		first, second := e.replica("first"), e.replica("second")
		ctx, end := context.WithCancel(t.Context())
		e.stands(ctx, first)
		time.Sleep(time.Second)
		waiting, over := context.WithCancel(t.Context())
		go func() { // as Start does
			for waiting.Err() == nil {
				_ = second.stand(waiting, second.lease)
			}
		}()
		time.Sleep(time.Second)
		end()
		time.Sleep(200 * time.Millisecond)
		second.vacancies <- struct{}{}
		synctest.Wait()
		e.want("0.0s first leads", "2.1s first has ended", "2.2s second leads")
		over()
		time.Sleep(time.Second)
	})
}

func TestALeaderThatIsCutOffHasEndedBeforeAnotherBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElection(t)
		first, second := e.replica("first"), e.replica("second")
		ctx, over := context.WithCancel(t.Context())
		e.stands(ctx, first)
		time.Sleep(time.Second)
		e.stands(ctx, second)
		time.Sleep(9*time.Second + renewPeriod/2)
		first.cut.Store(true) // half a period after a renewal
		time.Sleep(renewDeadline - renewPeriod/2)
		if first.fence.passable() {
			t.Error("who is cut off may write up to the moment when another may lead")
		}
		time.Sleep(5 * time.Second)
		if told := e.told(); len(told) != 3 || told[1] != "12.6s first has ended" || !strings.HasSuffix(told[2], "second leads") {
			t.Errorf("what happened: %q", told)
		}
		over()
		time.Sleep(time.Second)
	})
}

func TestTheLeaderWritesTwiceASecondAndTheOthersNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElection(t)
		first, second := e.replica("first"), e.replica("second")
		ctx, over := context.WithCancel(t.Context())
		e.stands(ctx, first)
		synctest.Wait()
		e.stands(ctx, second)
		time.Sleep(time.Minute + time.Millisecond)
		if n := testutil.ToFloat64(first.lease.writes); n != 120 && n != 121 {
			t.Errorf("the leader has written the Lease %v times in a minute, want 120", n)
		}
		if n := testutil.ToFloat64(second.lease.writes); n != 0 {
			t.Errorf("the other has written the Lease %v times", n)
		}
		over()
		time.Sleep(time.Second)
	})
}

func TestAContainerThatIsStartedAgainGoesOnLeading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElection(t)
		crashed := e.replica("pod")
		ctx, over := context.WithCancel(t.Context())
		e.stands(ctx, crashed)
		time.Sleep(time.Second)
		crashed.cut.Store(true)
		e.stands(ctx, e.replica("pod"))
		synctest.Wait()
		e.want("0.0s pod leads", "1.0s pod leads")
		over()
		time.Sleep(5 * time.Second)
	})
}

// Roles that predate Herald know of no lease, and their only replica leads without.
func TestWhoMayKeepNoLeaseLeadsAloneUntilItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElection(t)
		r := e.replica("only")
		r.refused.Store(true)
		ctx, over := context.WithCancel(t.Context())
		defer over()
		go func() {
			if !r.permitted(ctx, r.lease) {
				r.leadAlone(ctx, r.lease)
			}
		}()
		time.Sleep(10 * time.Second)
		e.want("3.0s only leads")
		r.cut.Store(true) // the API server is away for long, and says nothing
		time.Sleep(10 * leaseRecheck)
		r.cut.Store(false)
		time.Sleep(10 * leaseRecheck)
		e.want("3.0s only leads")
		r.refused.Store(false)
		time.Sleep(leaseRecheck + time.Second)
		e.want("3.0s only leads", "1263.1s only has ended")
		if r.fence.passable() {
			t.Error("who is to stand for the lease may write without it")
		}
	})
}

func TestWhoIsRefusedTheLeaseForAMomentDoesNotLeadAlone(t *testing.T) {
	for name, story := range map[string]func(*replica){
		"roles come after the pod": func(r *replica) {
			r.refused.Store(true)
			time.AfterFunc(1500*time.Millisecond, func() { r.refused.Store(false) })
		},
		"the API server is away, and refuses when it is back until it has read its roles": func(r *replica) {
			r.cut.Store(true)
			time.AfterFunc(time.Minute, func() { r.refused.Store(true); r.cut.Store(false) })
			time.AfterFunc(time.Minute+1500*time.Millisecond, func() { r.refused.Store(false) })
		},
		"roles are replaced between two terms": func(r *replica) {
			if !r.permitted(t.Context(), r.lease) {
				t.Error("not permitted at first")
			}
			r.refused.Store(true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newElection(t).replica("one")
				story(r)
				if !r.permitted(t.Context(), r.lease) {
					t.Error("it would lead without a lease")
				}
			})
		})
	}
}

func TestAPartOfTheLeaderThatFailsIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElection(t)
		r := e.replica("one")
		starts := 0
		r.lead = append(r.lead, startFunc(func(context.Context) error {
			if starts++; starts < 3 {
				return errors.New("the API server does not answer")
			}
			return nil
		}))
		ctx, over := context.WithCancel(t.Context())
		e.stands(ctx, r)
		time.Sleep(time.Minute)
		if starts != 3 {
			t.Errorf("it was started %d times, want 3", starts)
		}
		over()
		time.Sleep(time.Second)
	})
}

type startFunc func(context.Context) error

func (f startFunc) Start(ctx context.Context) error { return f(ctx) }
