package main

import (
	"net/netip"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

func TestWhatIsWrongWithPeersIsReportedWithTheirSessions(t *testing.T) {
	named := func(name, address string) v1beta2.BGPPeer {
		return v1beta2.BGPPeer{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: name}, Spec: v1beta2.BGPPeerSpec{PeerAddress: address}}
	}
	about := func(kind, name, field, message string) lb.Problem {
		return lb.Problem{Object: lb.ObjectRef{Kind: kind, Namespace: "metallb-system", Name: name}, Field: field, Message: message}
	}
	s := &sessions{again: make(chan struct{}, 1)}
	s.judge([]v1beta2.BGPPeer{named("good", "192.0.2.1"), named("mistaken", "192.0.2.2"), named("never", "192.0.2.3"), named("nonsense", "nowhere")}, []lb.Problem{
		about("BGPAdvertisement", "good", "spec.peers", "is bad"),
		about("BGPPeer", "mistaken", "spec.myASN", "is bad"), about("BGPPeer", "mistaken", "", "is worse"),
		about("BGPPeer", "never", "spec.bfdProfile", "is missing"), about("BGPPeer", "nonsense", "spec.peerAddress", "is bad"),
	})
	select {
	case <-s.again:
	default:
		t.Error("nobody is told to look")
	}
	good, mistaken := lb.SessionState{Peer: "good", Status: lb.Established}, lb.SessionState{Peer: "mistaken", Status: lb.Established, LastError: "old"}
	got := withInvalid([]lb.SessionState{good, mistaken}, s.invalid)
	mistaken.Problem = "spec.myASN: is bad\nis worse"
	unopened := lb.SessionState{Status: lb.Idle, Down: lb.ConfigurationError}
	never, nonsense := unopened, unopened
	never.Peer, never.Address, never.LastError, never.Problem = "never", netip.MustParseAddr("192.0.2.3"), "spec.bfdProfile: is missing", "spec.bfdProfile: is missing"
	nonsense.Peer, nonsense.LastError, nonsense.Problem = "nonsense", "spec.peerAddress: is bad", "spec.peerAddress: is bad"
	equal := gocmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := gocmp.Diff([]lb.SessionState{good, mistaken, never, nonsense}, got, equal); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
}
