package process

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// steadfast tries informers' requests again that find no API server, rather than let
// them fail. Informers whose requests fail wait twice as long each time, for up to a
// minute, and longer than the API server was away: all that changed would be unknown
// here for as long after its return.
type steadfast struct {
	next   http.RoundTripper
	logger log.Logger
	away   *atomic.Bool // the API server, when an informer asked last
}

// The pause before another try is drawn between the two, so that the nodes of a large
// cluster do not come all at once.
const (
	leastPause = 500 * time.Millisecond
	mostPause  = 1500 * time.Millisecond
)

// RoundTrip returns an error about an informer's request when its context ends, and
// about any other at once.
func (s steadfast) RoundTrip(r *http.Request) (*http.Response, error) {
	for {
		response, err := s.next.RoundTrip(r)
		if !fromInformer(r) {
			return response, err
		}
		if s.note(err); err == nil {
			return response, nil
		}
		select {
		case <-r.Context().Done():
			return nil, err
		case <-time.After(leastPause + rand.N(mostPause-leastPause)):
		}
	}
}

// note logs that the API server is away, or is back.
func (s steadfast) note(err error) {
	switch away := err != nil; {
	case s.away.Swap(away) == away:
	case away:
		level.Info(s.logger).Log("msg", "API server does not answer: trying again", "error", err)
	default:
		level.Info(s.logger).Log("msg", "API server answers again")
	}
}

// WrappedRoundTripper lets client-go find what it wraps (k8s.io/apimachinery/pkg/util/net).
func (s steadfast) WrappedRoundTripper() http.RoundTripper { return s.next }

// fromInformer tells watches, and lists from a version on; other readers ask for neither.
func fromInformer(r *http.Request) bool {
	q := r.URL.Query()
	return r.Method == http.MethodGet && (q.Has("watch") || q.Has("resourceVersion"))
}
