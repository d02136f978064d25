package main

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

func key(name string) lb.ServiceKey { return lb.ServiceKey{Namespace: "default", Name: name} }

func keys(names ...string) map[lb.ServiceKey]struct{} {
	out := map[lb.ServiceKey]struct{}{}
	for _, name := range names {
		out[key(name)] = struct{}{}
	}
	return out
}

func TestABurstIsOneSignalAndOneEntryForEachService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newInbox()
		for range 3 {
			b.addService(key("web"))
			b.addService(key("api"))
		}
		<-b.signal
		select {
		case <-b.signal:
			t.Error("two signals for what is taken at once")
		default:
		}
		services, everything, _ := b.take()
		if diff := cmp.Diff(keys("web", "api"), services); diff != "" || everything {
			t.Errorf("everything: %t, services (-want +got):\n%s", everything, diff)
		}
		if services, everything, _ := b.take(); len(services) > 0 || everything {
			t.Errorf("taken twice: %v, everything: %t", services, everything)
		}
	})
}

func TestWhatComesWhileTheInboxIsTakenIsNotLost(t *testing.T) {
	b := newInbox()
	var senders sync.WaitGroup
	for i := range 4 {
		senders.Go(func() {
			for j := range 250 {
				b.addService(lb.ServiceKey{Namespace: string(rune('a' + i)), Name: string(rune('0' + j))})
			}
			b.addEverything()
		})
	}
	done := make(chan struct{})
	go func() { senders.Wait(); close(done) }()
	taken, everythings := 0, 0
	take := func() {
		services, everything, _ := b.take()
		taken += len(services)
		if everything {
			everythings++
		}
	}
	for waiting := true; waiting; {
		select {
		case <-b.signal:
			take()
		case <-done:
			waiting = false
		}
	}
	take()
	if taken != 1000 || everythings < 1 {
		t.Errorf("taken are %d services, and everything %d times", taken, everythings)
	}
}
