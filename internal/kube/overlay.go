package kube

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/herald-lb/herald/internal/lb"
)

// Overlay remembers the Services that we wrote until the cache shows them, so that a
// watch that lags behind does not make us forget what we decided. The zero Overlay is
// empty. It is not safe for concurrent use.
type Overlay struct {
	written map[lb.ServiceKey]*corev1.Service
}

// Add remembers a Service as the API server stored it, unless a later one of our writes is
// remembered already.
func (o *Overlay) Add(stored *corev1.Service) {
	if o.written == nil {
		o.written = map[lb.ServiceKey]*corev1.Service{}
	}
	if known, ok := o.written[Key(stored)]; !ok || !newer(known, stored) {
		o.written[Key(stored)] = stored
	}
}

// Forget drops what was remembered of a Service that is gone.
func (o *Overlay) Forget(key lb.ServiceKey) { delete(o.written, key) }

// Newest returns the newer of what the cache shows and what we wrote.
func (o *Overlay) Newest(cached *corev1.Service) *corev1.Service {
	ours, ok := o.written[Key(cached)]
	if !ok {
		return cached
	}
	if newer(ours, cached) {
		return ours
	}
	o.Forget(Key(cached))
	return cached
}

// newer reports whether a is a later version of the same object.
func newer(a, b *corev1.Service) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return a.UID == b.UID && err == nil && order > 0
}
