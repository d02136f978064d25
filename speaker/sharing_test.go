package main

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/internal/lb"
)

// A service that shares an address is decided about again when another of those that do
// changes, though it did not change itself.
func TestServicesThatShareAreDecidedAboutTogether(t *testing.T) {
	sharing := func(name string, addresses ...string) *corev1.Service {
		svc := service(name, addresses...)
		svc.Annotations = map[string]string{"metallb.io/allow-shared-ip": "key"}
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		return svc
	}
	here, away := "node-a", "node-b"
	tcp, udp := sharing("tcp", "192.0.2.9"), sharing("udp", "192.0.2.9")
	elsewhere := endpoints("udp")
	elsewhere.Endpoints[0].NodeName = &away
	others := &corev1.Node{}
	others.Name = away
	s := newTestSpeaker(t, interceptor.Funcs{}, append(ordinary()[:3], others, tcp, endpoints("tcp"), udp, elsewhere)...)
	round := func(when string, changed string, want map[string]lb.Reason) {
		t.Helper()
		s.inbox.addService(key(changed))
		s.mustRound(t)
		if diff := gocmp.Diff(want, s.reasons()); diff != "" {
			t.Errorf("verdicts %s (-want +got):\n%s", when, diff)
		}
	}
	s.inbox.addEverything()
	s.mustRound(t)
	first := s.reasons()
	if first["tcp"] != lb.NotOwner && first["udp"] != lb.NotOwner {
		t.Fatalf("both are announced from here: %v", first)
	}

	elsewhere.Endpoints[0].NodeName = &here
	if err := s.client.Update(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	round("when both are served here", "udp", map[string]lb.Reason{"tcp": lb.AnnounceFailed, "udp": lb.AnnounceFailed})

	elsewhere.Endpoints[0].NodeName = &away
	if err := s.client.Update(t.Context(), elsewhere); err != nil {
		t.Fatal(err)
	}
	round("when one has moved away", "udp", first)

	if err := s.client.Delete(t.Context(), udp); err != nil {
		t.Fatal(err)
	}
	round("when the other is gone", "udp", map[string]lb.Reason{"tcp": lb.AnnounceFailed})
}
