package webhook

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// LingerTime is longer than it takes a cluster to learn that a replica takes no more
// questions: its EndpointSlice changes as it is told to end, and kube-proxies act on that
// within about a second (minSyncPeriod of their configuration). What the API server can
// ask nobody about, it accepts.
const LingerTime = 2 * time.Second

// Lingering has a server go on for LingerTime after it was told to end, and tell whoever
// asks meanwhile to ask another replica next. Register handlers with what it returns.
func Lingering(server webhook.Server) webhook.Server { return &lingering{Server: server} }

type lingering struct {
	webhook.Server
	leaving atomic.Bool
}

// Register has connections end that were kept for the next question: their last one would
// be cut short, as the server ends with what it is about.
func (l *lingering) Register(path string, hook http.Handler) {
	l.Server.Register(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.leaving.Load() {
			w.Header().Set("Connection", "close") // RFC 9112 section 9.6; over HTTP/2 it becomes a GOAWAY
		}
		hook.ServeHTTP(w, r)
	}))
}

// Start ends LingerTime after its context.
func (l *lingering) Start(ctx context.Context) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() {
		l.leaving.Store(true)
		time.AfterFunc(LingerTime, stop)
	})()
	return l.Server.Start(serving)
}
