package kube_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// bgpStatuses are all there are, by service and node: the peers.
func (c *statusCluster) bgpStatuses(t *testing.T) map[string]string {
	t.Helper()
	synctest.Wait()
	var list v1beta1.ServiceBGPStatusList
	if err := c.api.List(t.Context(), &list, client.InNamespace("metallb-system")); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, o := range list.Items {
		s := o.Status
		out[s.ServiceNamespace+"/"+s.ServiceName+" on "+s.Node] = strings.Join(s.Peers, " ")
		wantLabels(t, &o, map[string]string{"metallb.io/node": s.Node, "metallb.io/service-name": s.ServiceName, "metallb.io/service-namespace": s.ServiceNamespace})
	}
	return out
}

func TestAServiceBGPStatusIsOfOneNodeAndNamesThePeers(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		a := kube.NewServiceBGPStatuses(log.NewNopLogger(), c.manager("node-a"), "metallb-system", "speaker-x", "node-a")
		b := kube.NewServiceBGPStatuses(log.NewNopLogger(), c.manager("node-b"), "metallb-system", "speaker-x", "node-b")
		start(a.Start)
		start(b.Start)
		a.Decided()
		b.Decided()
		web := lb.ServiceKey{Namespace: "shop", Name: "web"}
		for _, step := range []struct {
			name string
			do   func()
			want map[string]string
		}{
			{"advertised by one", func() { a.Advertised(web, []lb.PeerName{"spine", "tor"}) }, map[string]string{"shop/web on node-a": "spine tor"}},
			{"by both", func() { b.Advertised(web, []lb.PeerName{"tor"}) }, map[string]string{"shop/web on node-a": "spine tor", "shop/web on node-b": "tor"}},
			{"to other peers", func() { a.Advertised(web, []lb.PeerName{"tor"}) }, map[string]string{"shop/web on node-a": "tor", "shop/web on node-b": "tor"}},
			{"the same again", func() { a.Advertised(web, []lb.PeerName{"tor"}) }, map[string]string{"shop/web on node-a": "tor", "shop/web on node-b": "tor"}},
			{"withdrawn by one", func() { a.Withdrawn(web) }, map[string]string{"shop/web on node-b": "tor"}},
		} {
			step.do()
			if diff := cmp.Diff(step.want, c.bgpStatuses(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
		}
		if n := c.writes.Load(); n != 3 {
			t.Errorf("%d writes, want one for each change", n)
		}
	})
}

// A rollout must not make every object anew.
func TestAStatusThatAnEarlierPodLeftIsAdopted(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		web := lb.ServiceKey{Namespace: "shop", Name: "web"}
		before := kube.NewServiceBGPStatuses(log.NewNopLogger(), c.manager("node-a"), "metallb-system", "", "node-a")
		start(before.Start)
		before.Decided()
		before.Advertised(web, []lb.PeerName{"tor"})
		synctest.Wait()
		writes := c.writes.Load()

		now := kube.NewServiceBGPStatuses(log.NewNopLogger(), c.manager("node-a"), "metallb-system", "speaker-x", "node-a")
		start(now.Start)
		now.Decided()
		now.Advertised(web, []lb.PeerName{"tor"})
		if diff := cmp.Diff(map[string]string{"shop/web on node-a": "tor"}, c.bgpStatuses(t)); diff != "" { // and owned by speaker-x
			t.Errorf("statuses (-want +got):\n%s", diff)
		}
		if n := c.writes.Load(); n != writes {
			t.Errorf("%d writes of a status that did not change", n-writes)
		}
	})
}

// sessionStates are all there are, by the name of the peer.
func (c *statusCluster) sessionStates(t *testing.T) map[string]v1beta1.BGPSessionState {
	t.Helper()
	synctest.Wait()
	var list v1beta1.BGPSessionStateList
	if err := c.api.List(t.Context(), &list, client.InNamespace("metallb-system")); err != nil {
		t.Fatal(err)
	}
	out := map[string]v1beta1.BGPSessionState{}
	for _, o := range list.Items {
		out[o.Status.BGPPeer] = o
	}
	return out
}

func TestABGPSessionStateSaysHowASessionGoes(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewBGPSessionStates(log.NewNopLogger(), c.manager("node-a"), "metallb-system", "speaker-x", "node-a")
		start(s.Start)
		since := time.Now()
		tor := lb.SessionState{
			Peer: "tor", Address: netip.MustParseAddr("fd00::1"), VRF: "red", Status: lb.Active, Since: since,
			Down: lb.ConnectionRefused, LastError: "connection refused",
		}
		unnumbered := lb.SessionState{Peer: "spine", Address: netip.MustParseAddr("fe80::1%eth1"), Interface: "eth1", Status: lb.Established, Advertised: 7, BFD: &lb.BFDState{
			Status: lb.BFDUp, Diagnostic: "Control Detection Time Expired", RemoteDiagnostic: "No Diagnostic",
			TransmitInterval: 100 * time.Millisecond, DetectionTime: 300 * time.Millisecond,
		}}
		s.Report([]lb.SessionState{tor, unnumbered})
		got := c.sessionStates(t)
		wantLabels(t, new(got["tor"]), map[string]string{"metallb.io/node": "node-a", "metallb.io/peer": "fd00--1", "metallb.io/vrf": "red"})
		wantLabels(t, new(got["spine"]), map[string]string{"metallb.io/node": "node-a", "metallb.io/peer": "eth1", "metallb.io/vrf": ""})
		want := map[string]v1beta1.BGPSessionStateStatus{
			"tor": {
				Node: "node-a", BGPPeer: "tor", Peer: "fd00::1", VRF: "red", BGPStatus: "Active", Since: &metav1.Time{Time: since},
				Reason: "connectionRefused", Message: "connection refused", BFDStatus: "N/A",
			},
			"spine": {
				Node: "node-a", BGPPeer: "spine", Peer: "eth1", BGPStatus: "Established", PrefixesAdvertised: 7, BFDStatus: "Up",
				BFDDiagnostic: "Control Detection Time Expired", BFDRemoteDiagnostic: "No Diagnostic", BFDTransmitInterval: 100, BFDDetectionTime: 300,
			},
		}
		for name, status := range want {
			if diff := cmp.Diff(status, got[name].Status); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}

		for range 3 {
			s.Report([]lb.SessionState{tor, unnumbered})
			synctest.Wait()
		}
		if n := c.writes.Load(); n != 2 {
			t.Errorf("%d writes of two statuses", n)
		}
		for _, step := range []struct{ lastError, want string }{
			{"connection refused", "connection refused; BFD: port 3784 is taken"},
			{"", "BFD: port 3784 is taken"},
		} {
			tor.BFD, tor.LastError = &lb.BFDState{Status: lb.BFDDown, Problem: "port 3784 is taken"}, step.lastError
			s.Report([]lb.SessionState{tor, unnumbered})
			if got := c.sessionStates(t)["tor"].Status.Message; got != step.want {
				t.Errorf("message %q, want %q", got, step.want)
			}
		}
		tor.Status, tor.Down, tor.LastError = lb.Established, "", ""
		s.Report([]lb.SessionState{tor})
		got = c.sessionStates(t)
		if got["tor"].Status.Reason != "" || got["tor"].Status.BGPStatus != "Established" || len(got) != 1 {
			t.Errorf("states %v once one session is established and the other is gone", got)
		}
	})
}

func TestLabelsHoldWhateverAPeerIsCalled(t *testing.T) {
	running(t, func(t *testing.T, c *statusCluster, start func(func(context.Context) error)) {
		s := kube.NewBGPSessionStates(log.NewNopLogger(), c.manager("node-a"), "metallb-system", "speaker-x", "node-a")
		start(s.Start)
		s.Report([]lb.SessionState{{Peer: "tor", Address: netip.MustParseAddr("::1")}})
		if got := c.sessionStates(t)["tor"].Labels["metallb.io/peer"]; got != "1" {
			t.Errorf("label %q, want what of ::1 a label can hold", got)
		}
	})
}

func basicAuth(name, password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{"password": []byte(password)},
	}
}

func peersNaming(names ...string) []v1beta2.BGPPeer {
	var out []v1beta2.BGPPeer
	for _, n := range names {
		out = append(out, v1beta2.BGPPeer{Spec: v1beta2.BGPPeerSpec{PasswordSecret: corev1.SecretReference{Name: n}}})
	}
	return out
}

func TestOnlyTheSecretsThatPeersNameAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer stop()
		var refused atomic.Bool
		c := fake.NewClientBuilder().WithObjects(basicAuth("tor", "one"), basicAuth("private", "two")).
			WithInterceptorFuncs(interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if refused.Load() {
					return errors.New("no")
				}
				if key.Name == "private" {
					t.Error("a Secret was read that nobody named")
				}
				return c.Get(ctx, key, o, opts...)
			}}).Build()
		var changes atomic.Int32
		s := kube.NewSecrets(log.NewNopLogger(), c, "metallb-system", func() { changes.Add(1) })
		go func() { _ = s.Start(ctx) }()
		read := func() string {
			t.Helper()
			var out []string
			for _, secret := range s.NamedBy(ctx, peersNaming("tor", "", "missing", "tor")) {
				out = append(out, secret.Name+" "+secret.Type+" "+string([]byte(secret.Password)))
			}
			return strings.Join(out, ", ")
		}
		check := func(when, want string, wantChanges int32) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := read(); got != want || changes.Load() != wantChanges {
				t.Errorf("%s: secrets %q, want %q; %d changes, want %d", when, got, want, changes.Load(), wantChanges)
			}
		}
		read()
		check("at first", "tor kubernetes.io/basic-auth one", 0)
		if err := c.Update(ctx, basicAuth("tor", "other")); err != nil {
			t.Fatal(err)
		}
		check("when a password changed", "tor kubernetes.io/basic-auth other", 1)
		if err := c.Create(ctx, basicAuth("missing", "three")); err != nil {
			t.Fatal(err)
		}
		check("when a Secret came", "missing kubernetes.io/basic-auth three, tor kubernetes.io/basic-auth other", 2)
		refused.Store(true)
		check("while none can be read", "missing kubernetes.io/basic-auth three, tor kubernetes.io/basic-auth other", 2)
		if got := s.NamedBy(ctx, peersNaming("new")); len(got) != 0 {
			t.Errorf("a Secret that cannot be read is taken for %v", got)
		}
		refused.Store(false)
		time.Sleep(time.Minute)
		if got := s.NamedBy(ctx, nil); got != nil {
			t.Errorf("secrets %v that nobody names", got)
		}
	})
}

func TestAClusterWithoutSessionStatesIsAskedAgain(t *testing.T) {
	refused := apierrors.NewForbidden(schema.GroupResource{Resource: "bgpsessionstates"}, "", nil)
	away := errors.New("connection refused")
	for name, tc := range map[string]struct {
		answers []error // the last one is given for good
		within  time.Duration
		known   bool
		missing int
	}{
		"known at once":               {[]error{nil}, 0, true, 0},
		"refused for a moment":        {[]error{refused, nil}, time.Minute, true, 1},
		"refused for long, told once": {[]error{refused, refused, refused, nil}, 3 * time.Minute, true, 1},
		"refused for good":            {[]error{refused}, time.Hour, false, 1},
		"no answer says nothing":      {[]error{away, away, nil}, 10 * time.Second, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
					answer := tc.answers[0]
					tc.answers = tc.answers[min(1, len(tc.answers)-1):]
					return answer
				}})
				ctx, stop := context.WithTimeout(t.Context(), tc.within+time.Second)
				defer stop()
				missing := 0
				known := kube.AwaitBGPSessionStates(ctx, r, "metallb-system", func() { missing++ })
				if known != tc.known || missing != tc.missing {
					t.Errorf("known: %t, said to be missing %d times, want %t and %d", known, missing, tc.known, tc.missing)
				}
			})
		})
	}
}
