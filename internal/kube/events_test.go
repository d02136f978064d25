package kube_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

func TestEventsReachTheirObject(t *testing.T) {
	written := make(chan corev1.Event, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var e corev1.Event
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, &e); err != nil || r.URL.Path != "/api/v1/namespaces/default/events" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		written <- e
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = w.Write(body)
	}))
	defer server.Close()
	events, err := kube.NewEvents(&rest.Config{Host: server.URL}, scheme.Scheme, "metallb-speaker", "node-a")
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
