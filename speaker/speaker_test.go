package main

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/go-kit/log"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/layer2"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/link"
	"github.com/herald-lb/herald/internal/members"
	"github.com/herald-lb/herald/internal/metrics"
)

// on announces 192.0.2.1 on the links, or on all.
func on(links ...string) lb.Announcement {
	return lb.Announcement{Address: netip.MustParseAddr("192.0.2.1"), Links: links}
}

// clients hands out what the status writers ask a manager for.
type clients struct {
	ctrl.Manager
	client client.Client
}

func (m clients) GetClient() client.Client    { return m.client }
func (m clients) GetAPIReader() client.Reader { return m.client }

// newTestSpeaker is a speaker of node-a, over an API server in memory. Its Start is not
// called: the test makes the rounds.
func newTestSpeaker(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *speaker {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1beta1.BGPSessionState{}).WithInterceptorFuncs(funcs).
		WithIndex(&discoveryv1.EndpointSlice{}, bySliceService, func(o client.Object) []string {
			return []string{o.GetLabels()[discoveryv1.LabelServiceName]}
		}).Build()
	l, mgr := log.NewNopLogger(), clients{client: c}
	o := options{node: "node-a"}
	o.Namespace = "metallb-system"
	inbox, bgp, events := newInbox(), &router{}, listener{}
	return newSpeaker(parts{
		logger: l, options: o, client: c, events: events, inbox: inbox,
		state:       kube.NewConfigurationState(l, mgr, o.Namespace, kube.SpeakerReporter("", o.node)),
		l2Statuses:  kube.NewServiceL2Statuses(l, mgr, o.Namespace, "", o.node),
		bgpStatuses: kube.NewServiceBGPStatuses(l, mgr, o.Namespace, "", o.node),
		secrets:     kube.NewSecrets(l, c, o.Namespace, inbox.addEverything),
		metrics:     metrics.NewClient(prometheus.NewRegistry()),
		durations:   newDurations(prometheus.NewRegistry()),
		links:       link.New(l, nil), ring: ring{}, announcer: layer2.New(l, layer2.Config{}),
		sessions: newSessions(l, o, bgp, &paths{bgp: bgp, bfd: &bfdWatcher{}}, c, events),
	})
}

// listener remembers what users are told, on the objects of each name.
type listener map[string][]string

func (l listener) Normal(obj runtime.Object, reason lb.Reason, message string) {
	l.hear(obj, "Normal "+string(reason)+" "+message)
}

func (l listener) Warning(obj runtime.Object, reason lb.Reason, message string) {
	l.hear(obj, "Warning "+string(reason)+" "+message)
}

func (l listener) hear(obj runtime.Object, text string) {
	name := obj.(client.Object).GetName()
	l[name] = append(l[name], text)
}

// heard returns what was said on an object since it was asked last.
func (s *speaker) heard(name string) []string {
	l := s.events.(listener)
	out := l[name]
	delete(l, name)
	return out
}

func (s *speaker) mustRound(t *testing.T) {
	t.Helper()
	if err := s.round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// reasons are those of the verdicts that the speaker holds.
func (s *speaker) reasons() map[string]lb.Reason {
	out := map[string]lb.Reason{}
	for key, v := range s.verdicts {
		out[key.Name] = v.layer2.Reason
	}
	return out
}

func ordinary() []client.Object {
	return []client.Object{
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}},
		&v1beta1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "blue"}, Spec: v1beta1.IPAddressPoolSpec{Addresses: []string{"192.0.2.0/24"}}},
		&v1beta1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "lan"}},
		service("web", "192.0.2.1"), endpoints("web"),
		service("dark", "192.0.2.2"),
		service("pending"),
	}
}

func service(name string, addresses ...string) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
	for _, a := range addresses {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return svc
}

func endpoints(of string) *discoveryv1.EndpointSlice {
	node := "node-a"
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: of + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: of}},
		Endpoints:  []discoveryv1.Endpoint{{NodeName: &node, Addresses: []string{"10.244.0.5"}}},
	}
}

func TestTheFirstPlanLeavesAllToOthers(t *testing.T) {
	s := newTestSpeaker(t, interceptor.Funcs{}, ordinary()...)
	m, err := members.New(log.NewNopLogger(), members.Config{NodeName: "node-a", BindAddr: "127.0.0.1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.SetPrepared(false)
	s.ring = ring{m}
	s.inbox.addEverything()
	s.mustRound(t)
	if s.decidedOnce.Load() {
		t.Error("ready after the first round")
	}
	if m.SetPrepared(true) {
		t.Error("others do not count on this node after the first round")
	}
	select {
	case <-s.ring.changed():
	default:
		t.Error("no other round follows")
	}
	s.inbox.addEverything()
	s.mustRound(t)
	if !s.decidedOnce.Load() {
		t.Error("not ready after the second round")
	}
}

func TestOthersAreToldWhenThisNodeAnswers(t *testing.T) {
	s := newTestSpeaker(t, interceptor.Funcs{})
	m, err := members.New(log.NewNopLogger(), members.Config{NodeName: "node-a", BindAddr: "127.0.0.1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.SetPrepared(false)
	s.ring = ring{m}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s.announcer = layer2.New(log.NewNopLogger(), layer2.Config{})
		s.announcer.Set(nil, nil)
		told, ended := make(chan struct{}), make(chan error)
		go func() { s.tellWhenInPlace(ctx); close(told) }()
		synctest.Wait()
		if !m.Withheld() {
			t.Error("they are told before the announcer has looked at what it is to announce")
		}
		go func() { ended <- s.announcer.Start(ctx) }()
		<-told
		if m.Withheld() {
			t.Error("they are not told")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// The links of this speaker are not known, so that what it owns it fails to announce.
func TestARoundDecidesAboutWhatChanged(t *testing.T) {
	s := newTestSpeaker(t, interceptor.Funcs{}, ordinary()...)
	want := func(when string, reasons map[string]lb.Reason) {
		t.Helper()
		if diff := gocmp.Diff(reasons, s.reasons()); diff != "" {
			t.Errorf("verdicts %s (-want +got):\n%s", when, diff)
		}
	}
	s.inbox.addEverything()
	s.mustRound(t)
	want("of all", map[string]lb.Reason{"web": lb.AnnounceFailed, "dark": lb.NotOwner, "pending": lb.NoAddress})

	if err := s.client.Create(t.Context(), endpoints("dark")); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Delete(t.Context(), service("pending")); err != nil {
		t.Fatal(err)
	}
	s.inbox.addService(key("dark"))
	s.mustRound(t)
	want("when endpoints came", map[string]lb.Reason{"web": lb.AnnounceFailed, "dark": lb.AnnounceFailed, "pending": lb.NoAddress})
	s.inbox.addService(key("pending"))
	s.mustRound(t)
	want("when a service went", map[string]lb.Reason{"web": lb.AnnounceFailed, "dark": lb.AnnounceFailed})

	if err := s.client.Delete(t.Context(), service("dark")); err != nil {
		t.Fatal(err)
	}
	s.inbox.addEverything()
	s.mustRound(t)
	want("of all, when another went", map[string]lb.Reason{"web": lb.AnnounceFailed})
}

func TestASpeakerSeesServicesOfItsClassAlone(t *testing.T) {
	classed := service("classed", "192.0.2.3")
	classed.Spec.LoadBalancerClass = new("metallb.io/metallb")
	s := newTestSpeaker(t, interceptor.Funcs{}, append(ordinary(), classed, endpoints("classed"))...)
	s.options.LoadBalancerClass = "metallb.io/metallb"
	s.inbox.addEverything()
	s.inbox.addService(key("web"))
	s.mustRound(t)
	if diff := gocmp.Diff(map[string]lb.Reason{"classed": lb.AnnounceFailed}, s.reasons()); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
}

func TestTheExcludeLabelCountsUnlessItIsToBeIgnored(t *testing.T) {
	objects := ordinary()
	objects[0].SetLabels(map[string]string{corev1.LabelNodeExcludeBalancers: ""})
	for ignored, want := range map[bool]lb.Reason{false: lb.NotOwner, true: lb.AnnounceFailed} {
		s := newTestSpeaker(t, interceptor.Funcs{}, objects...)
		s.options.ignoreExcludeLabel = ignored
		s.inbox.addEverything()
		s.mustRound(t)
		if got := s.reasons()["web"]; got != want {
			t.Errorf("ignored %v: %s, want %s", ignored, got, want)
		}
	}
}

// One of the speakers that see a problem tells of it, on the object that has it, once.
func TestProblemsOfTheConfigurationAreToldOnTheirObjects(t *testing.T) {
	in := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "metallb-system", Name: name}
	}
	on := func(node string) []metav1.LabelSelector {
		return []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: node}}}
	}
	s := newTestSpeaker(t, interceptor.Funcs{}, append(ordinary(),
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-0", Labels: map[string]string{corev1.LabelHostname: "node-0"}}},
		&v1beta2.BGPPeer{ObjectMeta: in("of-both"), Spec: v1beta2.BGPPeerSpec{PeerASN: 64513, PeerAddress: "10.0.0.1"}},
		&v1beta2.BGPPeer{ObjectMeta: in("tor"), Spec: v1beta2.BGPPeerSpec{PeerASN: 64513, PeerAddress: "10.0.0.1", NodeSelectors: on("node-a")}},
		&v1beta1.BGPAdvertisement{ObjectMeta: in("wan"), Spec: v1beta1.BGPAdvertisementSpec{ASPathPrepend: 99, NodeSelectors: on("node-a")}},
	)...)
	if err := s.client.Update(t.Context(), node(func(n *corev1.Node) { n.Labels = map[string]string{corev1.LabelHostname: "node-a"} })); err != nil {
		t.Fatal(err)
	}
	check := func(when string, want map[string][]string) {
		t.Helper()
		s.inbox.addEverything()
		s.mustRound(t)
		for _, name := range []string{"of-both", "tor", "wan", "fast", "names"} {
			if diff := gocmp.Diff(want[name], s.heard(name), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("told of %s %s (-want +got):\n%s", name, when, diff)
			}
		}
	}
	missing := "Warning ConfigurationError spec.myASN: missing local ASN: it must be 1 to 4294967295"
	check("at first", map[string][]string{
		"tor": {missing},
		"wan": {"Warning ConfigurationError spec.asPathPrepend: 99 is not between 0 and 10"},
	})
	check("when nothing changed", nil)
	if err := s.client.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-0"}}); err != nil {
		t.Fatal(err)
	}
	for _, o := range []client.Object{
		&v1beta1.BFDProfile{ObjectMeta: in("fast"), Spec: v1beta1.BFDProfileSpec{DetectMultiplier: new(uint32(1))}},
		&v1beta1.Community{ObjectMeta: in("names"), Spec: v1beta1.CommunitySpec{Communities: []v1beta1.CommunityAlias{{Name: "a", Value: "1"}}}},
	} {
		if err := s.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	check("when others have problems", map[string][]string{
		"fast":  {"Warning ConfigurationError spec.detectMultiplier: 1 is not between 2 and 255"},
		"names": {"Warning ConfigurationError spec.communities[0].value: invalid community format: 1"},
	})
}

func TestASpeakerIsReadyOnceItHasDecided(t *testing.T) {
	s := newTestSpeaker(t, interceptor.Funcs{}, ordinary()...)
	if err := s.ready(nil); err == nil || err.Error() != "services, links and members are not read yet" {
		t.Errorf("ready before the first round: %v", err)
	}
	s.inbox.addEverything()
	s.mustRound(t)
	if err := s.ready(nil); err == nil || err.Error() != "sockets are not open yet" {
		t.Errorf("ready after the first round: %v, though no socket is open", err)
	}
}

func TestARoundThatCannotReadSaysWhat(t *testing.T) {
	refuse := interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, ok := list.(*discoveryv1.EndpointSliceList); ok {
			return errors.New("no")
		}
		return c.List(ctx, list, opts...)
	}}
	s := newTestSpeaker(t, refuse, ordinary()[:5]...)
	s.inbox.addEverything()
	if err := s.round(t.Context()); err == nil || err.Error() != "list EndpointSlices: no" {
		t.Errorf("error %v, want one that names what", err)
	}
}

func TestSharedAddressesAreAnnouncedOnceAndCountedForEachService(t *testing.T) {
	s := newTestSpeaker(t, interceptor.Funcs{})
	verdict := func(links ...string) lb.Verdict {
		return lb.Verdict{Reason: lb.Announced, Announcements: []lb.Announcement{on(links...)}}
	}
	for svc, v := range map[*corev1.Service]lb.Verdict{service("tcp"): verdict("eth0"), service("udp"): verdict("eth1"), service("web"): {Reason: lb.NotOwner}} {
		s.conclude(kube.Key(svc), subject{object: svc}, verdicts{layer2: v})
	}
	s.announcer.Set(nil, s.announcements.List())
	want := []metrics.Announced{
		{Service: "default/tcp", Protocol: "layer2", Node: "node-a", IP: "192.0.2.1"},
		{Service: "default/udp", Protocol: "layer2", Node: "node-a", IP: "192.0.2.1"},
	}
	sorted := cmpopts.SortSlices(func(a, b metrics.Announced) int { return cmp.Compare(a.Service, b.Service) })
	if diff := gocmp.Diff(want, s.announcedMetrics(), sorted); diff != "" {
		t.Errorf("announced (-want +got):\n%s", diff)
	}
	if stats := s.announcer.Stats(); len(stats.Addresses) != 1 {
		t.Errorf("the announcer has %v, want the one address", stats.Addresses)
	}
}

func TestWithoutGossipEveryNodeCountsAsHavingASpeaker(t *testing.T) {
	r, err := newRing(log.NewNopLogger(), nil, options{ring: ringOptions{labels: "app=metallb"}})
	if err != nil {
		t.Fatal(err)
	}
	r.rejoin()
	r.setLinked(false)
	if r.speakers("node-a") != nil || !r.ready() || r.changed() != nil {
		t.Errorf("speakers %v, ready %t", r.speakers("node-a"), r.ready())
	}
	if err := r.Start(t.Context()); err != nil {
		t.Errorf("Start: %s", err)
	}
}

func TestTheSpeakersPodsAreThoseOfTheLabels(t *testing.T) {
	pod := func(namespace, name, component, ip string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"component": component}},
			Status:     corev1.PodStatus{PodIP: ip},
		}
	}
	s := newTestSpeaker(t, interceptor.Funcs{},
		pod("metallb-system", "a", "speaker", "10.0.0.1"), pod("metallb-system", "new", "speaker", ""),
		pod("metallb-system", "c", "controller", "10.0.0.3"), pod("default", "d", "speaker", "10.0.0.4"))
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: map[string]string{"component": "speaker"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := speakerPods(s.client, "metallb-system", selector)(t.Context())
	if diff := gocmp.Diff([]string{"10.0.0.1"}, got); diff != "" || err != nil {
		t.Errorf("addresses (-want +got):\n%s%v", diff, err)
	}
}
