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

// Add remembers a Service as the API server stored it.
func (o *Overlay) Add(stored *corev1.Service) {
	if o.written == nil {
		o.written = map[lb.ServiceKey]*corev1.Service{}
	}
	o.written[Key(stored)] = stored
}

// Forget drops what was remembered of a Service that is gone.
func (o *Overlay) Forget(key lb.ServiceKey) { delete(o.written, key) }

// Newest returns the newer of what the cache shows and what we wrote.
func (o *Overlay) Newest(cached *corev1.Service) *corev1.Service {
	ours, ok := o.written[Key(cached)]
	if !ok {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, ours.ResourceVersion)
	if ours.UID == cached.UID && err == nil && order < 0 {
		return ours
	}
	o.Forget(Key(cached))
	return cached
}
