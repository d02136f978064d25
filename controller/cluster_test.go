package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
)

// cluster is an API server in memory, with a controller that looks at what the test
// tells it to look at.
type cluster struct {
	*allocator
	t      *testing.T
	api    client.WithWatch
	told   *eventSink
	marks  int
	writes atomic.Int32
	// refuse is what the API server answers to writes of status, if it is set.
	refuse error
	// lagging are Services as the cache shows them, where that is behind.
	lagging map[types.NamespacedName]*corev1.Service
}

func newCluster(t *testing.T, objects ...client.Object) *cluster {
	t.Helper()
	c := &cluster{t: t, told: &eventSink{arrived: make(chan string, 1000)}, lagging: map[types.NamespacedName]*corev1.Service{}}
	kinds, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c.api = fake.NewClientBuilder().WithScheme(kinds).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		SubResourcePatch:  c.patchStatus,
		SubResourceUpdate: c.updateStatus,
	}).Build()
	c.restart()
	return c
}

// restart replaces the controller by one that knows nothing yet, and leads.
func (c *cluster) restart() {
	c.t.Helper()
	cfg := &rest.Config{Host: "http://api.invalid", Transport: c.told}
	events, err := kube.NewEvents(cfg, c.api.Scheme(), "metallb-controller", "")
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	c.t.Cleanup(stop)
	go func() { _ = events.Start(ctx) }()
	cached := interceptor.NewClient(c.api, interceptor.Funcs{Get: c.get, List: c.list})
	c.allocator = newAllocator(log.NewNopLogger(), cached, c.api, events, &kube.ConfigurationState{}, metrics.NewClient(prometheus.NewRegistry()), metrics.NewAssignments(prometheus.NewRegistry()), "metallb-system", "")
	c.queue = workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[work]())
	c.term.begin(ctx)
}

// get is that of the cache, which may lag behind.
func (c *cluster) get(ctx context.Context, api client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if old, ok := c.lagging[key]; ok {
		old.DeepCopyInto(obj.(*corev1.Service))
		return nil
	}
	return api.Get(ctx, key, obj, opts...)
}

func (c *cluster) list(ctx context.Context, api client.WithWatch, into client.ObjectList, opts ...client.ListOption) error {
	if err := api.List(ctx, into, opts...); err != nil {
		return err
	}
	if services, ok := into.(*corev1.ServiceList); ok {
		for i := range services.Items {
			if old, ok := c.lagging[client.ObjectKeyFromObject(&services.Items[i])]; ok {
				old.DeepCopyInto(&services.Items[i])
			}
		}
	}
	return nil
}

// patchStatus takes all that a write of status may carry: annotations too.
func (c *cluster) patchStatus(ctx context.Context, api client.Client, _ string, obj client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	c.writes.Add(1)
	if c.refuse != nil {
		return c.refuse
	}
	// The API server in memory takes one half through each door.
	if err := api.Patch(ctx, obj, patch); err != nil {
		return err
	}
	data, err := patch.Data(obj)
	if err != nil {
		return err
	}
	var status struct {
		Status json.RawMessage `json:"status"`
	}
	if err := json.Unmarshal(data, &status); err != nil {
		return err
	}
	if data, err = json.Marshal(status); err != nil {
		return err
	}
	return api.Status().Patch(ctx, obj, client.RawPatch(patch.Type(), data))
}

func (c *cluster) updateStatus(ctx context.Context, api client.Client, _ string, obj client.Object, _ ...client.SubResourceUpdateOption) error {
	c.writes.Add(1)
	if c.refuse != nil {
		return c.refuse
	}
	return api.Update(ctx, obj)
}

// look has the controller look at services, and then at all that this brings about.
func (c *cluster) look(names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.reconcile(work{lb.ServiceKey{Namespace: "default", Name: name}})
	}
	c.settle()
}

// lookAtPools has the controller look at the pools.
func (c *cluster) lookAtPools() {
	c.t.Helper()
	c.reconcile(thePools)
	c.settle()
}

func (c *cluster) settle() {
	c.t.Helper()
	for c.queue.Len() > 0 {
		w, _ := c.queue.Get()
		c.reconcile(w)
		c.queue.Done(w)
	}
}

func (c *cluster) reconcile(w work) {
	c.t.Helper()
	if _, err := c.Reconcile(c.t.Context(), w); err != nil {
		c.t.Fatalf("look at %q: %s", w.service, err)
	}
}

func (c *cluster) create(o client.Object) {
	c.t.Helper()
	if err := c.api.Create(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) remove(o client.Object) {
	c.t.Helper()
	if err := c.api.Delete(c.t.Context(), o); err != nil {
		c.t.Fatal(err)
	}
}

// change changes a service as its user would.
func (c *cluster) change(name string, change func(*corev1.Service)) {
	c.t.Helper()
	svc := c.service(name)
	change(svc)
	if err := c.api.Update(c.t.Context(), svc); err != nil {
		c.t.Fatal(err)
	}
}

// setAddresses changes what a pool holds.
func (c *cluster) setAddresses(name string, addresses ...string) {
	c.t.Helper()
	p := &v1beta1.IPAddressPool{}
	if err := c.api.Get(c.t.Context(), types.NamespacedName{Namespace: "metallb-system", Name: name}, p); err != nil {
		c.t.Fatal(err)
	}
	p.Spec.Addresses = addresses
	if err := c.api.Update(c.t.Context(), p); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) service(name string) *corev1.Service {
	c.t.Helper()
	svc := &corev1.Service{}
	if err := c.api.Get(c.t.Context(), types.NamespacedName{Namespace: "default", Name: name}, svc); err != nil {
		c.t.Fatal(err)
	}
	return svc
}

// statuses are the addresses that all Services record, and from which pool.
func (c *cluster) statuses() map[string]string {
	c.t.Helper()
	var list corev1.ServiceList
	if err := c.api.List(c.t.Context(), &list); err != nil {
		c.t.Fatal(err)
	}
	out := map[string]string{}
	for _, svc := range list.Items {
		var ips []string
		for _, in := range svc.Status.LoadBalancer.Ingress {
			ips = append(ips, in.IP)
		}
		out[svc.Name] = strings.TrimSpace(strings.Join(ips, ",") + " " + svc.Annotations["metallb.io/ip-allocated-from-pool"])
	}
	return out
}

func pool(name string, addresses ...string) *v1beta1.IPAddressPool {
	return &v1beta1.IPAddressPool{
		ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name},
		Spec:       v1beta1.IPAddressPoolSpec{Addresses: addresses},
	}
}

// service is one of type LoadBalancer, created so many minutes after the others.
func service(name string, minute int, changes ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid of " + name),
			CreationTimestamp: metav1.NewTime(time.Date(2026, 7, 20, 9, minute, 0, 0, time.UTC)),
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Port: 80}},
		},
	}
	for _, change := range changes {
		change(svc)
	}
	return svc
}

// holding makes a service record an address as other software of this API does.
func holding(ip, pool string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		vip := corev1.LoadBalancerIPModeVIP
		svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip, IPMode: &vip}}
		annotated("metallb.io/ip-allocated-from-pool", pool)(svc)
	}
}

func annotated(key, value string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		annotations := maps.Clone(svc.Annotations)
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[key] = value
		svc.Annotations = annotations
	}
}

// eventSink is where events are written: the API server's HTTP, in memory.
type eventSink struct{ arrived chan string }

// RoundTrip takes a request that creates an event, or one that says that it came again.
func (s *eventSink) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodPatch {
		// An event that comes again: the recorder is to write it anew.
		return answer(r, http.StatusNotFound, "application/json", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`), nil
	}
	var e corev1.Event
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &e); err != nil {
		return nil, err
	}
	s.arrived <- fmt.Sprintf("%s %s: %s: %s", e.Type, e.InvolvedObject.Name, e.Reason, e.Message)
	return answer(r, http.StatusOK, r.Header.Get("Content-Type"), string(body)), nil
}

func answer(r *http.Request, status int, contentType, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Request: r, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)),
	}
}

// newEvents returns what users were told since the last call. Events travel one after
// the other, so that all have arrived when the one has that is sent here.
func (c *cluster) newEvents() []string {
	c.marks++
	mark := fmt.Sprintf("mark-%d", c.marks)
	c.events.Normal(service(mark, 0), "mark", "")
	var out []string
	for {
		told := <-c.told.arrived
		if strings.HasPrefix(told, "Normal "+mark+":") {
			return out
		}
		out = append(out, told)
	}
}
