package main

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// errFenced is what a write meets that comes after the lease has ended.
var errFenced = errors.New("another replica may be leading")

// fence stands before the API server and lets nothing be changed but while the lease is
// ours. It is asked right before a request goes out, since a process may be
// frozen between any two of its steps, and wakes up in the belief that nothing happened.
type fence struct {
	mu sync.Mutex
	// until is when the lease ends if nothing renews it; the zero time is the past.
	until time.Time
	// unlimited is set where no lease is kept.
	unlimited bool
}

// openUntil lets writes pass until then; the zero time closes the fence.
func (f *fence) openUntil(end time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until, f.unlimited = end, false
}

// open lets all writes pass.
func (f *fence) open() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unlimited = true
}

// passable compares by both clocks: the monotonic one, which nobody sets, and the
// other, which goes on while a machine is suspended.
func (f *fence) passable() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	return f.unlimited || now.Before(f.until) && now.Round(0).Before(f.until.Round(0))
}

// fenced is a transport with a fence before it.
type fenced struct {
	*fence
	next http.RoundTripper
}

// RoundTrip sends a request unless it would change something that is not ours to change.
func (f fenced) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && !f.passable() {
		return nil, errFenced
	}
	return f.next.RoundTrip(r)
}

// newClient makes a manager's client with the fence before it.
func (f *fence) newClient(cfg *rest.Config, o client.Options) (client.Client, error) {
	behind := *o.HTTPClient
	behind.Transport = fenced{f, behind.Transport}
	o.HTTPClient = &behind
	return client.New(cfg, o)
}
