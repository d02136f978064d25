package main

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// judge notes which peers of this node have a problem, to be reported with their sessions.
func (s *sessions) judge(peers []v1beta2.BGPPeer, problems []lb.Problem) {
	var invalid []lb.SessionState
	for i := range peers {
		if words := wordsAbout(&peers[i], problems); words != "" {
			invalid = append(invalid, unopened(&peers[i], words))
		}
	}
	s.mu.Lock()
	s.invalid = invalid
	s.mu.Unlock()
	s.lookAgain()
}

// wordsAbout are the problems of a peer, one a line.
func wordsAbout(peer *v1beta2.BGPPeer, problems []lb.Problem) string {
	var lines []string
	for _, p := range problems {
		if p.Object == (lb.ObjectRef{Kind: "BGPPeer", Namespace: peer.Namespace, Name: peer.Name}) {
			lines = append(lines, p.Words())
		}
	}
	return strings.Join(lines, "\n")
}

// unopened is a session that is not opened because of a problem.
func unopened(peer *v1beta2.BGPPeer, problem string) lb.SessionState {
	address, _ := netip.ParseAddr(peer.Spec.PeerAddress) // which may be what is wrong
	return lb.SessionState{
		Peer: lb.PeerName(peer.Name), Address: address, Interface: peer.Spec.Interface, VRF: peer.Spec.VRF,
		Status: lb.Idle, Down: lb.ConfigurationError, LastError: problem, Problem: problem,
	}
}

// withInvalid adds to the states of sessions what is wrong with their peers, where an
// earlier version of them stands in; and the sessions of those that there is none of.
func withInvalid(states, invalid []lb.SessionState) []lb.SessionState {
	out := slices.Clone(states)
	for _, peer := range invalid {
		i := slices.IndexFunc(out, func(s lb.SessionState) bool { return s.Peer == peer.Peer })
		if i < 0 {
			out = append(out, peer)
			continue
		}
		out[i].Problem = peer.Problem
	}
	return out
}
