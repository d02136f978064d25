package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// gathering is an API server in memory whose objects are told how they are.
type gathering struct {
	*objectStatuses
	t      *testing.T
	api    client.WithWatch
	keeper config.Keeper
	writes int
	// refusals are what the API server answers to the first writes.
	refusals []error
}

func newGathering(t *testing.T, objects ...client.Object) *gathering {
	t.Helper()
	kinds, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	g := &gathering{t: t}
	g.api = fake.NewClientBuilder().WithScheme(kinds).WithObjects(objects...).
		WithStatusSubresource(&v1beta2.BGPPeer{}, &v1beta1.IPAddressPool{}, &v1beta1.L2Advertisement{}, &v1beta1.BGPAdvertisement{}, &v1beta1.BFDProfile{}, &v1beta1.Community{}).
		WithInterceptorFuncs(interceptor.Funcs{SubResourceUpdate: func(ctx context.Context, api client.Client, part string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
			g.writes++
			if len(g.refusals) > 0 {
				refusal := g.refusals[0]
				g.refusals = g.refusals[1:]
				return refusal
			}
			return api.SubResource(part).Update(ctx, obj, opts...)
		}}).Build()
	g.objectStatuses = &objectStatuses{logger: log.NewNopLogger(), client: g.api, namespace: "metallb-system", changed: make(chan struct{}, 1), see: func(kube.Gathered, lb.Config, []lb.Problem) {}}
	return g
}

func ours(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "metallb-system", Name: name}
}

func tor(change func(*v1beta2.BGPPeerSpec)) *v1beta2.BGPPeer {
	p := &v1beta2.BGPPeer{ObjectMeta: ours("tor"), Spec: v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "192.0.2.1"}}
	change(&p.Spec)
	return p
}

func unchanged(*v1beta2.BGPPeerSpec) {}

// speakerOn is a node that is ready, and the speaker that runs there.
func speakerOn(node string) []client.Object {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	s := &v1beta1.ConfigurationState{ObjectMeta: ours("speaker-" + node)}
	s.Labels = map[string]string{"metallb.io/node-name": node}
	return []client.Object{n, s}
}

func sessionOf(node string, status v1beta1.BGPSessionStateStatus) *v1beta1.BGPSessionState {
	status.Node, status.BGPPeer = node, "tor"
	return &v1beta1.BGPSessionState{ObjectMeta: ours("session-" + node), Status: status}
}

func (g *gathering) look() {
	g.t.Helper()
	if err := g.round(g.t.Context(), g.api, &g.keeper); err != nil {
		g.t.Fatal(err)
	}
}

// replace makes an object anew, status and all.
func (g *gathering) replace(o client.Object) {
	g.t.Helper()
	o.SetResourceVersion("")
	if err := g.api.Delete(g.t.Context(), o); err != nil {
		g.t.Fatal(err)
	}
	if err := g.api.Create(g.t.Context(), o); err != nil {
		g.t.Fatal(err)
	}
}

// told is what the status of each object says.
func (g *gathering) told() map[string]string {
	g.t.Helper()
	found, err := kube.Gather(g.t.Context(), g.api, "metallb-system")
	if err != nil {
		g.t.Fatal(err)
	}
	out := map[string]string{}
	for _, o := range listed(found.Objects) {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			g.t.Fatal(err)
		}
		var words []string
		if p, ok := o.(*v1beta2.BGPPeer); ok {
			words = append(words, p.Status.Established)
		}
		conditions, _, _ := unstructured.NestedSlice(fields, "status", "conditions")
		for _, c := range conditions {
			c := c.(map[string]any)
			words = append(words, strings.TrimSpace(fmt.Sprintf("%s=%s %s", c["type"], c["status"], c["message"])))
		}
		out[o.GetName()] = strings.Join(words, " | ")
	}
	return out
}

func (g *gathering) wantTold(when string, want map[string]string) {
	g.t.Helper()
	if diff := cmp.Diff(want, g.told()); diff != "" {
		g.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func TestEachObjectTellsWhetherItIsInForce(t *testing.T) {
	bad := &v1beta1.IPAddressPool{ObjectMeta: ours("bad"), Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"nonsense"}}}
	good := pool("good", "192.0.2.0/28")
	good.Status = v1beta1.IPAddressPoolStatus{AssignedIPv4: 3, AvailableIPv4: 13}
	ad := &v1beta1.BGPAdvertisement{ObjectMeta: ours("wan"), Spec: v1beta1.BGPAdvertisementSpec{Communities: []string{"later"}}}
	g := newGathering(t, append(speakerOn("a"), bad, good, ad,
		&v1beta1.L2Advertisement{ObjectMeta: ours("lan")}, &v1beta1.BFDProfile{ObjectMeta: ours("fast")}, &v1beta1.Community{ObjectMeta: ours("aliases")},
		tor(func(s *v1beta2.BGPPeerSpec) { s.BFDProfile, s.PasswordSecret.Name = "none", "secret" }))...)
	g.look()
	want := map[string]string{
		"good": "Valid=True", "lan": "Valid=True", "fast": "Valid=True", "aliases": "Valid=True",
		"bad": `Valid=False spec.addresses[0]: invalid CIDR "nonsense"`,
		"wan": "Valid=False invalid community format: later\ninvalid community \"later\" in BGP advertisement",
		"tor": "0/1 | Established=False 0/1 sessions are established; a: the speaker has not told of its session yet | Valid=False peer tor referencing non existing bfd profile none",
	}
	g.wantTold("at first", want)
	if err := g.api.Get(t.Context(), client.ObjectKeyFromObject(good), good); err != nil || good.Status.AssignedIPv4 != 3 || good.Status.AvailableIPv4 != 13 {
		t.Errorf("the counters of a pool are %+v; %v", good.Status, err)
	}

	g.writes = 0
	g.look()
	if g.writes != 0 {
		t.Errorf("%d writes though nothing changed", g.writes)
	}

	if err := g.api.Create(t.Context(), &v1beta1.BFDProfile{ObjectMeta: ours("none")}); err != nil {
		t.Fatal(err)
	}
	g.look()
	want["none"], want["tor"] = "Valid=True", "0/1 | Established=False 0/1 sessions are established; a: the speaker has not told of its session yet | Valid=True"
	g.wantTold("when what was missing has come", want)
}

func TestSessionsAreGatheredFromTheNodesThatHoldThem(t *testing.T) {
	objects := append(speakerOn("a"), speakerOn("b")...)
	objects = append(objects, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "without-speaker"}}, tor(unchanged), sessionOf("a", up), sessionOf("b", up))
	g := newGathering(t, objects...)
	want := func(when, told string) {
		t.Helper()
		g.look()
		g.wantTold(when, map[string]string{"tor": told})
	}
	want("both are up", "2/2 | Established=True 2/2 sessions are established | Valid=True")

	node := objects[0].(*corev1.Node)
	node.Status.Conditions[0].Status = corev1.ConditionUnknown
	g.replace(node)
	want("a node is cut off", "1/2 | Established=False 1/2 sessions are established; a: the node is not ready: what it said last of its session does not count | Valid=True")

	session := sessionOf("b", downFor(lb.ConfigurationError, "no such Secret"))
	session.Status.Problem = "no such Secret"
	g.replace(session)
	want("the speakers cannot read a Secret", "0/2 | Established=False 0/2 sessions are established; b: no such Secret; "+
		"a: the node is not ready: what it said last of its session does not count | Valid=False no such Secret")

	for _, gone := range []client.Object{node, session} {
		if err := g.api.Delete(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
	}
	want("a node is gone, and a session", "0/1 | Established=False 0/1 sessions are established; b: the speaker has not told of its session yet; "+
		"a: the node is gone: what it said last of its session does not count | Valid=True")
}

// What is in force counts: the nodes of a version that is not valid hold no session.
func TestThePeersLastValidVersionSaysWhoHoldsASession(t *testing.T) {
	g := newGathering(t, append(speakerOn("a"), tor(unchanged), sessionOf("a", up))...)
	g.look()
	var stored v1beta2.BGPPeer
	if err := g.api.Get(t.Context(), client.ObjectKey{Namespace: "metallb-system", Name: "tor"}, &stored); err != nil {
		t.Fatal(err)
	}
	stored.Spec.NodeSelectors, stored.Spec.MyASN = []metav1.LabelSelector{{MatchLabels: map[string]string{"no": "such"}}}, 0
	if err := g.api.Update(t.Context(), &stored); err != nil {
		t.Fatal(err)
	}
	g.look()
	g.wantTold("while a mistake is in it", map[string]string{
		"tor": "1/1 | Established=True 1/1 sessions are established | Valid=False spec.myASN: missing local ASN: it must be 1 to 4294967295",
	})
}

func TestStatusesAreWrittenAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGathering(t, append(speakerOn("a"), tor(unchanged), sessionOf("a", up))...)
		ctx, stop := context.WithCancel(t.Context())
		go g.keep(ctx, g.api)
		g.lookAgain()
		synctest.Wait()
		if g.writes != 1 {
			t.Errorf("%d writes at once, want 1", g.writes)
		}
		flapping := sessionOf("a", up)
		for range 100 { // for 10 s
			flapping.Status.BGPStatus = map[string]string{"Established": "Idle", "Idle": "Established"}[flapping.Status.BGPStatus]
			g.replace(flapping)
			g.lookAgain()
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if g.writes > 11 {
			t.Errorf("%d writes in 10 s", g.writes)
		}
		stop()
		synctest.Wait()
	})
}

func TestStatusesAreWrittenOnceTheAPIServerTakesThem(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "bgppeers"}, "tor", nil)
	for name, tc := range map[string]struct {
		refusal error
		within  time.Duration
	}{
		"it was away":                       {errors.New("no"), objectStatusRetry},
		"the cache was behind":              {conflict, objectStatusPause},
		"the lease had to be renewed first": {errFenced, objectStatusPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGathering(t, append(speakerOn("a"), tor(unchanged), sessionOf("a", up))...)
				g.refusals = []error{tc.refusal}
				ctx, stop := context.WithCancel(t.Context())
				go g.keep(ctx, g.api)
				g.lookAgain()
				time.Sleep(tc.within)
				synctest.Wait()
				g.wantTold("in the end", map[string]string{"tor": "1/1 | Established=True 1/1 sessions are established | Valid=True"})
				stop()
				synctest.Wait()
			})
		})
	}
}
