//go:build e2e

package allocation

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/e2e/lab"
)

// proxy stands between the controller and the API server and makes trouble. It shows the controller's token itself, as
// client-go sends none where there is no TLS.
type proxy struct {
	server *http.Server
	url    string

	// lag is how much later the watch of Services shows what happened; failures are how many of 100 writes of a
	// Service's status go wrong.
	lag      atomic.Int64
	failures atomic.Int64
	failed   atomic.Int64 // counts those that did
}

// startProxy listens on the control plane's host.
func startProxy(ctx context.Context, w *World) (*proxy, error) {
	config := rest.AnonymousClientConfig(Unthrottled(w.Lab))
	var err error
	if config.BearerToken, err = w.Token(ctx); err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(w.Lab.RESTConfig().Host)
	if err != nil {
		return nil, err
	}
	listener, err := w.Lab.Listen(ctx, lab.Control, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{url: "http://" + listener.Addr().String()}
	forward := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      transport,
		FlushInterval:  -1, // a watch is to be seen as it comes
		ModifyResponse: p.delayWatch,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	p.server = &http.Server{
		Handler:     http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(forward, w, r) }),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	go p.server.Serve(listener) //nolint:errcheck // that it was closed is all that it says
	return p, nil
}

func (p *proxy) serve(forward http.Handler, w http.ResponseWriter, r *http.Request) {
	if !isStatusWrite(r) {
		forward.ServeHTTP(w, r)
		return
	}
	time.Sleep(rand.N(20 * time.Millisecond))
	if rand.Int64N(100) >= p.failures.Load() {
		forward.ServeHTTP(w, r)
		return
	}
	p.failed.Add(1)
	p.fail(forward, w, r)
}

// fail does what goes wrong with a write: refused, failed, given up on, or done without an answer.
func (p *proxy) fail(forward http.Handler, w http.ResponseWriter, r *http.Request) {
	switch rand.IntN(4) {
	case 0:
		refuse(w, http.StatusConflict, "Conflict")
	case 1:
		refuse(w, http.StatusInternalServerError, "InternalError")
	case 2:
		refuse(w, http.StatusGatewayTimeout, "Timeout")
	case 3:
		forward.ServeHTTP(nowhere{}, r)
		panic(http.ErrAbortHandler)
	}
}

func isStatusWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/services/") && strings.HasSuffix(r.URL.Path, "/status")
}

// refuse answers as the API server does.
func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"trouble made by a test","reason":"`+reason+`"}`)
}

// nowhere is where an answer goes that is lost.
type nowhere struct{}

func (nowhere) Header() http.Header              { return http.Header{} }
func (nowhere) WriteHeader(int)                  {}
func (nowhere) Write(answer []byte) (int, error) { return len(answer), nil }

// delayWatch shows what a watch of Services tells as much later as the proxy's lag is at its beginning.
func (p *proxy) delayWatch(r *http.Response) error {
	q := r.Request.URL.Query()
	if lag := time.Duration(p.lag.Load()); lag > 0 && r.Request.URL.Path == "/api/v1/services" && q.Get("watch") != "" {
		r.Body = newLagging(r.Body, lag)
	}
	return nil
}

// lagging is a stream whose every piece can be read only some time after it came.
type lagging struct {
	source io.ReadCloser
	pieces chan piece
	rest   []byte
}

type piece struct {
	due  time.Time
	data []byte
}

func newLagging(source io.ReadCloser, lag time.Duration) *lagging {
	l := &lagging{source: source, pieces: make(chan piece, 10000)}
	go func() {
		defer close(l.pieces)
		for {
			data := make([]byte, 64<<10)
			n, err := source.Read(data)
			l.pieces <- piece{time.Now().Add(lag), data[:n]}
			if err != nil {
				return
			}
		}
	}()
	return l
}

func (l *lagging) Read(into []byte) (int, error) {
	for len(l.rest) == 0 {
		next, ok := <-l.pieces
		if !ok {
			return 0, io.EOF
		}
		time.Sleep(time.Until(next.due))
		l.rest = next.data
	}
	n := copy(into, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *lagging) Close() error { return l.source.Close() }

func (p *proxy) stop() error {
	err := p.server.Close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
