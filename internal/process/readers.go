package process

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authentication "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorization "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// admission is for how long a reader of the metrics is not asked about again.
const admission = time.Minute

// readers lets those read the metrics whom the API server knows by their token and lets
// get /metrics. It does what controller-runtime's filter does, which brings most of an
// API server with it: 20 MB of program.
type readers struct {
	// review says with which status a token is to be refused, and why; 200 admits it.
	review func(ctx context.Context, token string) (int, string, error)

	mu       sync.Mutex
	admitted map[[sha256.Size]byte]time.Time // until when, by a hash of the token
}

func lettingReadersIn(cfg *rest.Config, client *http.Client) (metricsserver.Filter, error) {
	tokens, err := authentication.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, err
	}
	access, err := authorization.NewForConfigAndClient(cfg, client)
	if err != nil {
		return nil, err
	}
	r := newReaders(func(ctx context.Context, token string) (int, string, error) {
		return review(ctx, tokens.TokenReviews(), access.SubjectAccessReviews(), token)
	})
	return r.filter, nil
}

func newReaders(review func(context.Context, string) (int, string, error)) *readers {
	return &readers{review: review, admitted: map[[sha256.Size]byte]time.Time{}}
}

// filter serves what handler does to those who may read it.
func (r *readers) filter(l logr.Logger, handler http.Handler) (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		status, why, err := r.admit(request)
		switch {
		case err != nil:
			l.Error(err, "reader of metrics not let in")
			http.Error(w, "the API server does not say whether you may read this", http.StatusInternalServerError)
		case status != http.StatusOK:
			http.Error(w, why, status)
		default:
			handler.ServeHTTP(w, request)
		}
	}), nil
}

func (r *readers) admit(request *http.Request) (int, string, error) {
	token, ok := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		return http.StatusUnauthorized, "a bearer token is needed to read this", nil
	}
	id := sha256.Sum256([]byte(token))
	if r.knows(id) {
		return http.StatusOK, "", nil
	}
	status, why, err := r.review(request.Context(), token)
	if err == nil && status == http.StatusOK {
		r.remember(id)
	}
	return status, why, err
}

func (r *readers) knows(id [sha256.Size]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.admitted[id])
}

func (r *readers) remember(id [sha256.Size]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(r.admitted, func(_ [sha256.Size]byte, until time.Time) bool { return !now.Before(until) })
	r.admitted[id] = now.Add(admission)
}

// review asks the API server who shows the token, and whether they may get /metrics
// (https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb).
func review(ctx context.Context, tokens authentication.TokenReviewInterface, access authorization.SubjectAccessReviewInterface, token string) (int, string, error) {
	who, err := tokens.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
	if err != nil {
		return 0, "", fmt.Errorf("have a token reviewed: %w", err)
	}
	if !who.Status.Authenticated {
		return http.StatusUnauthorized, "the API server does not know this token", nil
	}
	user := who.Status.User
	spec := authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: map[string]authorizationv1.ExtraValue{},
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
	}
	for key, values := range user.Extra {
		spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	may, err := access.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		return 0, "", fmt.Errorf("have the access of %s reviewed: %w", user.Username, err)
	}
	if !may.Status.Allowed {
		return http.StatusForbidden, user.Username + " may not get /metrics", nil
	}
	return http.StatusOK, "", nil
}
