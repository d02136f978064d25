//go:build e2e

package layer2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// begin gives a test its time, which is generous: it ends tests that hang, and judges nothing. If the test fails, what
// the speakers have said is printed.
func begin(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			explain(t)
		}
	})
	return ctx
}

// explain prints the Services, their events, and the ends of the speakers' logs, which light nodes keep.
func explain(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, args := range [][]string{{"get", "services,servicel2statuses", "--all-namespaces"}, {"get", "events", "--sort-by", "lastTimestamp"}} {
		output, _ := cluster.Kubectl(ctx, args...).CombinedOutput()
		t.Logf("kubectl %s\n%s", strings.Join(args, " "), output)
	}
	for _, node := range cluster.NodeNames() {
		logs, _ := cluster.In(ctx, node, "sh", "-c", "tail -q -n 40 /var/log/"+herald.Namespace+"_speaker-*.log")
		t.Logf("%s\n%s", node, logs)
	}
}

// families are what tests of announcements are done for.
var families = map[string]func(*corev1.Service){
	"IPv4":       withFamilies(corev1.IPFamilyPolicySingleStack, corev1.IPv4Protocol),
	"IPv6":       withFamilies(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol),
	"dual stack": dualStack,
}

func withFamilies(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies = &policy, families }
}

func dualStack(svc *corev1.Service) { withFamilies(corev1.IPFamilyPolicyRequireDualStack)(svc) }

func local(svc *corev1.Service) {
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func annotated(key, value string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Annotations[key] = value }
}

// byHand leaves the endpoints to the test.
func byHand(svc *corev1.Service) { svc.Spec.Selector = nil }

// service is a Service before the pods that answer, with its addresses, IPv4 first. Its label test is its name. The
// options change it before it is created, and it goes with the test.
func service(ctx context.Context, t *testing.T, name string, options ...func(*corev1.Service)) []netip.Addr {
	t.Helper()
	svc := create(ctx, t, name, options...)
	addresses, err := herald.AwaitAddresses(ctx, cluster, "default", name, len(svc.Spec.ClusterIPs))
	must(t, err)
	slices.SortFunc(addresses, netip.Addr.Compare)
	return addresses
}

// create is service, for one that may not get an address.
func create(ctx context.Context, t *testing.T, name string, options ...func(*corev1.Service)) *corev1.Service {
	t.Helper()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"test": name}, Annotations: map[string]string{}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
	for _, change := range options {
		change(svc)
	}
	svc, err := cluster.Client().CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { removeService(t, name) })
	return svc
}

func removeService(t *testing.T, name string) {
	t.Helper()
	err := cluster.Client().CoreV1().Services("default").Delete(context.Background(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

var advertisements = schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "l2advertisements"}

// advertise announces the addresses of the Service of that name. The lines are of the advertisement's spec.
func advertise(ctx context.Context, t *testing.T, service string, lines ...string) {
	t.Helper()
	lines = append(lines, fmt.Sprintf("serviceSelectors: [{matchLabels: {test: %s}}]", service), "ipAddressPools: [lan]")
	advertiseAs(ctx, t, service, lines...)
}

// advertiseAs makes or replaces an advertisement. It goes with the test.
func advertiseAs(ctx context.Context, t *testing.T, name string, lines ...string) {
	t.Helper()
	spec := map[string]any{}
	must(t, yaml.Unmarshal([]byte(strings.Join(lines, "\n")), &spec))
	all := objects.Resource(advertisements).Namespace(herald.Namespace)
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": map[string]any{"name": name}, "spec": spec,
	}}
	_, err := all.Apply(ctx, name, object, metav1.ApplyOptions{FieldManager: "test", Force: true})
	must(t, err)
	t.Cleanup(func() {
		if err := all.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

// nodes is a selector of these nodes, as it stands in an advertisement.
func nodes(names ...lab.Host) string {
	return fmt.Sprintf("[{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%s]}]}]", joined(names))
}

func joined(names []lab.Host) string {
	var texts []string
	for _, n := range names {
		texts = append(texts, string(n))
	}
	return strings.Join(texts, ", ")
}

// first is the node that the election puts first for an address, as existing users know it: by the lowest SHA-256 of
// node#address.
func first(address netip.Addr, among ...lab.Host) lab.Host {
	sum := func(h lab.Host) []byte { s := sha256.Sum256([]byte(string(h) + "#" + address.String())); return s[:] }
	return slices.MinFunc(among, func(a, b lab.Host) int { return bytes.Compare(sum(a), sum(b)) })
}

func all() []lab.Host { return cluster.NodeNames() }

func others(than lab.Host) []lab.Host {
	return slices.DeleteFunc(all(), func(h lab.Host) bool { return h == than })
}

// awaitOwner waits until a host alone answers for all of the addresses.
func awaitOwner(ctx context.Context, t *testing.T, addresses []netip.Addr, want lab.Host) {
	t.Helper()
	for _, a := range addresses {
		_, err := herald.AwaitOwner(ctx, cluster, a, herald.Only(want))
		must(t, err)
	}
}

// awaitSilence waits until nobody answers for the addresses.
func awaitSilence(ctx context.Context, t *testing.T, addresses []netip.Addr) {
	t.Helper()
	for _, a := range addresses {
		await(ctx, t, "nobody to answer for "+a.String(), func(ctx context.Context) error {
			hosts, err := herald.Answers(ctx, cluster, a)
			if err == nil && len(hosts) > 0 {
				err = fmt.Errorf("%v answers", hosts)
			}
			return err
		})
	}
}

// endpoint is one of a Service, as its slice has it.
type endpoint struct {
	node                        lab.Host
	ready, serving, terminating bool
}

func ready(node lab.Host) endpoint { return endpoint{node: node, ready: true, serving: true} }

// setEndpoints makes or replaces the endpoints of a Service whose endpoints are the test's.
func setEndpoints(ctx context.Context, t *testing.T, service string, endpoints ...endpoint) {
	t.Helper()
	port, name := int32(8080), "http"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: service + "-test", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
	for i, e := range endpoints {
		node := string(e.node)
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.244.0.%d", i+1)}, NodeName: &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &e.ready, Serving: &e.serving, Terminating: &e.terminating},
		})
	}
	slices := cluster.Client().DiscoveryV1().EndpointSlices("default")
	_, err := slices.Create(ctx, slice, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = slices.Update(ctx, slice, metav1.UpdateOptions{})
		must(t, err)
		return
	}
	must(t, err)
	t.Cleanup(func() {
		if err := slices.Delete(context.Background(), slice.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

// awaitEvent waits for an event on a Service.
func awaitEvent(ctx context.Context, t *testing.T, service, reason, message string) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("event %s on Service %s: %s", reason, service, message), func(ctx context.Context) error {
		events, err := cluster.Client().CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + service})
		if err != nil {
			return err
		}
		var seen []string
		for _, e := range events.Items {
			if e.Reason == reason && strings.Contains(e.Message, message) {
				return nil
			}
			seen = append(seen, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("its events are %q", seen)
	})
}

// onNode runs a command line on a host.
func onNode(ctx context.Context, t *testing.T, host lab.Host, line string) string {
	t.Helper()
	output, err := cluster.In(ctx, host, "sh", "-c", line)
	must(t, err)
	return output
}

func kubectl(ctx context.Context, t *testing.T, args ...string) {
	t.Helper()
	if output, err := cluster.Kubectl(ctx, args...).CombinedOutput(); err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, output)
	}
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
