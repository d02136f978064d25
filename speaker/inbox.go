package main

import (
	"sync"

	"github.com/herald-lb/herald/internal/lb"
)

// inbox collects what has changed until the speaker gets round to it. A burst of
// changes to one service is one entry.
type inbox struct {
	mu         sync.Mutex
	services   map[lb.ServiceKey]struct{}
	everything bool
	signal     chan struct{}
}

func newInbox() *inbox {
	return &inbox{services: map[lb.ServiceKey]struct{}{}, signal: make(chan struct{}, 1)}
}

// addService notes that a service, or its endpoints, changed.
func (b *inbox) addService(key lb.ServiceKey) {
	b.mu.Lock()
	b.services[key] = struct{}{}
	b.mu.Unlock()
	b.wake()
}

// addEverything notes that something changed on which every decision depends.
func (b *inbox) addEverything() {
	b.mu.Lock()
	b.everything = true
	b.mu.Unlock()
	b.wake()
}

func (b *inbox) wake() {
	select {
	case b.signal <- struct{}{}:
	default:
	}
}

// take empties the inbox.
func (b *inbox) take() (services map[lb.ServiceKey]struct{}, everything bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	services, everything = b.services, b.everything
	b.services, b.everything = map[lb.ServiceKey]struct{}{}, false
	return services, everything
}
