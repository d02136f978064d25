package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// statusCluster is an API server in memory that counts writes of status.
type statusCluster struct {
	api    client.WithWatch
	writes atomic.Int32
	// refuses says that writes of status fail.
	refuses atomic.Bool
	// meanwhile happens while the next status is on its way.
	meanwhile atomic.Pointer[func()]
}

func newStatusCluster(t *testing.T) *statusCluster {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := &statusCluster{}
	c.api = fake.NewClientBuilder().WithScheme(scheme).
		WithObjects(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "speaker-x", UID: "4711"}}).
		WithStatusSubresource(&v1beta1.ConfigurationState{}, &v1beta1.ServiceL2Status{}, &v1beta1.ServiceBGPStatus{}, &v1beta1.BGPSessionState{}).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(ctx context.Context, api client.Client, part string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			c.writes.Add(1)
			if c.refuses.Load() {
				return errors.New("no")
			}
			if meanwhile := c.meanwhile.Swap(nil); meanwhile != nil {
				(*meanwhile)()
			}
			if l2, ok := obj.(*v1beta1.ServiceL2Status); ok && l2.Status.Node != "" {
				var sent v1beta1.ServiceL2Status
				if data, err := p.Data(obj); err != nil || json.Unmarshal(data, &sent) != nil || sent.Status.Node != l2.Status.Node {
					return apierrors.NewInvalid(schema.GroupKind{Kind: "ServiceL2Status"}, l2.Name, nil) // the node is immutable
				}
			}
			return api.SubResource(part).Patch(ctx, obj, p, opts...)
		}}).Build()
	return c
}

// manager has what the parts under test ask a manager for.
type manager struct {
	ctrl.Manager
	cached client.Client
	reader client.Reader
}

func (m manager) GetClient() client.Client    { return m.cached }
func (m manager) GetAPIReader() client.Reader { return m.reader }

// manager is that of a node: of the ServiceL2Statuses its cache shows its own alone.
func (c *statusCluster) manager(node string) manager {
	cached := interceptor.NewClient(c.api, interceptor.Funcs{Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
		err := api.Get(ctx, key, obj, opts...)
		if _, ok := obj.(*v1beta1.ConfigurationState); !ok && err == nil && obj.GetLabels()["metallb.io/node"] != node {
			return apierrors.NewNotFound(schema.GroupResource{Resource: "servicel2statuses"}, key.Name)
		}
		return err
	}})
	return manager{cached: cached, reader: c.api}
}

// running starts a part for the duration of f, inside of which time does not pass but
// while everything waits.
func running(t *testing.T, f func(t *testing.T, c *statusCluster, start func(func(context.Context) error))) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var running atomic.Int32
		f(t, newStatusCluster(t), func(part func(context.Context) error) {
			running.Add(1)
			go func() {
				if err := part(ctx); err != nil {
					t.Errorf("Start: %s", err)
				}
				running.Add(-1)
			}()
		})
		stop()
		synctest.Wait()
		if n := running.Load(); n != 0 {
			t.Errorf("%d parts have not ended", n)
		}
	})
}

func (c *statusCluster) state(t *testing.T, name string) v1beta1.ConfigurationState {
	t.Helper()
	synctest.Wait()
	var out v1beta1.ConfigurationState
	if err := c.api.Get(t.Context(), types.NamespacedName{Namespace: "metallb-system", Name: name}, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

var oneProblem = []lb.Problem{{Object: lb.ObjectRef{Kind: "IPAddressPool", Namespace: "metallb-system", Name: "blue"}, Field: "spec.addresses[0]", Message: "is bad"}}

func TestAConfigurationStateSaysWhoFoundWhat(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewConfigurationState(log.NewNopLogger(), c.manager("node-a"), "metallb-system", kube.SpeakerReporter("speaker-x", "node-a"))
		start(s.Start)

		s.Report(nil)
		got := c.state(t, "speaker-node-a")
		if diff := cmp.Diff(map[string]string{"metallb.io/component-type": "speaker", "metallb.io/node-name": "node-a"}, got.Labels); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "speaker-x", UID: "4711"}}, got.OwnerReferences); diff != "" {
			t.Errorf("owners (-want +got):\n%s", diff)
		}
		wantStatus(t, got.Status, v1beta1.ConfigurationStateStatus{
			Result:     v1beta1.ConfigurationValid,
			Conditions: []metav1.Condition{{Type: "configReconcilerValid", Status: metav1.ConditionTrue, Reason: "Reconciled"}},
		})

		s.Report(oneProblem)
		summary := "configuration error: IPAddressPool metallb-system/blue: spec.addresses[0]: is bad"
		wantStatus(t, c.state(t, "speaker-node-a").Status, v1beta1.ConfigurationStateStatus{
			Result: v1beta1.ConfigurationInvalid, ErrorSummary: summary,
			Conditions: []metav1.Condition{{Type: "configReconcilerValid", Status: metav1.ConditionFalse, Reason: "ConfigurationError", Message: summary}},
		})

		s.Report(nil)
		if got := c.state(t, "speaker-node-a").Status; got.Result != v1beta1.ConfigurationValid || got.ErrorSummary != "" {
			t.Errorf("status %+v after the problem was solved", got)
		}
	})
}

func TestAConfigurationStateIsTakenOverByTheNextPod(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		next := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "speaker-y", UID: "4712"}}
		if err := c.api.Create(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		var uid types.UID
		for _, pod := range []string{"speaker-x", "speaker-y"} {
			s := kube.NewConfigurationState(log.NewNopLogger(), c.manager("node-a"), "metallb-system", kube.SpeakerReporter(pod, "node-a"))
			start(s.Start)
			s.Report(nil)
			got := c.state(t, "speaker-node-a")
			if len(got.OwnerReferences) != 1 || got.OwnerReferences[0].Name != pod {
				t.Errorf("owners %+v, want %s alone", got.OwnerReferences, pod)
			}
			if uid != "" && got.UID != uid {
				t.Error("the object is another")
			}
			uid = got.UID
		}
	})
}

func TestMoreProblemsThanThereIsRoomForAreCounted(t *testing.T) {
	var many []lb.Problem
	for i := range 2000 {
		many = append(many, lb.Problem{Object: lb.ObjectRef{Kind: "BGPPeer", Name: fmt.Sprintf("peer-%d", i)}, Field: "spec.bfdProfile", Message: "names no BFDProfile"})
	}
	for count := 1; count <= len(many); count += 37 {
		got := kube.Summary(many[:count])
		lines := strings.Split(got, "\n")
		if len(got) > 32768 {
			t.Fatalf("%d problems take %d characters", count, len(got))
		}
		if rest, cut := strings.CutPrefix(lines[len(lines)-1], "… and "); cut {
			left, err := strconv.Atoi(strings.TrimSuffix(rest, " more"))
			if err != nil || left+len(lines)-1 != count {
				t.Fatalf("of %d problems %d are told, and %q", count, len(lines)-1, rest)
			}
		} else if len(lines) != count {
			t.Fatalf("of %d problems %d are told", count, len(lines))
		}
	}
}

func wantStatus(t *testing.T, got, want v1beta1.ConfigurationStateStatus) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(metav1.Condition{}, "LastTransitionTime")); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
}

func TestTheControllersConfigurationStateHasTheNamesThatUsersKnow(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewConfigurationState(log.NewNopLogger(), c.manager("node-a"), "metallb-system", kube.ControllerReporter(""))
		start(s.Start)
		s.Report(nil)
		got := c.state(t, "controller")
		if got.Labels["metallb.io/component-type"] != "controller" || got.Status.Conditions[0].Type != "poolReconcilerValid" {
			t.Errorf("state %+v", got)
		}
	})
}

func TestAConfigurationStateIsWrittenOnlyWhereItDiffers(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewConfigurationState(log.NewNopLogger(), c.manager("node-a"), "metallb-system", kube.ControllerReporter(""))
		start(s.Start)
		s.Report(oneProblem)
		since := c.state(t, "controller").Status.Conditions[0].LastTransitionTime
		for range 3 {
			s.Report(oneProblem)
			synctest.Wait()
		}
		if n := c.writes.Load(); n != 1 {
			t.Errorf("%d writes of one and the same status", n)
		}
		time.Sleep(time.Hour)
		s.Report(append(oneProblem, lb.Problem{Message: "so is this"}))
		if got := c.state(t, "controller").Status.Conditions[0]; !got.LastTransitionTime.Equal(&since) || c.writes.Load() != 2 {
			t.Errorf("invalid since %s, was so since %s; %d writes", got.LastTransitionTime, since, c.writes.Load())
		}
	})
}

func TestAConfigurationStateIsMadeAgain(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewConfigurationState(log.NewNopLogger(), c.manager("node-a"), "metallb-system", kube.ControllerReporter(""))
		start(s.Start)
		s.Report(oneProblem)
		made := c.state(t, "controller")
		if err := c.api.Delete(t.Context(), &made); err != nil {
			t.Fatal(err)
		}
		s.Report(oneProblem)
		if got := c.state(t, "controller").Status; got.Result != v1beta1.ConfigurationInvalid {
			t.Errorf("status %+v", got)
		}
	})
}

func TestAConfigurationStateThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewConfigurationState(log.NewNopLogger(), c.manager("node-a"), "metallb-system", kube.ControllerReporter(""))
		start(s.Start)
		c.refuses.Store(true)
		s.Report(oneProblem)
		synctest.Wait()
		c.refuses.Store(false)
		time.Sleep(time.Minute)
		if got := c.state(t, "controller").Status; got.Result != v1beta1.ConfigurationInvalid || c.writes.Load() != 2 {
			t.Errorf("status %+v after %d writes", got, c.writes.Load())
		}
	})
}

// l2Statuses are all there are, by name of the service: node and links.
func (c *statusCluster) l2Statuses(t *testing.T) map[string]string {
	t.Helper()
	time.Sleep(time.Minute) // for whoever waits to try again
	synctest.Wait()
	var list v1beta1.ServiceL2StatusList
	if err := c.api.List(t.Context(), &list, client.InNamespace("metallb-system")); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, o := range list.Items {
		text := o.Status.Node
		for _, i := range o.Status.Interfaces {
			text += " " + i.Name
		}
		out[o.Status.ServiceNamespace+"/"+o.Status.ServiceName] = text
		wantLabels(t, &o, map[string]string{
			"metallb.io/node": o.Status.Node, "metallb.io/service-name": o.Status.ServiceName, "metallb.io/service-namespace": o.Status.ServiceNamespace,
		})
	}
	if len(out) != len(list.Items) {
		t.Errorf("%d objects about %d services", len(list.Items), len(out))
	}
	return out
}

// wantLabels also wants the object to go with the pod.
func wantLabels(t *testing.T, o client.Object, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, o.GetLabels()); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "speaker-x", UID: "4711"}}, o.GetOwnerReferences()); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

// decided starts the part of a node that has decided about everything once.
func (c *statusCluster) decided(start func(func(context.Context) error), node lb.NodeName) *kube.ServiceL2Statuses {
	s := kube.NewServiceL2Statuses(log.NewNopLogger(), c.manager(string(node)), "metallb-system", "speaker-x", node)
	start(s.Start)
	s.Decided()
	return s
}

func TestAStatusIsNotWrittenOnTheObjectOfAnotherNode(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		a, web := c.decided(start, "node-a"), lb.ServiceKey{Namespace: "shop", Name: "web"}
		// While node-a is about to say that it announces, it withdraws, and node-b takes over.
		takenOver := func() {
			a.Withdrawn(web)
			var list v1beta1.ServiceL2StatusList
			if err := c.api.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
				t.Errorf("%d objects: %v", len(list.Items), err)
				return
			}
			theirs := &v1beta1.ServiceL2Status{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: list.Items[0].Name, Labels: map[string]string{
				"metallb.io/node": "node-b", "metallb.io/service-name": "web", "metallb.io/service-namespace": "shop",
			}, OwnerReferences: list.Items[0].OwnerReferences}}
			if err := errors.Join(c.api.Delete(t.Context(), &list.Items[0]), c.api.Create(t.Context(), theirs)); err != nil {
				t.Error(err)
			}
			theirs.Status = v1beta1.ServiceL2StatusStatus{Node: "node-b", ServiceName: "web", ServiceNamespace: "shop"}
			if err := c.api.Status().Update(t.Context(), theirs); err != nil {
				t.Error(err)
			}
		}
		c.meanwhile.Store(&takenOver)
		a.Announced(web, nil)
		if diff := cmp.Diff(map[string]string{"shop/web": "node-b"}, c.l2Statuses(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAnObjectOfOursWithTheStatusOfAnotherNodeIsMadeAnew(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		a, web := c.decided(start, "node-a"), lb.ServiceKey{Namespace: "shop", Name: "web"}
		a.Announced(web, nil)
		c.l2Statuses(t)
		var list v1beta1.ServiceL2StatusList
		if err := c.api.List(t.Context(), &list); err != nil || len(list.Items) != 1 {
			t.Fatalf("%d objects: %v", len(list.Items), err)
		}
		list.Items[0].Status.Node = "node-b"
		if err := c.api.Status().Update(t.Context(), &list.Items[0]); err != nil {
			t.Fatal(err)
		}
		a.Announced(web, []string{"eth0"})
		if diff := cmp.Diff(map[string]string{"shop/web": "node-a eth0"}, c.l2Statuses(t)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAServiceL2StatusFollowsTheNodeThatAnnounces(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		a, b := c.decided(start, "node-a"), c.decided(start, "node-b")
		web, api := lb.ServiceKey{Namespace: "shop", Name: "web"}, lb.ServiceKey{Namespace: "shop", Name: "api"}
		for _, step := range []struct {
			name string
			do   func()
			want map[string]string
		}{
			{"announced", func() { a.Announced(web, nil); a.Announced(api, []string{"eth0", "eth1"}) }, map[string]string{"shop/web": "node-a", "shop/api": "node-a eth0 eth1"}},
			{"on other links", func() { a.Announced(api, []string{"eth1"}) }, map[string]string{"shop/web": "node-a", "shop/api": "node-a eth1"}},
			{"on all links", func() { a.Announced(api, nil) }, map[string]string{"shop/web": "node-a", "shop/api": "node-a"}},
			{"taken over before the other lets go", func() { b.Announced(web, nil); synctest.Wait(); a.Withdrawn(web) }, map[string]string{"shop/web": "node-b", "shop/api": "node-a"}},
			{"taken over after the other let go", func() { a.Withdrawn(api); synctest.Wait(); b.Announced(api, nil) }, map[string]string{"shop/web": "node-b", "shop/api": "node-b"}},
			{"announced by nobody", func() { b.Withdrawn(api) }, map[string]string{"shop/web": "node-b"}},
		} {
			step.do()
			if diff := cmp.Diff(step.want, c.l2Statuses(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
	})
}

// Two nodes may take each other for dead. No event comes here, as where the cache has not shown the object yet.
func TestAServiceL2StatusIsMadeAgainWhenTheOtherNodeLetsGo(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		a, b := c.decided(start, "node-a"), c.decided(start, "node-b")
		web := lb.ServiceKey{Namespace: "shop", Name: "web"}
		a.Announced(web, nil)
		synctest.Wait()
		b.Announced(web, nil)
		synctest.Wait()
		b.Withdrawn(web)
		time.Sleep(time.Minute)
		if diff := cmp.Diff(map[string]string{"shop/web": "node-a"}, c.l2Statuses(t)); diff != "" {
			t.Errorf("statuses (-want +got):\n%s", diff)
		}
	})
}

func TestAServiceL2StatusIsWrittenOnlyWhereItDiffers(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewServiceL2Statuses(log.NewNopLogger(), c.manager("node-a"), "metallb-system", "speaker-x", "node-a")
		start(s.Start)
		web := lb.ServiceKey{Namespace: "shop", Name: "web"}
		s.Announced(web, []string{"eth0"})
		if got := c.l2Statuses(t); len(got) > 0 {
			t.Errorf("written before all was decided: %v", got)
		}
		s.Decided()
		for range 3 {
			s.Announced(web, []string{"eth0"})
			s.Decided()
			c.l2Statuses(t)
		}
		if n := c.writes.Load(); n != 1 {
			t.Errorf("%d writes of one and the same status", n)
		}
	})
}

// However long the API server was away, statuses are soon true when it is back.
func TestAStatusIsTrueSoonAfterALongOutage(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewServiceL2Statuses(log.NewNopLogger(), c.manager("node-a"), "metallb-system", "speaker-x", "node-a")
		start(s.Start)
		c.refuses.Store(true)
		s.Announced(lb.ServiceKey{Namespace: "shop", Name: "web"}, nil)
		s.Decided()
		time.Sleep(3 * time.Hour)
		c.refuses.Store(false)
		time.Sleep(30 * time.Second)
		if diff := cmp.Diff(map[string]string{"shop/web": "node-a"}, c.l2Statuses(t)); diff != "" {
			t.Errorf("statuses (-want +got):\n%s", diff)
		}
	})
}

func TestAServiceL2StatusThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewServiceL2Statuses(log.NewNopLogger(), c.manager("node-a"), "metallb-system", "speaker-x", "node-a")
		start(s.Start)
		c.refuses.Store(true)
		s.Announced(lb.ServiceKey{Namespace: "shop", Name: "web"}, nil)
		s.Decided()
		synctest.Wait()
		c.refuses.Store(false)
		if diff := cmp.Diff(map[string]string{"shop/web": "node-a"}, c.l2Statuses(t)); diff != "" {
			t.Errorf("statuses (-want +got):\n%s", diff)
		}
	})
}
