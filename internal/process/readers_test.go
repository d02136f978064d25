package process

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

// read reads the metrics with a header Authorization.
func read(t *testing.T, r *readers, authorization string) (int, string) {
	t.Helper()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	handler, err := r.filter(logr.Discard(), metrics)
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	request.Header.Set("Authorization", authorization)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, request)
	return w.Code, w.Body.String()
}

// cluster is an API server that knows two tokens, of which one may read metrics.
func cluster() *readers {
	api := fake.NewClientset()
	api.PrependReactor("create", "tokenreviews", func(a k8stesting.Action) (bool, runtime.Object, error) {
		tr := a.(k8stesting.CreateAction).GetObject().(*authenticationv1.TokenReview).DeepCopy()
		tr.Status.Authenticated = tr.Spec.Token != "forged"
		tr.Status.User = authenticationv1.UserInfo{
			Username: tr.Spec.Token, Groups: []string{"readers of " + tr.Spec.Token},
			Extra: map[string]authenticationv1.ExtraValue{"pod": {"of " + tr.Spec.Token}},
		}
		return true, tr, nil
	})
	api.PrependReactor("create", "subjectaccessreviews", func(a k8stesting.Action) (bool, runtime.Object, error) {
		sar := a.(k8stesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		at := sar.Spec.NonResourceAttributes
		sar.Status.Allowed = sar.Spec.User == "prometheus" && sar.Spec.Groups[0] == "readers of prometheus" &&
			sar.Spec.Extra["pod"][0] == "of prometheus" && at.Path == "/metrics" && at.Verb == "get"
		return true, sar, nil
	})
	tokens, access := api.AuthenticationV1().TokenReviews(), api.AuthorizationV1().SubjectAccessReviews()
	return newReaders(func(ctx context.Context, token string) (int, string, error) {
		if token == "unlucky" {
			return 0, "", errors.New("connection refused")
		}
		return review(ctx, tokens, access, token)
	})
}

func TestWhoMayReadMetrics(t *testing.T) {
	for name, tc := range map[string]struct {
		authorization string
		status        int
		body          string
	}{
		"whom the API server lets read them":     {"Bearer prometheus", 200, "metrics"},
		"not whom it does not":                   {"Bearer stranger", 403, "stranger may not get /metrics"},
		"not whom it does not know":              {"Bearer forged", 401, "does not know this token"},
		"not who shows no token":                 {"", 401, "a bearer token is needed"},
		"not who shows an empty one":             {"Bearer ", 401, "a bearer token is needed"},
		"not who shows a password":               {"Basic cHJvbWV0aGV1czo=", 401, "a bearer token is needed"},
		"nobody while the API server cannot say": {"Bearer unlucky", 500, "does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := read(t, cluster(), tc.authorization)
			if status != tc.status || !strings.Contains(body, tc.body) {
				t.Errorf("status %d: %q, want %d: %q", status, body, tc.status, tc.body)
			}
		})
	}
}

func TestTheAPIServerIsAskedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		r := newReaders(func(context.Context, string) (int, string, error) {
			asked++
			return http.StatusOK, "", nil
		})
		for _, step := range []struct {
			wait  time.Duration
			token string
			asked int
		}{{0, "a", 1}, {59 * time.Second, "a", 1}, {0, "b", 2}, {time.Second, "a", 3}, {time.Second, "b", 3}} {
			time.Sleep(step.wait)
			read(t, r, "Bearer "+step.token)
			if asked != step.asked {
				t.Errorf("asked %d times, want %d", asked, step.asked)
			}
		}
		time.Sleep(2 * time.Minute)
		read(t, r, "Bearer c")
		if len(r.admitted) != 1 {
			t.Errorf("%d tokens are remembered, want the last alone", len(r.admitted))
		}
	})
}

func TestARefusalIsNotRemembered(t *testing.T) {
	status := http.StatusForbidden
	r := newReaders(func(context.Context, string) (int, string, error) { return status, "no", nil })
	read(t, r, "Bearer a")
	status = http.StatusOK
	if got, _ := read(t, r, "Bearer a"); got != http.StatusOK {
		t.Errorf("status %d once access is granted, want 200", got)
	}
}
