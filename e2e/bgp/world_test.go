//go:build e2e

package bgp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// The autonomous systems: the routers', and the nodes' towards routers that are external.
const (
	routerASN = 64513
	nodesASN  = 64512
)

// begin gives a test its time, which is generous: it ends tests that hang, and judges nothing. If the test fails, what
// Herald has said since it began is printed.
func begin(t *testing.T) context.Context {
	t.Helper()
	return beginFor(t, time.Minute)
}

func beginFor(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	start := time.Now()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			explain(t, start)
		}
	})
	return ctx
}

// explain prints what the objects and the routers say, and what light nodes keep of the speakers' logs.
func explain(t *testing.T, since time.Time) {
	// The test's own context has ended.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"get", "bgppeers,bgpadvertisements,bgpsessionstates,servicebgpstatuses,configurationstates", "--namespace", herald.Namespace, "--output", "wide"},
		{"get", "services", "--all-namespaces"},
	} {
		output, _ := cluster.Kubectl(ctx, args...).CombinedOutput()
		t.Logf("kubectl %s\n%s", strings.Join(args, " "), output)
	}
	for _, node := range cluster.NodeNames() {
		logs, _ := cluster.In(ctx, node, "sh", "-c", "cat /var/log/"+herald.Namespace+"_speaker-*.log")
		t.Logf("%s\n%s", node, sinceThen(logs, since))
	}
}

// sinceThen keeps the lines that were logged at or after a moment, by their first field ts.
func sinceThen(logs string, since time.Time) string {
	var kept []string
	for line := range strings.Lines(logs) {
		var l struct{ TS time.Time }
		if json.Unmarshal([]byte(line), &l) != nil || !l.TS.Before(since.Truncate(time.Second)) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept[max(0, len(kept)-80):], "")
}

// objects are those of Herald's kinds.
var objects dynamic.Interface

func newObjects(l *lab.Lab) (dynamic.Interface, error) { return dynamic.NewForConfig(l.RESTConfig()) }

// plurals of the kinds that tests make.
var plurals = map[string]string{
	"BGPPeer": "bgppeers", "BGPAdvertisement": "bgpadvertisements", "Community": "communities", "BFDProfile": "bfdprofiles",
	"IPAddressPool": "ipaddresspools", "Secret": "secrets", "BGPSessionState": "bgpsessionstates", "ServiceBGPStatus": "servicebgpstatuses",
}

func of(gvk schema.GroupVersionKind) dynamic.ResourceInterface {
	resource := gvk.GroupVersion().WithResource(plurals[gvk.Kind])
	return objects.Resource(resource).Namespace(herald.Namespace)
}

func herald1(kind string) schema.GroupVersionKind {
	version := "v1beta1"
	if kind == "BGPPeer" {
		version = "v1beta2"
	}
	return schema.GroupVersionKind{Group: "metallb.io", Version: version, Kind: kind}
}

// create makes the objects of a manifest, in Herald's namespace. They go with the test.
func create(ctx context.Context, t *testing.T, manifest string) {
	t.Helper()
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		object := &unstructured.Unstructured{}
		must(t, yaml.Unmarshal([]byte(document), object))
		object.SetNamespace(herald.Namespace)
		_, err := of(object.GroupVersionKind()).Create(ctx, object, metav1.CreateOptions{})
		if err != nil {
			t.Fatalf("create %s: %v", document, err)
		}
		t.Cleanup(func() { remove(t, object) })
	}
}

func remove(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	err := of(object.GroupVersionKind()).Delete(context.Background(), object.GetName(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// change merges a text into an object.
func change(ctx context.Context, t *testing.T, kind, name, patch string) {
	t.Helper()
	text, err := yaml.YAMLToJSON([]byte(patch))
	must(t, err)
	gvk := herald1(kind)
	if kind == "Secret" {
		gvk = corev1.SchemeGroupVersion.WithKind(kind)
	}
	_, err = of(gvk).Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{})
	must(t, err)
}

// peer is a BGPPeer. The options are lines of its spec.
func peer(name string, address netip.Addr, options ...string) string {
	if address.IsValid() {
		options = append([]string{fmt.Sprintf("peerAddress: %q", address)}, options...)
	}
	return fmt.Sprintf("apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: %s}\nspec:\n  %s\n", name, strings.Join(options, "\n  "))
}

// external are the options of a peer in another autonomous system.
var external = []string{"myASN: 64512", "peerASN: 64513"}

// on restricts a peer or an advertisement to a node.
func on(node lab.Host) string {
	return fmt.Sprintf("nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]", node)
}

// advertisement is a BGPAdvertisement of the routed pool, unless the options, which are lines of its spec, choose another.
func advertisement(name string, options ...string) string {
	if !slices.ContainsFunc(options, func(o string) bool { return strings.HasPrefix(o, "ipAddressPool") }) {
		options = append([]string{"ipAddressPools: [routed]"}, options...)
	}
	return fmt.Sprintf("apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {name: %s}\nspec:\n  %s\n", name, strings.Join(options, "\n  "))
}

// service is a dual-stack Service with its addresses, IPv4 first. The options change it before it is created, and it goes
// with the test.
func service(ctx context.Context, t *testing.T, name string, options ...func(*corev1.Service)) []netip.Addr {
	t.Helper()
	policy := corev1.IPFamilyPolicyRequireDualStack
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Annotations: map[string]string{"metallb.io/address-pool": "routed"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, IPFamilyPolicy: &policy, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
	for _, change := range options {
		change(svc)
	}
	_, err := cluster.Client().CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { removeService(t, name) })
	addresses, err := herald.AwaitAddresses(ctx, cluster, "default", name, 2)
	must(t, err)
	slices.SortFunc(addresses, netip.Addr.Compare)
	return addresses
}

func removeService(t *testing.T, name string) {
	t.Helper()
	err := cluster.Client().CoreV1().Services("default").Delete(context.Background(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

func local(svc *corev1.Service) {
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func labelled(key, value string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Labels = map[string]string{key: value} }
}

// host is the prefix of an address alone.
func host(address netip.Addr) netip.Prefix { return netip.PrefixFrom(address, address.BitLen()) }

// aRouter is FRR or BIRD.
type aRouter interface {
	Host() lab.Host
	Configure(context.Context, router.Config) error
	Sessions(context.Context) ([]router.Session, error)
	Routes(context.Context) ([]router.Route, error)
}

// onEach runs a test against both routers at the same time. Names that it makes objects by end with the router's.
func onEach(t *testing.T, test func(ctx context.Context, t *testing.T, r aRouter, name string)) {
	for name, r := range map[string]aRouter{"frr": frr, "bird": bird} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(begin(t), t, r, name)
		})
	}
}

// configure tells a router what to be.
func configure(ctx context.Context, t *testing.T, r aRouter, neighbours ...router.Neighbour) {
	t.Helper()
	must(t, r.Configure(ctx, router.Config{ASN: routerASN, Neighbours: neighbours}))
}

// everyNode has a router hold a session with each node, and makes the peer of the router's name.
func everyNode(ctx context.Context, t *testing.T, r aRouter, name string, options ...string) {
	t.Helper()
	configure(ctx, t, r, router.Nodes(cluster, router.Neighbour{ASN: nodesASN, DualStack: true})...)
	options = append(append(slices.Clone(external), "dualStackAddressFamily: true"), options...)
	create(ctx, t, peer(name, lab.AddressesOf(r.Host()).V4, options...))
	for _, node := range cluster.NodeNames() {
		awaitSession(ctx, t, r, lab.AddressesOf(node).V4, established)
	}
}

func established(router.Session) error { return nil }

// awaitSession waits until a router has an established session with a neighbour that is as wanted.
func awaitSession(ctx context.Context, t *testing.T, r aRouter, neighbour netip.Addr, wanted func(router.Session) error) (s router.Session) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("the session of %s with %s", r.Host(), neighbour), func(ctx context.Context) error {
		sessions, err := r.Sessions(ctx)
		if err != nil {
			return err
		}
		if s = router.With(sessions, neighbour); !s.Established {
			return fmt.Errorf("it is %+v of %d", s, len(sessions))
		}
		return wanted(s)
	})
	return s
}

// awaitRoutes waits until a router's routes to a prefix come from these neighbours and no others, and are as wanted.
func awaitRoutes(ctx context.Context, t *testing.T, r aRouter, prefix netip.Prefix, from []netip.Addr, wanted func(router.Route) error) {
	t.Helper()
	var senders []string
	for _, f := range from {
		senders = append(senders, f.String())
	}
	slices.Sort(senders)
	await(ctx, t, fmt.Sprintf("routes of %s to %s from %v", r.Host(), prefix, senders), func(ctx context.Context) error {
		routes, err := r.Routes(ctx)
		if err != nil {
			return err
		}
		var got []string
		for _, route := range router.To(routes, prefix) {
			got = append(got, route.From)
			err = errors.Join(err, wanted(route))
		}
		slices.Sort(got)
		if !slices.Equal(got, senders) {
			return fmt.Errorf("they come from %v; it has %d others", got, len(routes)-len(got))
		}
		return err
	})
}

// stranger is the address of a scripted peer: each has one of its own, on the client, as a node has one peer at each.
func stranger(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 10, byte(100 + n)}) }

// addStrangers gives the client their addresses.
func addStrangers(ctx context.Context) error {
	for n := range 20 {
		if _, err := cluster.In(ctx, lab.Client, "ip", "address", "replace", stranger(n).String()+"/24", "dev", "eth0"); err != nil {
			return err
		}
	}
	return nil
}

// listen has a scripted peer wait on a host.
func listen(ctx context.Context, t *testing.T, on lab.Host, at netip.Addr, script router.Script) *router.Peer {
	t.Helper()
	p, err := router.Listen(ctx, cluster, on, netip.AddrPortFrom(at, 179), script)
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

// open is what scripted peers say of themselves.
func open(own netip.Addr) router.Open {
	return router.Open{ASN: routerASN, HoldTime: 90 * time.Second, RouterID: own}
}

func anyRoute(router.Route) error { return nil }

// nodes4 are the addresses of all nodes.
func nodes4() (all []netip.Addr) {
	for _, node := range cluster.NodeNames() {
		all = append(all, lab.AddressesOf(node).V4)
	}
	return all
}

// sessionState is the status of a BGPSessionState.
type sessionState struct {
	Node, BGPPeer, Peer, VRF, BGPStatus, Reason, Message, BFDStatus, BFDDiagnostic string
	Since                                                                          *metav1.Time
	PrefixesAdvertised                                                             int32
}

// awaitState waits until what a node says of its session with a peer is as wanted.
func awaitState(ctx context.Context, t *testing.T, node lab.Host, peer string, wanted func(sessionState) error) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("the state of %s's session with %s", node, peer), func(ctx context.Context) error {
		all, err := statuses[sessionState](ctx, "BGPSessionState")
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Node == string(node) && s.BGPPeer == peer {
				return wanted(s)
			}
		}
		return fmt.Errorf("none of %d is of it", len(all))
	})
}

// because wants a session that is down for a reason, and that says all of these.
func because(reason string, words ...string) func(sessionState) error {
	return func(s sessionState) error {
		said := func(w string) bool { return strings.Contains(s.Message, w) }
		if s.BGPStatus == "Established" || s.Reason != reason || slices.ContainsFunc(words, func(w string) bool { return !said(w) }) {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	}
}

func isUp(s sessionState) error {
	if s.BGPStatus != "Established" || s.Reason != "" {
		return fmt.Errorf("it is %+v", s)
	}
	return nil
}

// statuses reads the status of all objects of a kind.
func statuses[S any](ctx context.Context, kind string) (all []S, err error) {
	list, err := of(herald1(kind)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, item := range list.Items {
		text, err := item.MarshalJSON()
		if err != nil {
			return nil, err
		}
		var s struct{ Status S }
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, err
		}
		all = append(all, s.Status)
	}
	return all, nil
}

// awaitAnswers waits until a host that asks at an address is answered by pods, through each of the nodes.
func awaitAnswers(ctx context.Context, t *testing.T, from lab.Host, address netip.Addr, nodes int) {
	t.Helper()
	seen := map[string]bool{}
	await(ctx, t, fmt.Sprintf("answers to %s at %s", from, address), func(ctx context.Context) error {
		answer, err := ask(ctx, from, address, "/node")
		if err != nil {
			return err
		}
		seen[answer] = true
		if len(seen) < nodes {
			return fmt.Errorf("%v answered", seen)
		}
		return nil
	})
}

// ask asks once, by HTTP.
func ask(ctx context.Context, from lab.Host, address netip.Addr, path string) (string, error) {
	url := "http://" + netip.AddrPortFrom(address, 80).String() + path
	answer, err := cluster.In(ctx, from, "curl", "--silent", "--show-error", "--fail", "--max-time", "1", url)
	return strings.TrimSpace(answer), err
}

func await(ctx context.Context, t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	must(t, herald.Await(ctx, what, ask))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
