//go:build e2e

package allocation

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
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
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"

	"github.com/herald-lb/herald/e2e/herald"
)

const allocatedFrom = "metallb.io/ip-allocated-from-pool"

// pause is without a write when the controller is through.
const pause = 300 * time.Millisecond

// stage is where one test plays: it makes pools and Services through the API server, as kubectl does, and takes them
// away at the end.
type stage struct {
	*testing.T
	ctx context.Context
	// violations are those that the observer had seen before.
	violations int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return &stage{t, begin(t), len(observed.violated())}
}

// on is the same stage for a part of the test.
func (s *stage) on(name string, play func(*stage)) {
	s.Helper()
	s.Run(name, func(t *testing.T) { play(&stage{t, s.ctx, s.violations}) })
}

// noViolations checks that nobody was given what another held, from one moment of the test to the next.
func (s *stage) noViolations() {
	s.Helper()
	for _, v := range observed.violated()[s.violations:] {
		s.Error(v)
	}
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// await asks until there is no error. It gives up long before the test does, so that what comes after has its time.
func (s *stage) await(what string, ask func() error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	s.must(herald.Await(ctx, what, func(context.Context) error { return ask() }))
}

// Pools

func pools() dynamic.ResourceInterface {
	kind := schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "ipaddresspools"}
	return world.Dynamic.Resource(kind).Namespace(herald.Namespace)
}

type spec map[string]any

// ranges is the spec of a pool of these.
func ranges(all ...string) spec { return spec{"addresses": list(all)} }

func list(texts []string) []any {
	var all []any
	for _, t := range texts {
		all = append(all, t)
	}
	return all
}

// with adds fields to a spec; they are given as JSON.
func (p spec) with(fields string) spec {
	out := maps.Clone(p)
	if err := json.Unmarshal([]byte(fields), (*map[string]any)(&out)); err != nil {
		panic(err)
	}
	return out
}

// pool makes a pool, or gives the one of that name another spec.
func (s *stage) pool(name string, p spec) {
	s.Helper()
	s.must(retry.OnError(retry.DefaultBackoff, apierrors.IsConflict, func() error { return s.store(name, p) }))
}

func (s *stage) store(name string, p spec) error {
	old, err := pools().Get(s.ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		pool := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
			"metadata": map[string]any{"name": name}, "spec": map[string]any(p),
		}}
		s.Cleanup(func() { s.removePool(name) })
		_, err = pools().Create(s.ctx, pool, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
		return err
	}
	if err != nil {
		return err
	}
	old.Object["spec"] = map[string]any(p)
	_, err = pools().Update(s.ctx, old, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
	return err
}

func (s *stage) removePool(name string) {
	s.Helper()
	err := pools().Delete(context.WithoutCancel(s.ctx), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		s.Error(err)
	}
}

// Services

type option func(*corev1.Service)

func named(namespace string) option { return func(svc *corev1.Service) { svc.Namespace = namespace } }

func annotated(key, value string) option {
	return func(svc *corev1.Service) { metav1.SetMetaDataAnnotation(&svc.ObjectMeta, key, value) }
}

func without(key string) option {
	return func(svc *corev1.Service) { delete(svc.Annotations, key) }
}

func labelled(key, value string) option {
	return func(svc *corev1.Service) { metav1.SetMetaDataLabel(&svc.ObjectMeta, key, value) }
}

func fromPool(name string) option    { return annotated("metallb.io/address-pool", name) }
func asking(addresses string) option { return annotated("metallb.io/loadBalancerIPs", addresses) }
func sharing(key string) option      { return annotated("metallb.io/allow-shared-ip", key) }
func classed(name string) option {
	return func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &name }
}

func specifically(address string) option {
	return func(svc *corev1.Service) { svc.Spec.LoadBalancerIP = address }
}

func typed(t corev1.ServiceType) option { return func(svc *corev1.Service) { svc.Spec.Type = t } }

// noNodePortsToAvoid undoes what newService does for Services of type LoadBalancer alone.
func noNodePortsToAvoid(svc *corev1.Service) { svc.Spec.AllocateLoadBalancerNodePorts = nil }

func port(number int32) option {
	return func(svc *corev1.Service) {
		svc.Spec.Ports = []corev1.ServicePort{{Name: "main", Port: number, Protocol: corev1.ProtocolTCP}}
	}
}

func udp(svc *corev1.Service) { svc.Spec.Ports[0].Protocol = corev1.ProtocolUDP }

func local(svc *corev1.Service) {
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func selecting(app string) option {
	return func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": app} }
}

func families(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) option {
	return func(svc *corev1.Service) { svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies = &policy, families }
}

var (
	v4     = families(corev1.IPFamilyPolicySingleStack, corev1.IPv4Protocol)
	v6     = families(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol)
	both   = families(corev1.IPFamilyPolicyRequireDualStack)
	prefer = families(corev1.IPFamilyPolicyPreferDualStack)
)

// newService is of type LoadBalancer and asks for nothing. It has no node ports, of which there are few.
func newService(name string, options ...option) *corev1.Service {
	no := false
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
			Ports:                         []corev1.ServicePort{{Name: "main", Port: 80, Protocol: corev1.ProtocolTCP}},
			AllocateLoadBalancerNodePorts: &no,
		},
	}
	for _, change := range options {
		change(svc)
	}
	return svc
}

// service makes a Service, which goes with the test. That nothing was told twice of it is checked then.
func (s *stage) service(name string, options ...option) *corev1.Service {
	s.Helper()
	svc, err := world.Client.CoreV1().Services(newService(name, options...).Namespace).Create(s.ctx, newService(name, options...), metav1.CreateOptions{})
	s.must(err)
	s.Cleanup(func() {
		s.toldOnce(svc)
		s.remove(svc)
	})
	return svc
}

// remove takes this very Service away, if it is still there.
func (s *stage) remove(svc *corev1.Service) {
	s.Helper()
	err := world.Client.CoreV1().Services(svc.Namespace).Delete(context.WithoutCancel(s.ctx), svc.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(svc.UID)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		s.Error(err)
	}
}

// change changes a Service as kubectl edit does, and returns it.
func (s *stage) change(svc *corev1.Service, options ...option) *corev1.Service {
	s.Helper()
	var stored *corev1.Service
	s.must(retry.OnError(retry.DefaultBackoff, apierrors.IsConflict, func() error {
		now, err := world.Client.CoreV1().Services(svc.Namespace).Get(s.ctx, svc.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, change := range options {
			change(now)
		}
		stored, err = world.Client.CoreV1().Services(svc.Namespace).Update(s.ctx, now, metav1.UpdateOptions{})
		return err
	}))
	return stored
}

func (s *stage) get(svc *corev1.Service) *corev1.Service {
	s.Helper()
	now, err := world.Client.CoreV1().Services(svc.Namespace).Get(s.ctx, svc.Name, metav1.GetOptions{})
	s.must(err)
	return now
}

// holds waits until a Service has exactly these addresses, in this order, from the pool.
func (s *stage) holds(svc *corev1.Service, pool string, want ...string) {
	s.Helper()
	s.await(fmt.Sprintf("Service %s to hold %v of pool %q", svc.Name, want, pool), func() error {
		now, err := world.Client.CoreV1().Services(svc.Namespace).Get(s.ctx, svc.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		from, annotated := now.Annotations[allocatedFrom]
		if got := addresses(now); !slices.Equal(got, want) || from != pool || annotated != (pool != "") {
			return fmt.Errorf("it holds %v of pool %q (annotation present: %t)", got, from, annotated)
		}
		return nil
	})
	for _, ingress := range s.get(svc).Status.LoadBalancer.Ingress {
		if ingress.IPMode == nil || *ingress.IPMode != corev1.LoadBalancerIPModeVIP {
			s.Errorf("Service %s: the status has ipMode %v, want VIP", svc.Name, ingress.IPMode)
		}
	}
}

// waits waits until a Service has no address and its user was told why.
func (s *stage) waits(svc *corev1.Service, reason, why string) {
	s.Helper()
	s.told(svc, corev1.EventTypeWarning, reason, why)
	s.holds(svc, "")
}

// had compares all assignments that a Service has had, one after the other.
func (s *stage) had(svc *corev1.Service, want ...string) {
	s.Helper()
	s.settle()
	if got := observed.assignments(svc.UID); !slices.Equal(got, want) {
		s.Errorf("Service %s was given %q one after the other, want %q", svc.Name, got, want)
	}
}

// Events

func (s *stage) events(uid types.UID, namespace string) []corev1.Event {
	s.Helper()
	events, err := world.Client.CoreV1().Events(namespace).List(context.WithoutCancel(s.ctx), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(uid)})
	s.must(err)
	return events.Items
}

// told waits for an event on a Service.
func (s *stage) told(svc *corev1.Service, kind, reason, message string) {
	s.Helper()
	s.await(fmt.Sprintf("event %s %s on Service %s: %s", kind, reason, svc.Name, message), func() error {
		return find(s.events(svc.UID, svc.Namespace), kind, reason, message)
	})
}

func find(events []corev1.Event, kind, reason, message string) error {
	var seen []string
	for _, e := range events {
		if e.Type == kind && e.Reason == reason && strings.Contains(e.Message, message) {
			return nil
		}
		seen = append(seen, fmt.Sprintf("%s %s: %s", e.Type, e.Reason, e.Message))
	}
	return fmt.Errorf("its events are %q", seen)
}

// toldOnce checks that no event of a Service came again without a reason.
func (s *stage) toldOnce(svc *corev1.Service) {
	s.Helper()
	// The observer may see a change later than the event of it is there.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Second)
	defer cancel()
	err := herald.Await(ctx, "events of Service "+svc.Name+" to have had reasons", func(context.Context) error {
		return repeated(s.events(svc.UID, svc.Namespace), observed.changes(svc.UID))
	})
	if err != nil {
		s.Error(err)
	}
}

// repeated says which event came again more often than a Service has changed, and than its user was told something else
// under the same reason, such as another pool that is full. A controller that starts anew tells anew, by events of its own.
func repeated(events []corev1.Event, changes int) error {
	told := map[string]int{}
	for _, e := range events {
		told[e.Reason] += int(e.Count)
	}
	for _, e := range events {
		others := told[e.Reason] - int(e.Count)
		// One that client-go has combined stands for several that differ.
		if combined := strings.HasPrefix(e.Message, "(combined"); !combined && int(e.Count) > 1+changes+others {
			return fmt.Errorf("told %d times, while the Service changed %d times and %d times something else was told: %s: %s", e.Count, changes, others, e.Reason, e.Message)
		}
	}
	return nil
}

// toldOf counts how often a Service's user was told something for a reason.
func (s *stage) toldOf(svc *corev1.Service, reason string) (count int) {
	s.Helper()
	for _, e := range s.events(svc.UID, svc.Namespace) {
		if e.Reason == reason {
			count += int(e.Count)
		}
	}
	return count
}

// The canary is a Service that comes after what a test has done. Once it is served, the controller has seen all that
// came before it on the same watch.
const canaryPool = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: canary, namespace: metallb-system}
spec: {addresses: [10.255.0.0/24], autoAssign: false}
`

// settle returns when the controller has seen all Services as they are now, and has stopped writing.
func (s *stage) settle() {
	s.Helper()
	canary, err := world.Client.CoreV1().Services("default").Create(s.ctx, newService("", fromPool("canary"), generated("canary-")), metav1.CreateOptions{})
	s.must(err)
	s.await("the canary to be served", func() error {
		if len(addresses(s.get(canary))) == 0 {
			return fmt.Errorf("it has no address: %v", s.events(canary.UID, canary.Namespace))
		}
		return nil
	})
	s.remove(canary)
	s.quiet()
}

func generated(prefix string) option {
	return func(svc *corev1.Service) { svc.GenerateName = prefix }
}

// quiet returns when no Service has been written for a while.
func (s *stage) quiet() {
	s.Helper()
	for before := observed.versions(); ; {
		select {
		case <-s.ctx.Done():
			s.Fatal("Services are written without end")
		case <-time.After(pause):
		}
		now := observed.versions()
		if maps.Equal(before, now) {
			return
		}
		before = now
	}
}
