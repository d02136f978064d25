package kube_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/kube"
)

func version(uid, resourceVersion string) *corev1.Service {
	svc := &corev1.Service{}
	svc.Namespace, svc.Name = "default", "web"
	svc.UID, svc.ResourceVersion = types.UID(uid), resourceVersion
	return svc
}

func TestTheOverlayShowsTheNewerOfCacheAndOwnWrite(t *testing.T) {
	for name, tc := range map[string]struct {
		written, cached *corev1.Service
		// ours: what we wrote is shown; else what the cache has.
		ours bool
	}{
		"what was not written is as the cache has it": {nil, version("1", "100"), false},
		"a cache that lags behind our write":          {version("1", "101"), version("1", "100"), true},
		"a cache that lags behind by a digit":         {version("1", "100"), version("1", "99"), true},
		"a cache that shows our write":                {version("1", "101"), version("1", "101"), false},
		"a cache that shows something newer":          {version("1", "101"), version("1", "102"), false},
		"another service under the same name":         {version("1", "101"), version("2", "100"), false},
		"versions that cannot be compared":            {version("1", "101"), version("1", "x"), false},
	} {
		t.Run(name, func(t *testing.T) {
			var o kube.Overlay
			want := tc.cached
			if tc.written != nil {
				o.Add(tc.written)
			}
			if tc.ours {
				want = tc.written
			}
			if got := o.Newest(tc.cached); got != want {
				t.Errorf("shown is version %s of %s", got.ResourceVersion, got.UID)
			}
		})
	}
}

// Two writes that went out side by side may be told of in the wrong order.
func TestTheOverlayKeepsTheLastOfOwnWrites(t *testing.T) {
	var o kube.Overlay
	last := version("1", "102")
	o.Add(last)
	o.Add(version("1", "101"))
	if got := o.Newest(version("1", "100")); got != last {
		t.Errorf("shown is version %s", got.ResourceVersion)
	}
	other := version("2", "90")
	o.Add(other)
	if got := o.Newest(version("2", "80")); got != other {
		t.Errorf("shown is version %s of %s, which is another", got.ResourceVersion, got.UID)
	}
}

func TestTheOverlayForgetsWhatTheCacheHasShown(t *testing.T) {
	var o kube.Overlay
	o.Add(version("1", "101"))
	o.Newest(version("1", "102"))
	if old := version("1", "100"); o.Newest(old) != old {
		t.Error("a write is remembered though the cache had shown what came after it")
	}
}

func TestTheOverlayForgetsAServiceThatIsGone(t *testing.T) {
	var o kube.Overlay
	o.Add(version("1", "101"))
	o.Forget(kube.Key(version("1", "101")))
	if old := version("1", "100"); o.Newest(old) != old {
		t.Error("a write is remembered though the service is gone")
	}
}
