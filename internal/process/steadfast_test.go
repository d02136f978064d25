package process

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
)

// away is an API server that is away until a moment.
type away struct {
	until time.Time
	asked int
}

var errAway = errors.New("connection refused")

func (a *away) RoundTrip(*http.Request) (*http.Response, error) {
	a.asked++
	if time.Now().Before(a.until) {
		return nil, errAway
	}
	return &http.Response{StatusCode: http.StatusOK}, nil
}

func get(ctx context.Context, t *testing.T, server *away, method, query string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "https://10.96.0.1/api/v1/services?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = steadfast{server, log.NewNopLogger(), new(atomic.Bool)}.RoundTrip(r) //nolint:bodyclose // there is none
	return err
}

func TestInformersHearOfTheAPIServersReturnSoon(t *testing.T) {
	for _, query := range []string{"watch=true&resourceVersion=7", "resourceVersion=0&limit=500", "watch=true&sendInitialEvents=true"} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			server := &away{until: start.Add(time.Minute)}
			if err := get(t.Context(), t, server, http.MethodGet, query); err != nil {
				t.Fatal(err)
			}
			if late := time.Since(server.until); late > mostPause {
				t.Errorf("%s: %v after its return", query, late)
			}
			if most := int(time.Minute/leastPause) + 1; server.asked > most {
				t.Errorf("%s: asked %d times in a minute", query, server.asked)
			}
		})
	}
}

func TestOtherRequestsFailAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		for method, query := range map[string]string{http.MethodGet: "", http.MethodPatch: "resourceVersion=7", http.MethodPost: "watch=true"} {
			if err := get(t.Context(), t, &away{until: start.Add(time.Minute)}, method, query); !errors.Is(err, errAway) || time.Since(start) > 0 {
				t.Errorf("%s %q: %v after %v", method, query, err, time.Since(start))
			}
		}
	})
}

func TestAnInformersRequestEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := get(ctx, t, &away{until: time.Now().Add(time.Hour)}, http.MethodGet, "watch=true"); !errors.Is(err, errAway) {
			t.Errorf("it ends with %v", err)
		}
	})
}

func TestAnOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines strings.Builder
		s := steadfast{&away{until: time.Now().Add(time.Minute)}, log.NewLogfmtLogger(&lines), new(atomic.Bool)}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://10.96.0.1/api/v1/services?watch=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := s.RoundTrip(r); err != nil { //nolint:bodyclose // there is none
				t.Fatal(err)
			}
		}
		want := "level=info msg=\"API server does not answer: trying again\" error=\"connection refused\"\nlevel=info msg=\"API server answers again\"\n"
		if lines.String() != want {
			t.Errorf("it logs\n%s\nwant\n%s", lines.String(), want)
		}
	})
}
