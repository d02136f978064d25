package chaos

import (
	"context"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// attendance is when no pod served a Service, as a watch of EndpointSlices shows it: nobody is to answer for its addresses
// then, and who waits for an answer does not wait for Herald.
type attendance struct {
	journal *journal

	mu      sync.Mutex // guards all below
	slices  map[string]discoveryv1.EndpointSlice
	absence map[string][]interval // by the Service's name
}

// interval is a while; without an end it lasts.
type interval struct{ from, to time.Time }

func (i interval) length() time.Duration { return i.to.Sub(i.from) }

// watchEndpoints begins to watch.
func watchEndpoints(ctx context.Context, client kubernetes.Interface, j *journal) *attendance {
	a := &attendance{journal: j, slices: map[string]discoveryv1.EndpointSlice{}, absence: map[string][]interval{}}
	slices := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault)
	go follow(ctx, slices.Watch, func() (string, error) {
		list, err := slices.List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		a.sawAll(list.Items, time.Now())
		return list.ResourceVersion, nil
	}, func(s *discoveryv1.EndpointSlice, exists bool) { a.saw(*s, exists, time.Now()) })
	return a
}

// sawAll takes in all that there are at one moment.
func (a *attendance) sawAll(slices []discoveryv1.EndpointSlice, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.slices
	a.slices = map[string]discoveryv1.EndpointSlice{}
	for _, s := range slices {
		a.slices[s.Name] = s
	}
	for _, all := range []map[string]discoveryv1.EndpointSlice{before, a.slices} {
		for _, s := range all {
			a.count(s.Labels[discoveryv1.LabelServiceName], now)
		}
	}
}

// saw takes in one that has changed, or is gone.
func (a *attendance) saw(s discoveryv1.EndpointSlice, exists bool, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delete(a.slices, s.Name); exists {
		a.slices[s.Name] = s
	}
	a.count(s.Labels[discoveryv1.LabelServiceName], now)
}

// count notes whether a Service is served from now on.
func (a *attendance) count(service string, now time.Time) {
	var all []discoveryv1.EndpointSlice
	for _, s := range a.slices {
		all = append(all, s)
	}
	served := len(serving(all, service)) > 0
	absence := a.absence[service]
	away := len(absence) > 0 && absence[len(absence)-1].to.IsZero()
	switch {
	case served && away:
		absence[len(absence)-1].to = now
		a.journal.note("pods of Service %s serve again", service)
	case !served && !away:
		a.absence[service] = append(absence, interval{from: now})
		a.journal.note("no pod of Service %s serves", service)
	}
}

// away is when no pod served a Service.
func (a *attendance) away(service string) []interval {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]interval(nil), a.absence[service]...)
}

// forget forgets what was over before a moment.
func (a *attendance) forget(before time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for service, absence := range a.absence {
		for len(absence) > 0 && !absence[0].to.IsZero() && absence[0].to.Before(before) {
			absence = absence[1:]
		}
		a.absence[service] = absence
	}
}

// less are the parts of a while that are in none of others, which are in order.
func (i interval) less(others []interval) (left []interval) {
	for _, o := range others {
		if !o.to.IsZero() && !o.to.After(i.from) {
			continue
		}
		if !o.from.Before(i.to) {
			break
		}
		if o.from.After(i.from) {
			left = append(left, interval{i.from, o.from})
		}
		if o.to.IsZero() || !o.to.Before(i.to) {
			return left
		}
		i.from = o.to
	}
	return append(left, i)
}
