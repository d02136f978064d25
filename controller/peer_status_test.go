package main

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// sessionsOfTor is what nodes say of their sessions with the peer tor.
type sessionsOfTor map[lb.NodeName]v1beta1.BGPSessionStateStatus

var up = v1beta1.BGPSessionStateStatus{BGPStatus: "Established", Message: "what was so before"}

func downFor(reason lb.Reason, message string) v1beta1.BGPSessionStateStatus {
	return v1beta1.BGPSessionStateStatus{BGPStatus: "Active", Reason: string(reason), Message: message}
}

func TestAPeerTellsHowItsSessionsGo(t *testing.T) {
	refused := downFor(lb.ConnectionRefused, "connection refused")
	for _, tc := range []struct {
		name        string
		nodes       []lb.NodeName
		ready       map[lb.NodeName]bool
		said        sessionsOfTor
		problems    []string
		established string
		problem     string
		reason      string // of the condition Established, which is True for SessionEstablished
		message     string
	}{
		{
			name: "all are up", nodes: []lb.NodeName{"a", "b"}, ready: map[lb.NodeName]bool{"a": true, "b": true}, said: sessionsOfTor{"a": up, "b": up},
			established: "2/2", reason: "SessionEstablished", message: "2/2 sessions are established",
		},
		{
			name: "one is down", nodes: []lb.NodeName{"a", "b"}, ready: map[lb.NodeName]bool{"a": true, "b": true}, said: sessionsOfTor{"a": up, "b": refused},
			established: "1/2", problem: "b: connection refused", reason: "ConnectionRefused", message: "1/2 sessions are established; b: connection refused",
		},
		{
			name:  "what hinders a session comes before what may pass",
			nodes: []lb.NodeName{"a", "b", "c", "d"}, ready: map[lb.NodeName]bool{"a": true, "b": true, "c": false, "d": true}, said: sessionsOfTor{"b": downFor(lb.Connecting, "old"), "c": up, "d": refused},
			established: "0/4", problem: "d: connection refused (3 more are down)", reason: "ConnectionRefused",
			message: "0/4 sessions are established; d: connection refused; c: the node is not ready: what it said last of its session does not count; " +
				"a: the speaker has not told of its session yet; b: connecting",
		},
		{
			name: "a node that is gone does not count", nodes: []lb.NodeName{"a"}, ready: map[lb.NodeName]bool{"a": true}, said: sessionsOfTor{"a": up, "z": up},
			established: "1/1", reason: "SessionEstablished",
			message: "1/1 sessions are established; z: the node is gone: what it said last of its session does not count",
		},
		{
			name:        "no node is to hold one",
			established: "0/0", problem: "no node that nodeSelectors select runs a speaker", reason: "NoSpeaker",
			message: "0/0 sessions are established; no node that nodeSelectors select runs a speaker",
		},
		{
			name: "what is wrong with the peer comes first, in one line", nodes: []lb.NodeName{"a"}, ready: map[lb.NodeName]bool{"a": true}, said: sessionsOfTor{"a": refused}, problems: []string{"one\ntwo", "three"},
			established: "0/1", problem: "one; two; three", reason: "ConnectionRefused", message: "0/1 sessions are established; a: connection refused",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			peer := &v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: "tor", Generation: 7}}
			describe(peer, tc.nodes, kube.Gathered{Ready: tc.ready, Sessions: map[lb.PeerName]map[lb.NodeName]v1beta1.BGPSessionStateStatus{"tor": tc.said}}, tc.problems)
			c := meta.FindStatusCondition(peer.Status.Conditions, "Established")
			want := metav1.Condition{
				Type: "Established", Status: metav1.ConditionFalse, ObservedGeneration: 7,
				Reason: tc.reason, Message: tc.message, LastTransitionTime: c.LastTransitionTime,
			}
			if tc.reason == "SessionEstablished" {
				want.Status = metav1.ConditionTrue
			}
			if diff := cmp.Diff(v1beta2.BGPPeerStatus{Established: tc.established, Problem: tc.problem, Conditions: []metav1.Condition{want}}, peer.Status); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAConditionDoesNotNameAllOfALargeCluster(t *testing.T) {
	var down []downSession
	for i := range 5000 {
		down = append(down, downSession{lb.NodeName(fmt.Sprintf("node-%04d", i)), lb.NoAnswer, "no answer"})
	}
	if got := every(down); len(got) > 1000 || got[len(got)-len("; and 4992 more"):] != "; and 4992 more" {
		t.Errorf("got %q", got)
	}
}
