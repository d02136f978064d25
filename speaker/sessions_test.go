package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
	"github.com/herald-lb/herald/internal/plan"
)

// router is BGP and BFD that only remember what they are told.
type router struct {
	mu       sync.Mutex
	sessions []lb.Session
	states   []lb.SessionState
	calls    []string
}

func (r *router) Set(sessions []lb.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions = sessions
}

func (r *router) States() []lb.SessionState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.states)
}
func (r *router) Changed() <-chan struct{}              { return nil }
func (r *router) PathDown(peer lb.PeerName, why string) { r.call("down " + string(peer) + ": " + why) }
func (r *router) PathUp(peer lb.PeerName)               { r.call("up " + string(peer)) }

func (r *router) call(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, text)
}

// took returns what was called since it was asked last.
func (r *router) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.calls
	r.calls = nil
	return out
}

type bfdWatcher struct {
	sessions []lb.BFDSession
	states   map[lb.BFDKey]lb.BFDState
}

func (w *bfdWatcher) Set(sessions []lb.BFDSession)      { w.sessions = sessions }
func (w *bfdWatcher) States() map[lb.BFDKey]lb.BFDState { return w.states }
func (w *bfdWatcher) Changed() <-chan struct{}          { return nil }

// peer is a router at 10.0.0.1 whose path is watched.
func peer(name lb.PeerName, change func(*lb.Peer)) lb.Peer {
	p := lb.Peer{Name: name, Address: netip.MustParseAddr("10.0.0.1"), MyASN: 64512, ASN: 64513, BFD: &lb.BFDProfile{Name: "fast"}}
	change(&p)
	return p
}

func unchanged(*lb.Peer) {}

func sessionsWith(peers ...lb.Peer) []lb.Session {
	var out []lb.Session
	for _, p := range peers {
		out = append(out, lb.Session{Peer: p})
	}
	return out
}

func TestASessionGoesDownWithItsPathAndComesBackWithIt(t *testing.T) {
	bgp, bfd := &router{}, &bfdWatcher{}
	p := newPaths(bgp)
	p.bfd = bfd
	other := peer("other", func(p *lb.Peer) { p.Address = netip.MustParseAddr("10.0.0.2") })
	both := sessionsWith(peer("a", unchanged), peer("b", unchanged), other)
	p.watch(both, nil, nil)
	key := bfd.sessions[0].Key()
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"it comes up for the first time", func() { p.changed(key, lb.BFDState{Status: lb.BFDUp}) }, []string{"up a", "up b"}},
		{"it breaks", func() { p.changed(key, lb.BFDState{Status: lb.BFDDown, Diagnostic: "Control Detection Time Expired"}) }, []string{
			"down a: Control Detection Time Expired",
			"down b: Control Detection Time Expired",
		}},
		{"nothing changes in what is watched", func() { p.watch(both, nil, nil) }, nil},
		{"one peer asks for no watch any more", func() {
			p.watch(sessionsWith(peer("a", unchanged), peer("b", func(p *lb.Peer) { p.BFD = nil })), nil, nil)
		}, []string{"up b"}},
		{"it mends", func() { p.changed(key, lb.BFDState{Status: lb.BFDUp}) }, []string{"up a"}},
		{"it is taken out of service at the other end", func() {
			p.changed(key, lb.BFDState{Status: lb.BFDDown, RemoteStatus: lb.BFDAdminDown})
		}, nil},
		{"it breaks, ", func() { p.changed(key, lb.BFDState{Status: lb.BFDDown}) }, []string{"down a: "}},
		{"and then is taken out of service at the other end", func() {
			bfd.states = map[lb.BFDKey]lb.BFDState{key: {Status: lb.BFDDown, RemoteStatus: lb.BFDAdminDown}}
			p.describe(nil)
		}, []string{"up a"}},
		{"an unknown path breaks", func() { p.changed(lb.BFDKey{}, lb.BFDState{Status: lb.BFDDown}) }, nil},
	} {
		step.do()
		if diff := gocmp.Diff(step.want, bgp.took()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestWhichPathIsWatched(t *testing.T) {
	addr := netip.MustParseAddr
	links := []lb.Link{{Name: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.0.9/24")}}}
	learned := addr("fe80::1%eth1")
	for name, tc := range map[string]struct {
		peer lb.Peer
		want *lb.BFDSession
	}{
		"none without a profile":     {peer("a", func(p *lb.Peer) { p.BFD = nil }), nil},
		"that to an external router": {peer("a", unchanged), &lb.BFDSession{Peer: addr("10.0.0.1")}},
		"in the session's VRF, from its source": {peer("a", func(p *lb.Peer) { p.VRF, p.SourceAddress = "red", addr("10.0.0.9") }), &lb.BFDSession{
			Peer: addr("10.0.0.1"), Local: addr("10.0.0.9"), VRF: "red",
		}},
		"over hops where an external router may be away":  {peer("a", func(p *lb.Peer) { p.MultiHop = true }), &lb.BFDSession{Peer: addr("10.0.0.1"), MultiHop: true}},
		"in one hop to an internal router in our network": {peer("a", func(p *lb.Peer) { p.ASN = p.MyASN }), &lb.BFDSession{Peer: addr("10.0.0.1")}},
		"over hops to an internal router in another":      {peer("a", func(p *lb.Peer) { p.ASN, p.Address = p.MyASN, addr("10.0.1.1") }), &lb.BFDSession{Peer: addr("10.0.1.1"), MultiHop: true}},
		"over hops to whoever is internal":                {peer("a", func(p *lb.Peer) { p.ASN, p.DynamicASN, p.Address = 0, lb.InternalASN, addr("10.0.1.1") }), &lb.BFDSession{Peer: addr("10.0.1.1"), MultiHop: true}},
		"in one hop to whoever is external":               {peer("a", func(p *lb.Peer) { p.ASN, p.DynamicASN, p.Address = 0, lb.ExternalASN, addr("10.0.1.1") }), &lb.BFDSession{Peer: addr("10.0.1.1")}},
		"over hops to a router that we are internal for":  {peer("a", func(p *lb.Peer) { p.LocalASN, p.Address = p.ASN, addr("10.0.1.1") }), &lb.BFDSession{Peer: addr("10.0.1.1"), MultiHop: true}},
		"in one hop to one that we are external for":      {peer("a", func(p *lb.Peer) { p.LocalASN, p.ASN, p.Address = p.ASN, p.MyASN, addr("10.0.1.1") }), &lb.BFDSession{Peer: addr("10.0.1.1")}},
		"to the router that was learned":                  {peer("unnumbered", func(p *lb.Peer) { p.Address, p.Interface = netip.Addr{}, "eth1" }), &lb.BFDSession{Peer: learned, Interface: "eth1"}},
		"none while it is not":                            {peer("silent", func(p *lb.Peer) { p.Address, p.Interface = netip.Addr{}, "eth1" }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			bfd := &bfdWatcher{}
			p := newPaths(&router{})
			p.bfd = bfd
			p.watch(sessionsWith(tc.peer), []lb.SessionState{{Peer: "unnumbered", Address: learned}, {Peer: "silent"}}, links)
			var want []lb.BFDSession
			if tc.want != nil {
				tc.want.Profile = *tc.peer.BFD
				want = []lb.BFDSession{*tc.want}
			}
			if diff := gocmp.Diff(want, bfd.sessions, gocmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("watched (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsToldOfASession(t *testing.T) {
	var said told
	down := func(why lb.Reason, text ...string) lb.SessionState {
		return lb.SessionState{Status: lb.Active, Down: why, LastError: strings.Join(text, "")}
	}
	up := lb.SessionState{Status: lb.Established}
	for i, step := range []struct {
		state lb.SessionState
		want  bool
	}{
		{down(lb.Connecting), false},
		{down(lb.ConnectionRefused), true},
		{down(lb.ConnectionRefused), false},
		{down(lb.NoAnswer), true},
		{down(lb.ConnectionRefused), false},
		{up, true},
		{up, false},
		{down(lb.ConnectionRefused), true},
		{down(lb.NotificationReceived, "the router is overloaded"), true},
		{down(lb.NotificationReceived, "the router is shut down"), true},
		{down(lb.NotificationReceived, "the router is overloaded"), false},
		{down(lb.NotificationReceived, "1"), true},
		{down(lb.NotificationReceived, "2"), true},
		{down(lb.NotificationReceived, "3"), true},
		{down(lb.NotificationReceived, "4"), true},
		{down(lb.NotificationReceived, "5"), true},
		{down(lb.NotificationReceived, "it never stops talking"), false},
		{up, true},
	} {
		if got := said.isNews(step.state); got != step.want {
			t.Errorf("step %d: %s %s told: %t", i, step.state.Status, step.state.Down, got)
		}
	}
}

func TestAttemptsThatFailAlikeAreNoNews(t *testing.T) {
	start := time.Unix(0, 0)
	state := func(status lb.SessionStatus, at int, why lb.Reason, text string) lb.SessionState {
		return lb.SessionState{Status: status, Since: start.Add(time.Duration(at) * time.Second), Down: why, LastError: text}
	}
	refused := func(status lb.SessionStatus, at int) lb.SessionState {
		return state(status, at, lb.ConnectionRefused, "refused")
	}
	var said told
	for i, step := range []struct{ now, want lb.SessionState }{
		{state(lb.Idle, 0, lb.Connecting, ""), state(lb.Idle, 0, lb.Connecting, "")},
		{state(lb.Connect, 1, lb.Connecting, ""), state(lb.Connect, 1, lb.Connecting, "")},
		{refused(lb.Active, 2), refused(lb.Active, 2)},
		{refused(lb.Connect, 3), refused(lb.Active, 2)},
		{refused(lb.Active, 4), refused(lb.Active, 2)},
		{state(lb.OpenSent, 5, lb.NoAnswer, "silence"), state(lb.OpenSent, 5, lb.NoAnswer, "silence")},
		{state(lb.Active, 6, lb.NoAnswer, "other silence"), state(lb.Active, 6, lb.NoAnswer, "other silence")},
		{state(lb.Established, 7, "", "other silence"), state(lb.Established, 7, "", "other silence")},
		{state(lb.Active, 8, lb.NoAnswer, "other silence"), state(lb.Active, 8, lb.NoAnswer, "other silence")},
	} {
		if got := said.steady(step.now); got != step.want {
			t.Errorf("step %d: %+v is reported as %+v", i, step.now, got)
		}
	}
}

func TestSessionsAreToldOnTheirPeers(t *testing.T) {
	tor := &v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "tor"}}
	s := newTestSpeaker(t, interceptor.Funcs{}, tor)
	s.sessions.set(nil, nil)
	bgp, addr := s.sessions.bgp.(*router), netip.MustParseAddr("10.0.0.1")
	for _, step := range []struct {
		state lb.SessionState
		want  string
	}{
		{
			lb.SessionState{Address: addr, Status: lb.Active, Down: lb.WrongASN, LastError: "the router's ASN is 64514, not 64513"},
			`Warning wrongASN session of node "node-a" with 10.0.0.1 is down: the router's ASN is 64514, not 64513`,
		},
		{lb.SessionState{Address: addr, Status: lb.Established}, `Normal sessionEstablished session of node "node-a" with 10.0.0.1 is established`},
		{
			lb.SessionState{Interface: "eth1", Status: lb.Idle, Down: lb.NoRouterLearned, LastError: "no router"},
			`Warning noRouterLearned session of node "node-a" with eth1 is down: no router`,
		},
		{
			lb.SessionState{Interface: "eth1", Status: lb.Idle, Down: lb.NoRouterLearned, LastError: "no router", BFD: &lb.BFDState{Problem: "port 3784 is taken"}},
			`Warning bfdProblem BFD of node "node-a" with eth1 has a problem: port 3784 is taken`,
		},
	} {
		step.state.Peer = "tor"
		bgp.states = []lb.SessionState{step.state, {Peer: "gone", Status: lb.Established}}
		s.sessions.look(t.Context())
		s.sessions.look(t.Context())
		if diff := gocmp.Diff([]string{step.want}, s.heard("tor")); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
	}
}

// routed is the ordinary world with a router that all addresses are advertised to.
func routed() []client.Object {
	return append(ordinary(),
		&v1beta2.BGPPeer{
			ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "tor"},
			Spec:       v1beta2.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: "10.0.0.1"},
		},
		&v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "wan"}},
	)
}

// routesSet are what the routers are offered, by the names of the peers.
func (s *speaker) routesSet() map[lb.PeerName][]string {
	r := s.sessions.bgp.(*router)
	out := map[lb.PeerName][]string{}
	for _, session := range r.sessions {
		out[session.Peer.Name] = []string{}
		for _, route := range session.Routes {
			text := route.Prefix.String()
			if slices.Contains(route.Communities, plan.GracefulShutdown) {
				text += " to be withdrawn"
			}
			out[session.Peer.Name] = append(out[session.Peer.Name], text)
		}
	}
	return out
}

func TestRoundsOfferRoutesToRouters(t *testing.T) {
	s := newTestSpeaker(t, interceptor.Funcs{}, routed()...)
	s.drain.time = time.Hour
	update := func(change func(*corev1.Node)) {
		t.Helper()
		if err := s.client.Update(t.Context(), node(change)); err != nil {
			t.Fatal(err)
		}
	}
	nodeAssigned := `Normal nodeAssigned announcing from node "node-a" with protocol "bgp"`
	for _, step := range []struct {
		name string
		do   func()
		want []string
		told []string
	}{
		{"at first", s.inbox.addEverything, []string{"192.0.2.1/32"}, []string{nodeAssigned}},
		{"when all is looked at again", s.inbox.addEverything, []string{"192.0.2.1/32"}, nil},
		{"when an endpoint comes", func() {
			if err := s.client.Create(t.Context(), endpoints("dark")); err != nil {
				t.Fatal(err)
			}
			s.inbox.addService(key("dark"))
		}, []string{"192.0.2.1/32", "192.0.2.2/32"}, nil},
		{"when a service goes", func() {
			if err := s.client.Delete(t.Context(), service("dark")); err != nil {
				t.Fatal(err)
			}
			s.inbox.addService(key("dark"))
		}, []string{"192.0.2.1/32"}, nil},
		{"while the other speakers are out of sight", func() {
			s.blind = true
			s.inbox.addService(key("web"))
		}, []string{"192.0.2.1/32"}, nil},
		{"when the node is excluded", func() {
			update(func(n *corev1.Node) {
				n.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: ""}
			})
			s.inbox.addEverything()
		}, []string{"192.0.2.1/32 to be withdrawn"}, nil},
		{"when it has drained", func() {
			s.drain.until = time.Time{}
			s.inbox.addEverything()
		}, []string{}, nil},
		{"when it is not excluded any more", func() {
			update(func(n *corev1.Node) { n.Labels = nil })
			s.inbox.addEverything()
		}, []string{"192.0.2.1/32"}, []string{nodeAssigned}},
	} {
		step.do()
		s.mustRound(t)
		if diff := gocmp.Diff(map[lb.PeerName][]string{"tor": step.want}, s.routesSet()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		told := slices.DeleteFunc(s.heard("web"), func(text string) bool { return !strings.Contains(text, "bgp") })
		if diff := gocmp.Diff(step.told, told, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s, events (-want +got):\n%s", step.name, diff)
		}
	}
	want := []metrics.Announced{{Service: "default/web", Protocol: "bgp", Node: "node-a", IP: "192.0.2.1"}}
	if diff := gocmp.Diff(want, s.announcedMetrics()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestBGPMetricsNameTheRouter(t *testing.T) {
	s := newTestSpeaker(t, interceptor.Funcs{})
	s.sessions.set(sessionsWith(peer("spine", func(p *lb.Peer) { p.Interface = "eth1" })), nil)
	s.sessions.bgp.(*router).states = []lb.SessionState{
		{Peer: "tor", Address: netip.MustParseAddr("fd00::1"), Port: 179, VRF: "red", Status: lb.Established, Advertised: 2, Messages: lb.SessionMessages{UpdatesSent: 3}},
		{Peer: "spine", Port: 179, Status: lb.Active, Pending: 2},
	}
	want := []metrics.Session{{Peer: "[fd00::1]:179", VRF: "red", Up: true, Announced: 2, UpdatesSent: 3}, {Peer: "eth1:179", Pending: 2}}
	if diff := gocmp.Diff(want, s.sessions.bgpMetrics()); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestANodeDrainsOnceItIsExcluded(t *testing.T) {
	start := time.Unix(0, 0)
	d := drain{time: 5 * time.Second}
	for i, step := range []struct {
		excluded        bool
		at              time.Duration
		draining, begun bool
	}{
		{false, 0, false, false},
		{true, 1 * time.Second, true, true},
		{true, 4 * time.Second, true, false},
		{true, 6 * time.Second, false, false},
		{false, 7 * time.Second, false, false},
		{true, 8 * time.Second, true, true},
		{false, 9 * time.Second, false, false},
	} {
		if draining, begun := d.see(step.excluded, start.Add(step.at)); draining != step.draining || begun != step.begun {
			t.Errorf("step %d: draining %t, begun %t", i, draining, begun)
		}
	}
	excludedFromTheStart := drain{time: 5 * time.Second}
	if draining, begun := excludedFromTheStart.see(true, start); draining || begun {
		t.Error("a node drains that was excluded from the start")
	}
	var never drain
	never.see(false, start)
	if draining, begun := never.see(true, start); draining || begun {
		t.Error("a node drains that has no time to")
	}
}

// How sessions go is known long before the cluster takes objects that say so, where its roles come late.
func TestAllThatIsKnownIsReportedFromWhenTheClusterTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSpeaker(t, interceptor.Funcs{})
		bgp := s.sessions.bgp.(*router)
		bgp.states = []lb.SessionState{{Peer: "tor", Status: lb.Established}}
		stored := func() (out []string) {
			var list v1beta1.BGPSessionStateList
			if err := s.client.List(t.Context(), &list); err != nil {
				t.Fatal(err)
			}
			for _, o := range list.Items {
				out = append(out, o.Status.BGPPeer+" "+o.Status.BGPStatus)
			}
			return out
		}
		ctx, stop := context.WithCancel(t.Context())
		start := func(r manager.Runnable) {
			go func() {
				if err := r.Start(ctx); err != nil {
					t.Error(err)
				}
			}()
		}
		for _, part := range []manager.Runnable{s.sessions, s.l2Statuses, s.bgpStatuses} { // all of them, so that they end
			start(part)
		}
		s.sessions.set(sessionsWith(peer("tor", func(p *lb.Peer) { p.BFD = nil })), nil)
		time.Sleep(time.Second)
		states := kube.NewBGPSessionStates(s.logger, clients{client: s.client}, s.options.Namespace, "", s.options.node)
		start(states)
		if got := stored(); len(got) > 0 {
			t.Errorf("stored before it may be: %q", got)
		}
		s.sessions.reportTo(states)
		time.Sleep(time.Second)
		if diff := gocmp.Diff([]string{"tor Established"}, stored()); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		stop()
		synctest.Wait()
	})
}
