//go:build e2e

package suite

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// Prometheus' service account as a user would bind it, and one that nobody has bound.
const scrapers = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: default}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: stranger, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus-reads-herald}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "metallb-system:metrics-reader"}
subjects:
- {kind: ServiceAccount, name: prometheus, namespace: default}
`

func TestMetrics(t *testing.T) {
	ctx := begin(t)
	if err := cluster.Apply(ctx, scrapers); err != nil {
		t.Fatal(err)
	}
	served(ctx, t, "measured")
	for endpoint, metric := range endpoints(ctx, t) {
		t.Run(endpoint+" answers who may read metrics", func(t *testing.T) {
			awaitMetric(ctx, t, endpoint, metric)
		})
		t.Run(endpoint+" refuses who may not", func(t *testing.T) {
			if status, _ := scrape(ctx, t, endpoint, token(ctx, t, "stranger")); status != http.StatusForbidden {
				t.Errorf("status %d, want 403", status)
			}
		})
		t.Run(endpoint+" refuses who does not say who they are", func(t *testing.T) {
			if status, _ := scrape(ctx, t, endpoint, ""); status != http.StatusUnauthorized {
				t.Errorf("status %d, want 401", status)
			}
		})
	}
}

// endpoints are those of the controller and of a speaker, each with the beginning of a line that it must have.
func endpoints(ctx context.Context, t *testing.T) map[string]string {
	t.Helper()
	controller := must(herald.Controller(ctx, cluster))(t)
	return map[string]string{
		controller.Status.PodIP + ":9120":                      `metallb_allocator_addresses_in_use_total{pool="lan"}`,
		lab.AddressesOf(lab.NodeName(1)).V4.String() + ":9120": "metallb_k8s_client_config_loaded_bool 1",
	}
}

// awaitMetric asks again: the API server takes a moment to see a new binding.
func awaitMetric(ctx context.Context, t *testing.T, endpoint, metric string) {
	t.Helper()
	err := herald.Await(ctx, metric+" at "+endpoint, func(ctx context.Context) error {
		status, body := scrape(ctx, t, endpoint, token(ctx, t, "prometheus"))
		if status != http.StatusOK || !strings.Contains(body, "\n"+metric) {
			return fmt.Errorf("status %d, %d bytes without it", status, len(body))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func token(ctx context.Context, t *testing.T, account string) string {
	t.Helper()
	answer, err := cluster.Client().CoreV1().ServiceAccounts("default").CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

func scrape(ctx context.Context, t *testing.T, endpoint, token string) (status int, body string) {
	t.Helper()
	request := must(http.NewRequestWithContext(ctx, http.MethodGet, "https://"+endpoint+"/metrics", http.NoBody))(t)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{
		DialContext:       cluster.DialFrom(lab.Control),
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the certificate is made at each start, by default
		DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode, string(must(io.ReadAll(response.Body))(t))
}
