//go:build e2e

package suite

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// begin gives a test its time, which is generous: it ends tests that hang, and judges nothing. If the test fails, what
// Herald has said since it began is printed.
func begin(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	start := time.Now()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			explain(t, start)
		}
	})
	return ctx
}

// explain prints the logs of Herald's pods, those that ended too, and the cluster's events.
func explain(t *testing.T, since time.Time) {
	seconds := fmt.Sprintf("--since=%ds", int(time.Since(since).Seconds())+5)
	for _, args := range [][]string{
		{"get", "pods", "--all-namespaces", "--output", "wide"},
		{"get", "services", "--all-namespaces"},
		{"logs", "--namespace", herald.Namespace, "--selector", "app=metallb", "--prefix", "--tail", "100", seconds},
		{"events", "--all-namespaces"},
	} {
		// The test's own context has ended.
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		output, _ := cluster.Kubectl(ctx, args...).CombinedOutput()
		cancel()
		t.Logf("kubectl %s\n%s", strings.Join(args, " "), last(string(output), 150))
	}
}

func last(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// service is a Service of type LoadBalancer before those pods that answer. The options change it before it is created,
// and it goes with the test.
func service(ctx context.Context, t *testing.T, name string, options ...func(*corev1.Service)) *corev1.Service {
	t.Helper()
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: corev1.ServiceSpec{
			Type:     corev1.ServiceTypeLoadBalancer,
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
	for _, change := range options {
		change(svc)
	}
	svc, err := cluster.Client().CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, svc) })
	return svc
}

func remove(t *testing.T, svc *corev1.Service) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := cluster.Client().CoreV1().Services(svc.Namespace).Delete(ctx, svc.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

func families(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Spec.IPFamilyPolicy = &policy
		svc.Spec.IPFamilies = families
	}
}

func dualStack(svc *corev1.Service) { families(corev1.IPFamilyPolicyRequireDualStack)(svc) }

func annotation(key, value string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Annotations = map[string]string{key: value} }
}

// served is a dual-stack Service with its addresses, which the client reaches.
func served(ctx context.Context, t *testing.T, name string) []netip.Addr {
	t.Helper()
	addresses := awaitAddresses(ctx, t, service(ctx, t, name, dualStack), 2)
	for _, a := range addresses {
		awaitAnswer(ctx, t, cluster, lab.Client, a)
	}
	return addresses
}

func awaitAddresses(ctx context.Context, t *testing.T, svc *corev1.Service, count int) []netip.Addr {
	t.Helper()
	addresses, err := herald.AwaitAddresses(ctx, cluster, svc.Namespace, svc.Name, count)
	if err != nil {
		t.Fatal(err)
	}
	return addresses
}

// awaitAnswer waits until a pod answers a host that asks at an address, and returns the answer.
func awaitAnswer(ctx context.Context, t *testing.T, l *lab.Lab, from lab.Host, address netip.Addr) string {
	t.Helper()
	answer, err := get(ctx, l, from, address, "/")
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// get asks by HTTP until there is an answer.
func get(ctx context.Context, l *lab.Lab, from lab.Host, address netip.Addr, path string) (answer string, err error) {
	url := "http://" + netip.AddrPortFrom(address, 80).String() + path
	err = herald.Await(ctx, fmt.Sprintf("an answer to %s at %s", from, url), func(ctx context.Context) error {
		answer, err = l.In(ctx, from, "curl", "--silent", "--show-error", "--fail", "--max-time", "1", url)
		return err
	})
	return strings.TrimSpace(answer), err
}

// owner waits until one node of those wanted, and nobody else, answers for all of the addresses, and returns it.
func owner(ctx context.Context, t *testing.T, addresses []netip.Addr, wanted func(lab.Host) bool) lab.Host {
	t.Helper()
	var node lab.Host
	err := herald.Await(ctx, fmt.Sprintf("one owner of %v", addresses), func(ctx context.Context) error {
		var hosts []lab.Host
		for _, a := range addresses {
			answers, err := herald.Answers(ctx, cluster, a)
			if err != nil {
				return err
			}
			hosts = append(hosts, answers...)
		}
		if len(hosts) != len(addresses) || len(slices.Compact(hosts)) != 1 || !wanted(hosts[0]) {
			return fmt.Errorf("answered for by %v", hosts)
		}
		node = hosts[0]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return node
}

// awaitEvent waits for an event on an object.
func awaitEvent(ctx context.Context, t *testing.T, svc *corev1.Service, kind, reason, message string) {
	t.Helper()
	err := herald.Await(ctx, fmt.Sprintf("event %s on Service %s: %s", reason, svc.Name, message), func(ctx context.Context) error {
		events, err := cluster.Client().CoreV1().Events(svc.Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.uid=" + string(svc.UID),
		})
		if err != nil {
			return err
		}
		return findEvent(events.Items, kind, reason, message)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func findEvent(events []corev1.Event, kind, reason, message string) error {
	var seen []string
	for _, e := range events {
		if e.Type == kind && e.Reason == reason && strings.Contains(e.Message, message) {
			return nil
		}
		seen = append(seen, fmt.Sprintf("%s %s: %s", e.Type, e.Reason, e.Message))
	}
	return fmt.Errorf("its events are %q", seen)
}

func kubectl(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	output, err := cluster.Kubectl(ctx, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, output)
	}
	return string(output)
}
