package kube_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/kube"
)

func ingress(ips ...string) []corev1.LoadBalancerIngress {
	vip := corev1.LoadBalancerIPModeVIP
	var out []corev1.LoadBalancerIngress
	for _, ip := range ips {
		out = append(out, corev1.LoadBalancerIngress{IP: ip, IPMode: &vip})
	}
	return out
}

func TestWhatAServiceRecordsIsNotWrittenAgain(t *testing.T) {
	proxy := corev1.LoadBalancerIPModeProxy
	both := kube.Assignment{Addresses: addrs("192.0.2.7", "2001:db8::7"), Pool: "blue"}
	blue := map[string]string{"metallb.io/ip-allocated-from-pool": "blue", "other": "kept"}
	for name, tc := range map[string]struct {
		assignment  kube.Assignment
		ingress     []corev1.LoadBalancerIngress
		annotations map[string]string
		want        bool
	}{
		"nothing is recorded by nothing":                 {kube.Assignment{}, nil, nil, true},
		"what was written is recorded":                   {both, ingress("192.0.2.7", "2001:db8::7"), blue, true},
		"an IP mode that was left out is VIP":            {both, []corev1.LoadBalancerIngress{{IP: "192.0.2.7"}, {IP: "2001:db8::7"}}, blue, true},
		"another IP mode is another record":              {both, []corev1.LoadBalancerIngress{{IP: "192.0.2.7", IPMode: &proxy}, {IP: "2001:db8::7"}}, blue, false},
		"another order is another record":                {both, ingress("2001:db8::7", "192.0.2.7"), blue, false},
		"an address too few is another record":           {both, ingress("192.0.2.7"), blue, false},
		"an address too many is another record":          {both, ingress("192.0.2.7", "2001:db8::7", "192.0.2.8"), blue, false},
		"another address is another record":              {both, ingress("192.0.2.7", "2001:db8::8"), blue, false},
		"a host name does not belong there":              {kube.Assignment{Addresses: addrs("192.0.2.7"), Pool: "blue"}, []corev1.LoadBalancerIngress{{IP: "192.0.2.7", Hostname: "x"}}, blue, false},
		"another pool is another record":                 {both, ingress("192.0.2.7", "2001:db8::7"), map[string]string{"metallb.io/ip-allocated-from-pool": "green"}, false},
		"a pool that is not noted is to be":              {both, ingress("192.0.2.7", "2001:db8::7"), nil, false},
		"a pool that is noted without one is to go":      {kube.Assignment{}, nil, blue, false},
		"be it noted as nothing":                         {kube.Assignment{}, nil, map[string]string{"metallb.io/ip-allocated-from-pool": ""}, false},
		"addresses that are there without any are to go": {kube.Assignment{}, ingress("192.0.2.7"), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			svc := &corev1.Service{}
			svc.Status.LoadBalancer.Ingress, svc.Annotations = tc.ingress, tc.annotations
			if got := tc.assignment.Records(svc); got != tc.want {
				t.Errorf("recorded: %t, want %t", got, tc.want)
			}
		})
	}
}

// request is one that reached the API server.
type request struct{ Method, Path, Type, Body string }

// apiServer answers with one status after the other, and remembers what it was asked.
// What it takes it returns as the object that it stored.
func apiServer(t *testing.T, statuses ...int) (client.Client, *[]request) {
	t.Helper()
	var seen []request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		status := statuses[len(seen)]
		seen = append(seen, request{r.Method, r.URL.Path, r.Header.Get("Content-Type"), string(body)})
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if status != http.StatusOK {
			reasons := map[int]metav1.StatusReason{http.StatusForbidden: metav1.StatusReasonForbidden, http.StatusConflict: metav1.StatusReasonConflict}
			_ = json.NewEncoder(w).Encode(metav1.Status{Status: "Failure", Code: int32(status), Reason: reasons[status], Message: "because"})
			return
		}
		stored := map[string]any{}
		_ = json.Unmarshal(body, &stored)
		stored["apiVersion"], stored["kind"] = "v1", "Service"
		metadata := stored["metadata"].(map[string]any)
		metadata["resourceVersion"] = "101"
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			maps.DeleteFunc(annotations, func(_ string, v any) bool { return v == nil })
		}
		_ = json.NewEncoder(w).Encode(stored)
	}))
	t.Cleanup(server.Close)

	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Service"), meta.RESTScopeNamespace)
	// As JSON, so that the test can read it; what the objects say is the same.
	cfg := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	c, err := client.New(cfg, client.Options{Scheme: scheme, Mapper: mapper, HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return c, &seen
}

func TestAnAssignmentIsOnePatch(t *testing.T) {
	for name, tc := range map[string]struct {
		assignment kube.Assignment
		want       string
	}{
		"with the addresses, their mode, the pool, and whose they are": {
			kube.Assignment{Addresses: addrs("192.0.2.7", "2001:db8::7"), Pool: "blue"},
			`{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":"blue"},"resourceVersion":"100","uid":"4711"},` +
				`"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7","ipMode":"VIP"},{"ip":"2001:db8::7","ipMode":"VIP"}]}}}`,
		},
		"that takes all of it away": {
			kube.Assignment{},
			`{"metadata":{"annotations":{"metallb.io/ip-allocated-from-pool":null},"resourceVersion":"100","uid":"4711"},"status":{"loadBalancer":{"ingress":null}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, seen := apiServer(t, http.StatusOK)
			stored, err := tc.assignment.Write(t.Context(), c, version("4711", "100"))
			if err != nil {
				t.Fatal(err)
			}
			want := []request{{"PATCH", "/api/v1/namespaces/default/services/web/status", "application/merge-patch+json", tc.want}}
			if diff := cmp.Diff(want, *seen); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			if stored.ResourceVersion != "101" || !tc.assignment.Records(stored) {
				t.Errorf("returned is not what was stored: %+v", stored)
			}
		})
	}
}

func TestAnAssignmentIsAnUpdateWhereRolesForbidToPatch(t *testing.T) {
	for name, tc := range map[string]struct {
		assignment  kube.Assignment
		annotations map[string]string
		want        map[string]string
	}{
		"with other annotations left as they are": {
			kube.Assignment{Addresses: addrs("192.0.2.7"), Pool: "blue"},
			map[string]string{"other": "kept"},
			map[string]string{"other": "kept", "metallb.io/ip-allocated-from-pool": "blue"},
		},
		"on a service that had none": {
			kube.Assignment{Addresses: addrs("192.0.2.7"), Pool: "blue"},
			nil,
			map[string]string{"metallb.io/ip-allocated-from-pool": "blue"},
		},
		"that takes all of it away": {
			kube.Assignment{},
			map[string]string{"other": "kept", "metallb.io/ip-allocated-from-pool": "blue"},
			map[string]string{"other": "kept"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, seen := apiServer(t, http.StatusForbidden, http.StatusOK)
			svc := version("4711", "100")
			svc.Annotations = tc.annotations
			svc.Status.LoadBalancer.Ingress = ingress("192.0.2.1")
			before := maps.Clone(tc.annotations)
			stored, err := tc.assignment.Write(t.Context(), c, svc)
			if err != nil {
				t.Fatal(err)
			}
			if got := methods(*seen); got != "PATCH PUT" {
				t.Errorf("requests %s, want PATCH PUT", got)
			}
			if diff := cmp.Diff(tc.want, stored.Annotations); diff != "" || !tc.assignment.Records(stored) {
				t.Errorf("stored are ingress %v and annotations (-want +got):\n%s", stored.Status.LoadBalancer.Ingress, diff)
			}
			if diff := cmp.Diff(before, svc.Annotations); diff != "" || len(svc.Status.LoadBalancer.Ingress) != 1 {
				t.Errorf("the object that was read has changed: annotations (-before +after):\n%s", diff)
			}
		})
	}
}

func methods(requests []request) string {
	var out []string
	for _, r := range requests {
		out = append(out, r.Method)
	}
	return strings.Join(out, " ")
}

func TestAFailedWriteSaysWhatItWasAbout(t *testing.T) {
	c, seen := apiServer(t, http.StatusConflict)
	_, err := kube.Assignment{Addresses: addrs("192.0.2.7"), Pool: "blue"}.Write(t.Context(), c, version("4711", "100"))
	if err == nil || !strings.HasPrefix(err.Error(), "write status of service default/web: ") || !apierrors.IsConflict(err) {
		t.Errorf("error %v, want a conflict that names the service", err)
	}
	if got := methods(*seen); got != "PATCH" {
		t.Errorf("requests %s, want PATCH alone", got)
	}
}
