//go:build e2e

package allocation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// observer sees every Service from a watch alone, and keeps the history of each.
type observer struct {
	mu         sync.Mutex
	histories  map[types.UID]*history
	violations []string
	stop       context.CancelFunc
}

// history is one Service's life, each version as the watch showed it.
type history struct {
	versions []version
	gone     bool
}

type version struct {
	at  time.Time
	svc *corev1.Service
}

func observe(ctx context.Context, client kubernetes.Interface) (*observer, error) {
	ctx, stop := context.WithCancel(ctx)
	o := &observer{histories: map[types.UID]*history{}, stop: stop}
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().Services().Informer()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { o.saw(obj.(*corev1.Service)) },
		UpdateFunc: func(_, obj any) { o.saw(obj.(*corev1.Service)) },
		DeleteFunc: func(obj any) {
			if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = unknown.Obj
			}
			o.lost(obj.(*corev1.Service))
		},
	})
	if err != nil {
		return nil, err
	}
	factory.StartWithContext(ctx)
	cache.WaitForCacheSync(ctx.Done(), registration.HasSynced)
	return o, nil
}

func (o *observer) saw(svc *corev1.Service) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.histories[svc.UID]
	if h == nil {
		h = &history{}
		o.histories[svc.UID] = h
	}
	var before []string
	if n := len(h.versions); n > 0 {
		before = addresses(h.versions[n-1].svc)
	}
	h.versions = append(h.versions, version{time.Now(), svc})
	for _, a := range addresses(svc) {
		if !slices.Contains(before, a) {
			o.check(svc, a)
		}
	}
}

func (o *observer) lost(svc *corev1.Service) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h := o.histories[svc.UID]; h != nil {
		h.gone = true
	}
}

// check looks for another holder of an address that a Service has just been given.
func (o *observer) check(svc *corev1.Service, address string) {
	for uid, h := range o.histories {
		other := h.versions[len(h.versions)-1].svc
		if uid == svc.UID || h.gone || !slices.Contains(addresses(other), address) {
			continue
		}
		if !mightShare(recent(o.histories[svc.UID]), recent(h)) {
			o.violations = append(o.violations, fmt.Sprintf("%s was given %s, which %s holds", svc.Name, address, other.Name))
		}
	}
}

func mightShare(as, bs []version) bool {
	return slices.ContainsFunc(as, func(a version) bool {
		return slices.ContainsFunc(bs, func(b version) bool { return mayShare(a.svc, b.svc) })
	})
}

// recent are the versions of a Service that the controller may have decided by: its user may have changed it since.
func recent(h *history) []version {
	from := len(h.versions) - 1
	for from > 0 && time.Since(h.versions[from].at) < 5*time.Second {
		from--
	}
	return h.versions[from:]
}

// mayShare is the rule of sharing keys, once more.
func mayShare(a, b *corev1.Service) bool {
	key := sharingKey(a)
	return key != "" && key == sharingKey(b) && backendKey(a) == backendKey(b) && !overlap(a.Spec.Ports, b.Spec.Ports)
}

func sharingKey(svc *corev1.Service) string { return svc.Annotations["metallb.io/allow-shared-ip"] }

func backendKey(svc *corev1.Service) string {
	if svc.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		return ""
	}
	return labels.FormatLabels(svc.Spec.Selector)
}

func overlap(a, b []corev1.ServicePort) bool {
	return slices.ContainsFunc(a, func(p corev1.ServicePort) bool {
		return slices.ContainsFunc(b, func(q corev1.ServicePort) bool { return p.Protocol == q.Protocol && p.Port == q.Port })
	})
}

// addresses are those in a Service's status, in its order.
func addresses(svc *corev1.Service) []string {
	var all []string
	for _, ingress := range svc.Status.LoadBalancer.Ingress {
		all = append(all, ingress.IP)
	}
	return all
}

// violated returns what must never have been seen.
func (o *observer) violated() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.violations)
}

// assignments are the addresses that a Service has had, one after the other; "" is none.
func (o *observer) assignments(uid types.UID) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	if h := o.histories[uid]; h != nil {
		for _, v := range h.versions {
			all = append(all, strings.Join(addresses(v.svc), ","))
		}
	}
	return slices.Compact(all)
}

// changes counts how often a Service's user has changed what it asks for, and how often what it holds has changed since it
// was first given something.
func (o *observer) changes(uid types.UID) int {
	given := max(0, len(o.assignments(uid))-2) // those from nothing to something aside
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.histories[uid]
	if h == nil {
		return given
	}
	asked := 0
	for i := 1; i < len(h.versions); i++ {
		if !sameWish(h.versions[i-1].svc, h.versions[i].svc) {
			asked++
		}
	}
	return given + asked
}

// served counts the Services whose names begin so and who have addresses.
func (o *observer) served(prefix string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	count := 0
	for _, h := range o.histories {
		svc := h.versions[len(h.versions)-1].svc
		if !h.gone && strings.HasPrefix(svc.Name, prefix) && len(addresses(svc)) > 0 {
			count++
		}
	}
	return count
}

// losses are when Services lost an address, though nobody had changed what they ask for since they were given it.
func (o *observer) losses() map[types.UID][]time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[types.UID][]time.Time{}
	for uid, h := range o.histories {
		for i := 1; i < len(h.versions); i++ {
			if lostUnasked(h.versions[:i+1]) {
				all[uid] = append(all[uid], h.versions[i].at)
			}
		}
	}
	return all
}

// lostUnasked says whether the last of the versions lacks an address that the one before had, and asks for the same as
// the one in which it was given.
func lostUnasked(versions []version) bool {
	now, before := versions[len(versions)-1].svc, versions[len(versions)-2].svc
	for _, a := range addresses(before) {
		given := slices.IndexFunc(versions, func(v version) bool { return slices.Contains(addresses(v.svc), a) })
		if !slices.Contains(addresses(now), a) && sameWish(versions[given].svc, now) {
			return true
		}
	}
	return false
}

func sameWish(a, b *corev1.Service) bool {
	return equality.Semantic.DeepEqual(a.Spec, b.Spec) && maps.Equal(a.Labels, b.Labels) && maps.Equal(wishes(a), wishes(b))
}

func wishes(svc *corev1.Service) map[string]string {
	all := maps.Clone(svc.Annotations)
	delete(all, allocatedFrom)
	return all
}

// versions are the resource versions of all Services that are there: they change with every write.
func (o *observer) versions() map[types.UID]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[types.UID]string{}
	for uid, h := range o.histories {
		if !h.gone {
			all[uid] = h.versions[len(h.versions)-1].svc.ResourceVersion
		}
	}
	return all
}
