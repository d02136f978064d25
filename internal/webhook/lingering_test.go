package webhook

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// untilTold is a server that ends when it is told to.
type untilTold struct {
	webhook.Server
	handlers map[string]http.Handler
}

func (u untilTold) Register(path string, hook http.Handler) { u.handlers[path] = hook }

func (untilTold) Start(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func TestReviewsGoOnForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		inner := untilTold{handlers: map[string]http.Handler{}}
		server := Lingering(inner)
		server.Register("/", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		connection := func() string {
			answer := httptest.NewRecorder()
			inner.handlers["/"].ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/", nil))
			return answer.Header().Get("Connection")
		}
		ended := make(chan time.Time)
		go func() {
			if err := server.Start(ctx); err != nil {
				t.Error(err)
			}
			ended <- time.Now()
		}()
		time.Sleep(time.Minute)
		if got := connection(); got != "" {
			t.Errorf("while the server goes on, a connection is %q", got)
		}

		told := time.Now()
		stop()
		synctest.Wait()
		if got := connection(); got != "close" {
			t.Errorf("on leaving, a connection is %q, want it to close", got)
		}
		if took := (<-ended).Sub(told); took != LingerTime {
			t.Errorf("it ended %v after it was told to, want %v", took, LingerTime)
		}
	})
}
