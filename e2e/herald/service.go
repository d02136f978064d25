package herald

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// AddressesOf reads the addresses out of a Service's status.
func AddressesOf(svc *corev1.Service) ([]netip.Addr, error) {
	var addresses []netip.Addr
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		address, err := netip.ParseAddr(ingress.IP)
		if err != nil {
			return nil, fmt.Errorf("read the status of Service %s/%s: %w", svc.Namespace, svc.Name, err)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}

// AwaitAddresses waits until a Service has that many addresses.
func AwaitAddresses(ctx context.Context, l *lab.Lab, namespace, name string, count int) (addresses []netip.Addr, err error) {
	err = Await(ctx, fmt.Sprintf("%d addresses of Service %s/%s", count, namespace, name), func(ctx context.Context) error {
		svc, err := l.Client().CoreV1().Services(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		addresses, err = AddressesOf(svc)
		if err == nil && len(addresses) != count {
			err = fmt.Errorf("it has %v", addresses)
		}
		return err
	})
	return addresses, err
}

// CountL2Statuses counts the Services that speakers say to announce over layer 2, as cheaply as can be.
func CountL2Statuses(ctx context.Context, l *lab.Lab) (int, error) {
	request := l.Client().Discovery().RESTClient().Get().AbsPath("/apis/metallb.io/v1beta1/servicel2statuses").Param("limit", "1")
	text, err := request.Do(ctx).Raw()
	if err != nil {
		return 0, fmt.Errorf("count the ServiceL2Statuses: %w", err)
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, fmt.Errorf("count the ServiceL2Statuses: %w", err)
	}
	count := len(list.Items)
	if list.RemainingItemCount != nil {
		count += int(*list.RemainingItemCount)
	}
	return count, nil
}

// Watch creates Services in a namespace and sees how long each takes to be given its addresses.
type Watch struct {
	services typedcorev1.ServiceInterface
	events   watch.Interface
	ended    chan struct{}

	mu       sync.Mutex // guards what is below
	created  []string
	known    map[string]time.Time
	assigned map[string]time.Time
}

// Assignment is one Service that was given its addresses. Took counts from the moment at which it is known to exist, from
// the answer to its creator or from a watch, whichever comes first, to the one at which the watch told of its addresses.
type Assignment struct {
	Service string
	Took    time.Duration
}

// WatchAssignments begins to watch a namespace.
func WatchAssignments(ctx context.Context, l *lab.Lab, namespace string) (*Watch, error) {
	services := l.Client().CoreV1().Services(namespace)
	events, err := services.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("watch Services: %w", err)
	}
	w := &Watch{
		services: services, events: events, ended: make(chan struct{}),
		known: map[string]time.Time{}, assigned: map[string]time.Time{},
	}
	go w.read()
	return w, nil
}

func (w *Watch) read() {
	defer close(w.ended)
	for event := range w.events.ResultChan() {
		svc, ok := event.Object.(*corev1.Service)
		if !ok {
			continue
		}
		w.note(w.known, svc.Name)
		if len(svc.Status.LoadBalancer.Ingress) > 0 {
			w.note(w.assigned, svc.Name)
		}
	}
}

// note keeps the first moment of each Service.
func (w *Watch) note(moments map[string]time.Time, name string) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := moments[name]; !known {
		moments[name] = now
	}
}

// Create creates a Service. It is safe for concurrent use.
func (w *Watch) Create(ctx context.Context, svc *corev1.Service) error {
	if _, err := w.services.Create(ctx, svc, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Service %s: %w", svc.Name, err)
	}
	w.note(w.known, svc.Name)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.created = append(w.created, svc.Name)
	return nil
}

// Await waits until all Services that were created have addresses.
func (w *Watch) Await(ctx context.Context) (all []Assignment, err error) {
	err = Await(ctx, "Services to be given addresses", func(context.Context) error {
		all, err = w.assignments()
		return err
	})
	return all, err
}

func (w *Watch) assignments() (all []Assignment, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range w.created {
		if assigned, ok := w.assigned[name]; ok {
			all = append(all, Assignment{name, assigned.Sub(w.known[name])})
		}
	}
	if waiting := len(w.created) - len(all); waiting > 0 {
		err = fmt.Errorf("%d of %d have none", waiting, len(w.created))
	}
	return all, err
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.events.Stop()
	<-w.ended
}
