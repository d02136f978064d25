package herald

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

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

// Watch tells of the Services of a namespace how long each took from its creation to its addresses: both moments are
// those at which one and the same watch told of them.
type Watch struct {
	events  watch.Interface
	created map[string]time.Time
}

// Assignment is one Service that was given its addresses.
type Assignment struct {
	Service   string
	Addresses []netip.Addr
	Took      time.Duration
}

// WatchAssignments begins to watch a namespace, in which there should be no Service yet that is of interest.
func WatchAssignments(ctx context.Context, l *lab.Lab, namespace string) (*Watch, error) {
	events, err := l.Client().CoreV1().Services(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("watch Services: %w", err)
	}
	return &Watch{events: events, created: map[string]time.Time{}}, nil
}

// Next waits for the next Service that is given addresses.
func (w *Watch) Next(ctx context.Context) (Assignment, error) {
	for {
		select {
		case <-ctx.Done():
			return Assignment{}, fmt.Errorf("wait for an assignment: %w", ctx.Err())
		case event, ok := <-w.events.ResultChan():
			if !ok {
				return Assignment{}, fmt.Errorf("wait for an assignment: the watch ended")
			}
			if a, assigned, err := w.see(event, time.Now()); assigned || err != nil {
				return a, err
			}
		}
	}
}

func (w *Watch) see(event watch.Event, now time.Time) (a Assignment, assigned bool, err error) {
	svc, ok := event.Object.(*corev1.Service)
	if !ok {
		return a, false, fmt.Errorf("watch Services: told of %T", event.Object)
	}
	if event.Type == watch.Added {
		w.created[svc.Name] = now
	}
	created, waits := w.created[svc.Name]
	addresses, err := AddressesOf(svc)
	if err != nil || !waits || len(addresses) == 0 {
		return a, false, err
	}
	delete(w.created, svc.Name)
	return Assignment{Service: svc.Name, Addresses: addresses, Took: now.Sub(created)}, true, nil
}

// Stop ends the watch.
func (w *Watch) Stop() { w.events.Stop() }
