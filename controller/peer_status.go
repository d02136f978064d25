package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// conditionEstablished is True while every session with a peer is established that
// there should be.
const conditionEstablished = "Established"

// describe makes a peer's status say how the sessions of some nodes with it go, and what
// is wrong with the peer itself.
func describe(peer *v1beta2.BGPPeer, nodes []lb.NodeName, g kube.Gathered, problems []string) {
	name := lb.PeerName(peer.Name)
	down := downOf(name, nodes, g)
	count := fmt.Sprintf("%d/%d", len(nodes)-len(down), len(nodes))
	if len(nodes) == 0 {
		down = []downSession{{reason: lb.NoSpeaker, text: "no node that nodeSelectors select runs a speaker"}}
	}
	peer.Status.Established, peer.Status.Problem = count, worst(problems, down)

	c := kube.Condition{
		Type: conditionEstablished, Status: metav1.ConditionTrue, Reason: lb.SessionEstablished,
		Message: count + " sessions are established" + every(down) + goneOf(name, g),
	}
	if len(down) > 0 {
		c.Status, c.Reason = metav1.ConditionFalse, down[0].reason
	}
	kube.SetCondition(peer, c)
}

// downSession is a session that does not count as established, and why.
type downSession struct {
	node   lb.NodeName
	reason lb.Reason
	text   string
}

// String says it to a person, in one line.
func (d downSession) String() string {
	return oneLine(strings.TrimPrefix(string(d.node)+": "+d.text, ": "))
}

// oneLine is the text as kubectl can show it in a column.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

// downOf are the sessions with a peer that do not count as established, the worst first.
func downOf(peer lb.PeerName, nodes []lb.NodeName, g kube.Gathered) []downSession {
	var down []downSession
	for _, node := range nodes {
		session, told := g.Sessions[peer][node]
		switch {
		case !g.Ready[node]:
			down = append(down, downSession{node, lb.NodeNotReady, "the node is not ready: what it said last of its session does not count"})
		case !told:
			down = append(down, downSession{node, lb.SessionUnknown, "the speaker has not told of its session yet"})
		case session.BGPStatus != string(lb.Established):
			down = append(down, saidOf(node, session))
		}
	}
	slices.SortFunc(down, func(a, b downSession) int { return cmp.Or(gravity(b)-gravity(a), cmp.Compare(a.node, b.node)) })
	return down
}

// saidOf is what a node's speaker says of its session that is down.
func saidOf(node lb.NodeName, s v1beta1.BGPSessionStateStatus) downSession {
	if reason := lb.Reason(s.Reason); reason != "" && reason != lb.Connecting {
		return downSession{node, reason, cmp.Or(s.Message, s.Reason)}
	}
	return downSession{node, lb.Connecting, "connecting"}
}

// gravity is the greater the more a reason says of what is to be done.
func gravity(d downSession) int {
	switch d.reason {
	case lb.Connecting, lb.SessionUnknown:
		return 0
	case lb.NodeNotReady:
		return 1
	}
	return 2
}

// worst is what a person should look at first; empty where nothing is wrong.
func worst(problems []string, down []downSession) string {
	switch {
	case len(problems) > 0:
		return oneLine(strings.Join(problems, "\n"))
	case len(down) == 0:
		return ""
	case len(down) == 1:
		return down[0].String()
	}
	return fmt.Sprintf("%s (%d more are down)", down[0], len(down)-1)
}

// mostNamed is how many sessions a condition tells of: all of a large cluster would not fit.
const mostNamed = 8

// every goes on with what is to be said of each session.
func every(down []downSession) string {
	var out strings.Builder
	for _, d := range down[:min(mostNamed, len(down))] {
		fmt.Fprintf(&out, "; %s", d)
	}
	if more := len(down) - mostNamed; more > 0 {
		fmt.Fprintf(&out, "; and %d more", more)
	}
	return out.String()
}

// goneOf goes on with those whose last word on a session does not count, as there is no
// such node any more.
func goneOf(peer lb.PeerName, g kube.Gathered) string {
	var out strings.Builder
	for _, node := range slices.Sorted(maps.Keys(g.Sessions[peer])) {
		if _, exists := g.Ready[node]; !exists {
			fmt.Fprintf(&out, "; %s: the node is gone: what it said last of its session does not count", node)
		}
	}
	return out.String()
}
