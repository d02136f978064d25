package chaos

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// history is the life of every Service, as a watch shows it.
type history struct {
	journal *journal
	// expect is told of addresses that are held from now on, or by nobody any more.
	expect func(address netip.Addr, held bool)

	mu     sync.Mutex // guards all below
	lives  map[types.UID]*life
	broken []string  // promises
	losses []loss    // that are to be explained
	taken  time.Time // when they were last asked for
}

// life is one Service's.
type life struct {
	versions []version
	gone     bool
}

type version struct {
	at  time.Time
	svc *corev1.Service
}

// loss is an address that a Service lost without having asked for anything else shortly before.
type loss struct {
	svc     *corev1.Service
	address netip.Addr
	seen    time.Time // holding it, for the last time
}

// watchServices begins to watch. It tells what is held.
func watchServices(ctx context.Context, client kubernetes.Interface, expect func(netip.Addr, bool), j *journal) *history {
	h := &history{expect: expect, journal: j, lives: map[types.UID]*life{}}
	services := client.CoreV1().Services(metav1.NamespaceDefault)
	go follow(ctx, services.Watch, func() (string, error) {
		list, err := services.List(ctx, metav1.ListOptions{})
		if err != nil {
			return "", err
		}
		h.sawAll(list.Items)
		return list.ResourceVersion, nil
	}, func(svc *corev1.Service, exists bool) {
		if exists {
			h.saw(svc)
		} else {
			h.lost(svc)
		}
	})
	return h
}

// follow tells of all objects of a kind: of those that list takes in, and of each that changes after the version that it
// returns, or is gone. When the API server ends the watch, or is away, it begins anew, at once: an informer would wait for up
// to a minute.
func follow[T runtime.Object](ctx context.Context, watching func(context.Context, metav1.ListOptions) (watch.Interface, error), list func() (version string, err error), saw func(object T, exists bool)) {
	for ; ctx.Err() == nil; pause(ctx, 100*time.Millisecond) {
		version, err := list()
		if err != nil {
			continue
		}
		events, err := watching(ctx, metav1.ListOptions{ResourceVersion: version})
		if err != nil {
			continue
		}
		for event := range events.ResultChan() {
			if object, ok := event.Object.(T); ok {
				saw(object, event.Type != watch.Deleted)
			}
		}
	}
}

// sawAll takes in all that there are at one moment.
func (h *history) sawAll(services []corev1.Service) {
	gone := h.living()
	var all []*corev1.Service
	for i := range services {
		delete(gone, services[i].UID)
		all = append(all, &services[i])
	}
	for _, svc := range gone {
		h.lost(svc)
	}
	h.saw(all...)
}

// living are the last versions of all that are not gone.
func (h *history) living() map[types.UID]*corev1.Service {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[types.UID]*corev1.Service{}
	for uid, l := range h.lives {
		if !l.gone {
			all[uid] = l.last()
		}
	}
	return all
}

// saw takes in versions that are of the same moment: who holds what is compared when all are known.
func (h *history) saw(services ...*corev1.Service) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := map[*life][]netip.Addr{}
	for _, svc := range services {
		l := h.lives[svc.UID]
		if l == nil {
			l = &life{}
			h.lives[svc.UID] = l
		}
		before[l] = l.holds()
		l.versions = append(l.versions, version{time.Now(), svc})
	}
	for l, held := range before {
		if !slices.Equal(held, l.holds()) {
			h.compare(l, held)
		}
	}
}

// compare looks at what a Service has been given and has lost.
func (h *history) compare(l *life, before []netip.Addr) {
	now := l.holds()
	h.journal.note("Service %s holds %v", l.last().Name, now)
	for _, a := range now {
		if !slices.Contains(before, a) {
			h.checkGain(l, a)
		}
	}
	for _, a := range before {
		if !slices.Contains(now, a) {
			h.noteLoss(l, a)
		}
	}
	h.tell(append(before, now...))
}

func (h *history) lost(svc *corev1.Service) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.lives[svc.UID]; l != nil {
		l.gone = true
		h.journal.note("Service %s is gone with %v", svc.Name, addresses(svc))
		h.tell(addresses(svc))
	}
}

func (h *history) tell(changed []netip.Addr) {
	for _, a := range changed {
		h.expect(a, h.held(a))
	}
}

func (h *history) held(address netip.Addr) bool {
	for _, l := range h.lives {
		if !l.gone && slices.Contains(l.holds(), address) {
			return true
		}
	}
	return false
}

func (l *life) last() *corev1.Service { return l.versions[len(l.versions)-1].svc }

func (l *life) holds() []netip.Addr {
	if len(l.versions) == 0 {
		return nil
	}
	return addresses(l.last())
}

// checkGain looks for another holder of an address that a Service has just been given.
func (h *history) checkGain(l *life, address netip.Addr) {
	for _, other := range h.lives {
		if other == l || other.gone || !slices.Contains(other.holds(), address) {
			continue
		}
		if !mightShare(l.recent(), other.recent()) {
			h.broken = append(h.broken, fmt.Sprintf("Service %s was given %s, which %s holds and may not share with it", l.last().Name, address, other.last().Name))
		}
	}
}

// memory is for how long a Service's user may have changed it without the controller having seen it: faults keep the two
// apart.
const memory = 15 * time.Second

// recent are the versions of a Service that the controller may have decided by.
func (l *life) recent() []version {
	from := len(l.versions) - 1
	for from > 0 && time.Since(l.versions[from].at) < memory {
		from--
	}
	return l.versions[from:]
}

func mightShare(as, bs []version) bool {
	return slices.ContainsFunc(as, func(a version) bool {
		return slices.ContainsFunc(bs, func(b version) bool { return mayShare(a.svc, b.svc) })
	})
}

// noteLoss notes the loss of an address by a Service that has asked for the same ever since it was given it, or for long
// enough. What nobody changes may lose nothing; others may, and are told why.
func (h *history) noteLoss(l *life, address netip.Addr) {
	svc, holding := l.last(), len(l.versions)-2
	done := h.taken.Add(-memory) // what was asked for by then was done when everything was as it should be
	from := holding
	for from > 0 && l.versions[from].at.After(done) && slices.Contains(addresses(l.versions[from-1].svc), address) {
		from--
	}
	changed := slices.ContainsFunc(l.versions[from:], func(v version) bool { return !sameWish(v.svc, l.versions[from].svc) })
	switch {
	case isSteady(svc):
		h.broken = append(h.broken, fmt.Sprintf("Service %s lost %s", svc.Name, address))
	case !changed:
		h.losses = append(h.losses, loss{svc, address, l.versions[holding].at})
	}
}

// take returns what was found since it was last asked, now that everything is as it should be.
func (h *history) take() (broken []string, losses []loss) {
	h.mu.Lock()
	defer h.mu.Unlock()
	broken, losses = h.broken, h.losses
	h.broken, h.losses, h.taken = nil, nil, time.Now()
	h.forget()
	return broken, losses
}

// steadyOnLAN are the Services that nobody changes and their addresses, but for those that the router alone is told of.
func (h *history) steadyOnLAN() map[string][]netip.Addr {
	all := map[string][]netip.Addr{}
	for _, svc := range h.living() {
		if isSteady(svc) {
			all[svc.Name] = slices.DeleteFunc(addresses(svc), func(a netip.Addr) bool { return within(routedRange, a) })
		}
	}
	return all
}

// forget forgets the dead, and versions that decide nothing any more.
func (h *history) forget() {
	for uid, l := range h.lives {
		if l.gone {
			delete(h.lives, uid)
		} else if len(l.versions) > 1 && len(l.holds()) == 0 {
			l.versions = l.recent()
		}
	}
}
