package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

func TestWhetherAServiceHasAnAddress(t *testing.T) {
	held := kube.Held(service("web", 0, holding("192.0.2.1", "blue")))
	for name, tc := range map[string]struct {
		addresses int
		told      telling
		want      kube.Condition
	}{
		"it has one": {1, telling{}, kube.Condition{Status: "True", Reason: lb.IPAllocated, Message: `from pool "blue"`}},
		"it has one of the two that it prefers": {
			1, telling{reason: lb.AdditionalAssignFailed, message: "no IPv6"}, kube.Condition{Status: "True", Reason: lb.AdditionalAssignFailed, Message: "no IPv6"},
		},
		"there is none": {
			0, telling{reason: lb.AllocationFailed, message: "full"}, kube.Condition{Status: "False", Reason: lb.AllocationFailed, Message: "full"},
		},
		"its next one is another's still": {
			0, telling{}, kube.Condition{Status: "False", Reason: lb.ClearAssignment, Message: "the address that it is given is another Service's until that has let go of it"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = kube.AddressAssigned
			if diff := cmp.Diff(tc.want, addressCondition(held[:tc.addresses], "blue", tc.told)); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
		})
	}
}

// gatheredWith is a cluster of two nodes that are ready, whose sessions are as given: by
// "peer node", the state.
func gatheredWith(sessions map[session]v1beta1.BGPSessionStateStatus) kube.Gathered {
	g := kube.Gathered{
		Speakers: map[lb.NodeName]bool{"": true, "node-b": true, "node-a": true, "node-c": true},
		Ready:    map[lb.NodeName]bool{"node-a": true, "node-b": true, "node-c": false},
		Sessions: map[lb.PeerName]map[lb.NodeName]v1beta1.BGPSessionStateStatus{},
	}
	g.Objects.Nodes = []lb.Node{{Name: "node-c"}, {Name: "node-a"}, {Name: "node-b"}}
	for s, state := range sessions {
		if g.Sessions[s.peer] == nil {
			g.Sessions[s.peer] = map[lb.NodeName]v1beta1.BGPSessionStateStatus{}
		}
		g.Sessions[s.peer][s.node] = state
	}
	return g
}

func TestByWhomAServiceIsAnnounced(t *testing.T) {
	up := v1beta1.BGPSessionStateStatus{BGPStatus: "Established"}
	refused := v1beta1.BGPSessionStateStatus{BGPStatus: "Active", Reason: "connectionRefused"}
	idle := v1beta1.BGPSessionStateStatus{BGPStatus: "Idle"}
	toTor := func(node lb.NodeName) kube.Announcer {
		return kube.Announcer{Node: node, Peers: []lb.PeerName{"tor"}}
	}
	for name, tc := range map[string]struct {
		sessions map[session]v1beta1.BGPSessionStateStatus
		by       []kube.Announcer
		want     kube.Condition
	}{
		"over layer 2": {
			nil, []kube.Announcer{{Node: "node-a"}}, kube.Condition{Status: "True", Reason: lb.Announced, Message: "layer 2: node-a"},
		},
		"over BGP, from several nodes to several routers": {
			map[session]v1beta1.BGPSessionStateStatus{{"node-a", "tor"}: up, {"node-b", "tor"}: refused},
			[]kube.Announcer{toTor("node-a"), {Node: "node-b", Peers: []lb.PeerName{"spine", "tor"}}},
			kube.Condition{Status: "True", Reason: lb.Announced, Message: "BGP: node-a, node-b to spine, tor"},
		},
		"over a session that nobody tells of": {
			nil, []kube.Announcer{toTor("node-a")}, kube.Condition{Status: "True", Reason: lb.Announced, Message: "BGP: node-a to tor"},
		},
		"over layer 2, while no session is established": {
			map[session]v1beta1.BGPSessionStateStatus{{"node-a", "tor"}: idle},
			[]kube.Announcer{{Node: "node-b"}, toTor("node-a")},
			kube.Condition{Status: "True", Reason: lb.Announced, Message: "layer 2: node-b; BGP: node-a to tor"},
		},
		"over no session that is established": {
			map[session]v1beta1.BGPSessionStateStatus{{"node-a", "tor"}: refused, {"node-b", "tor"}: idle},
			[]kube.Announcer{toTor("node-a"), toTor("node-b")},
			kube.Condition{
				Status: "False", Reason: lb.SessionsDown,
				Message: "BGP: node-a, node-b to tor, and no session is established: node-a with tor (connectionRefused), node-b with tor (connecting)",
			},
		},
		"a node that is not ready does not count": {
			map[session]v1beta1.BGPSessionStateStatus{{"node-a", "tor"}: refused, {"node-c", "tor"}: up},
			[]kube.Announcer{toTor("node-a"), toTor("node-c")},
			kube.Condition{
				Status: "False", Reason: lb.SessionsDown,
				Message: "BGP: node-a to tor, and no session is established: node-a with tor (connectionRefused)",
			},
		},
		"as nodes said last that are not ready, or gone": {
			nil,
			[]kube.Announcer{{Node: "node-c"}, toTor("node-d")},
			kube.Condition{
				Status: "Unknown", Reason: lb.NodeNotReady,
				Message: "layer 2: node-c; BGP: node-d to tor, as was said last: none of these nodes is ready",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.want.Type = kube.Announced
			o := newOutlook(sightOf(gatheredWith(tc.sessions), lb.Config{}))
			if diff := cmp.Diff(tc.want, o.announced(tc.by)); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
		})
	}
}

// What nobody says is not seen: the order in which things are gathered, and who is not ready.
func TestWhatIsSeenOfWhatIsGathered(t *testing.T) {
	s := sightOf(gatheredWith(nil), lb.Config{})
	want := []lb.NodeName{"node-a", "node-b"}
	if diff := cmp.Diff(want, s.speakers); diff != "" {
		t.Errorf("speakers (-want +got):\n%s", diff)
	}
	var names []lb.NodeName
	for _, n := range s.nodes {
		names = append(names, n.Name)
	}
	if diff := cmp.Diff(append(want, "node-c"), names); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
}
