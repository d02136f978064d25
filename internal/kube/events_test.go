package kube_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

func TestEventsReachTheirObject(t *testing.T) {
	written := make(chan corev1.Event, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e corev1.Event
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.URL.Path != "/api/v1/namespaces/default/events" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		written <- e
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(e)
	}))
	defer server.Close()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	cfg := &rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	events, err := kube.NewEvents(cfg, scheme, "metallb-speaker", "node-a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- events.Start(ctx) }()

	events.Normal(version("4711", "100"), lb.NodeAssigned, "announcing")
	events.Warning(version("4711", "100"), lb.AnnounceFailed, "cannot")
	type told struct{ Type, Reason, Message, Object, Component, Host string }
	var got []told
	for range 2 {
		e := <-written
		got = append(got, told{e.Type, e.Reason, e.Message, e.InvolvedObject.Kind + " " + e.InvolvedObject.Name, e.Source.Component, e.Source.Host})
	}
	want := []told{
		{"Normal", "nodeAssigned", "announcing", "Service web", "metallb-speaker", "node-a"},
		{"Warning", "announceFailed", "cannot", "Service web", "metallb-speaker", "node-a"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Start: %s", err)
	}
}
