package main

import (
	"sync"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// inbox collects what has changed until the speaker gets round to it. A burst of
// changes to one service is one entry.
type inbox struct {
	mu         sync.Mutex
	services   map[lb.ServiceKey]struct{}
	everything bool
	// since is when the first of what is in here came.
	since  time.Time
	signal chan struct{}
}

func newInbox() *inbox {
	return &inbox{services: map[lb.ServiceKey]struct{}{}, signal: make(chan struct{}, 1)}
}

// addService notes that a service, or its endpoints, changed.
func (b *inbox) addService(key lb.ServiceKey) {
	b.mu.Lock()
	b.services[key] = struct{}{}
	b.note()
	b.mu.Unlock()
	b.wake()
}

// addEverything notes that something changed on which every decision depends.
func (b *inbox) addEverything() {
	b.mu.Lock()
	b.everything = true
	b.note()
	b.mu.Unlock()
	b.wake()
}

func (b *inbox) note() {
	if b.since.IsZero() {
		b.since = time.Now()
	}
}

func (b *inbox) wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// take empties the inbox. It says since when there was something in it.
func (b *inbox) take() (services map[lb.ServiceKey]struct{}, everything bool, since time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	services, everything, since = b.services, b.everything, b.since
	b.services, b.everything, b.since = map[lb.ServiceKey]struct{}{}, false, time.Time{}
	return services, everything, since
}
