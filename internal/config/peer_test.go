package config_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

func lasting(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }

func TestPeers(t *testing.T) {
	for name, tc := range map[string]struct {
		spec func(*v1beta2.BGPPeerSpec)
		want func(*lb.Peer)
	}{
		"the least that can be said": {
			func(*v1beta2.BGPPeerSpec) {},
			func(*lb.Peer) {},
		},
		"all that can be said of an external one": {
			func(s *v1beta2.BGPPeerSpec) {
				s.LocalASN, s.SourceAddress, s.PeerPort, s.VRF, s.RouterID = 64999, "192.0.2.10", 1179, "red", "198.51.100.1"
				s.HoldTime, s.KeepaliveTime, s.ConnectTime = lasting(9*time.Second), lasting(2*time.Second), lasting(5*time.Second)
				s.Password, s.EBGPMultiHop, s.EnableGracefulRestart, s.DualStackAddressFamily = "hunter2", true, true, true
			},
			func(p *lb.Peer) {
				p.LocalASN, p.SourceAddress, p.Port, p.VRF, p.RouterID = 64999, netip.MustParseAddr("192.0.2.10"), 1179, "red", netip.MustParseAddr("198.51.100.1")
				p.HoldTime, p.KeepaliveTime, p.ConnectTime = 9*time.Second, 2*time.Second, 5*time.Second
				p.Password, p.MultiHop, p.GracefulRestart, p.DualStack = "hunter2", true, true, true
			},
		},
		"an internal one, one hop away": {
			func(s *v1beta2.BGPPeerSpec) { s.PeerASN, s.TTLSecurity = 64512, true },
			func(p *lb.Peer) { p.ASN, p.TTLSecurity = 64512, true },
		},
		"whatever ASN the router has, as long as it is another": {
			func(s *v1beta2.BGPPeerSpec) { s.PeerASN, s.DynamicASN = 0, v1beta2.DynamicASNExternal },
			func(p *lb.Peer) { p.ASN, p.DynamicASN = 0, lb.ExternalASN },
		},
		"by interface": {
			func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.Interface = "", "eth1" },
			func(p *lb.Peer) { p.Address, p.Interface = netip.Addr{}, "eth1" },
		},
		"IPv6": {
			func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.SourceAddress = "2001:db8::1", "2001:db8::2" },
			func(p *lb.Peer) {
				p.Address, p.SourceAddress = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
			},
		},
		"a hold time alone leaves the keepalive time to what is negotiated": {
			func(s *v1beta2.BGPPeerSpec) { s.HoldTime = lasting(30 * time.Second) },
			func(p *lb.Peer) { p.HoldTime = 30 * time.Second },
		},
		"a keepalive time alone makes a hold time of three": {
			func(s *v1beta2.BGPPeerSpec) { s.KeepaliveTime = lasting(10 * time.Second) },
			func(p *lb.Peer) { p.HoldTime, p.KeepaliveTime = 30*time.Second, 10*time.Second },
		},
		"parts of a second are dropped from the hold time, which the keepalive time then keeps to": {
			func(s *v1beta2.BGPPeerSpec) {
				s.HoldTime, s.KeepaliveTime = lasting(3900*time.Millisecond), lasting(3500*time.Millisecond)
			},
			func(p *lb.Peer) { p.HoldTime, p.KeepaliveTime = 3*time.Second, 3*time.Second },
		},
		"no hold time at all": {
			func(s *v1beta2.BGPPeerSpec) { s.HoldTime = lasting(999 * time.Millisecond) },
			func(p *lb.Peer) { p.HoldTime = 0 },
		},
		"a keepalive time of 0 says nothing": {
			func(s *v1beta2.BGPPeerSpec) { s.KeepaliveTime = lasting(0) },
			func(*lb.Peer) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantConfig(t,
				config.Objects{Peers: []v1beta2.BGPPeer{peer("tor", "192.0.2.1", spec(tc.spec))}},
				lb.Config{Peers: []lb.Peer{compiled("tor", "192.0.2.1", tc.want)}},
			)
		})
	}
}

func TestProblemsOfPeers(t *testing.T) {
	for name, tc := range map[string]struct {
		spec           func(*v1beta2.BGPPeerSpec)
		field, message string
	}{
		"no ASN of ours":             {func(s *v1beta2.BGPPeerSpec) { s.MyASN = 0 }, "spec.myASN", "missing local ASN: it must be 1 to 4294967295"},
		"no ASN of the router":       {func(s *v1beta2.BGPPeerSpec) { s.PeerASN = 0 }, "spec.peerASN", "one of peerASN and dynamicASN must be set, and not both"},
		"both kinds of ASN":          {func(s *v1beta2.BGPPeerSpec) { s.DynamicASN = "internal" }, "spec.peerASN", "one of peerASN and dynamicASN must be set, and not both"},
		"an ASN of no kind":          {func(s *v1beta2.BGPPeerSpec) { s.PeerASN, s.DynamicASN = 0, "any" }, "spec.dynamicASN", `invalid dynamicASN "any": it must be internal or external`},
		"no address":                 {func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "" }, "spec.peerAddress", "one of peerAddress and interface must be set, and not both"},
		"address and interface":      {func(s *v1beta2.BGPPeerSpec) { s.Interface = "eth1" }, "spec.peerAddress", "one of peerAddress and interface must be set, and not both"},
		"a name for an address":      {func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "tor" }, "spec.peerAddress", `invalid BGPPeer address "tor"`},
		"an address of many":         {func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "224.0.0.5" }, "spec.peerAddress", `invalid BGPPeer address "224.0.0.5"`},
		"an address of nobody":       {func(s *v1beta2.BGPPeerSpec) { s.PeerAddress = "::" }, "spec.peerAddress", `invalid BGPPeer address "::"`},
		"a network for a source":     {func(s *v1beta2.BGPPeerSpec) { s.SourceAddress = "192.0.2.0/24" }, "spec.sourceAddress", `invalid source address "192.0.2.0/24"`},
		"a source of the other kind": {func(s *v1beta2.BGPPeerSpec) { s.SourceAddress = "2001:db8::2" }, "spec.sourceAddress", "source address 2001:db8::2 and the router's address are of different families"},
		"IPv4 without addresses": {
			func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.Interface, s.SourceAddress = "", "eth1", "192.0.2.2" },
			"spec.sourceAddress", "source address 192.0.2.2 and the router's address are of different families",
		},
		"an identifier that is none": {func(s *v1beta2.BGPPeerSpec) { s.RouterID = "1" }, "spec.routerID", `invalid router ID "1"`},
		"an identifier of zeros":     {func(s *v1beta2.BGPPeerSpec) { s.RouterID = "0.0.0.0" }, "spec.routerID", `invalid router ID "0.0.0.0"`},
		"an identifier that is IPv6": {func(s *v1beta2.BGPPeerSpec) { s.RouterID = "2001:db8::1" }, "spec.routerID", `invalid router ID "2001:db8::1": it must be written as an IPv4 address`},
		"a hold time too short":      {func(s *v1beta2.BGPPeerSpec) { s.HoldTime = lasting(2999 * time.Millisecond) }, "spec.holdTime", "invalid hold time 2.999s: it must be 0 or 3s to 65535s"},
		"a hold time too long":       {func(s *v1beta2.BGPPeerSpec) { s.HoldTime = lasting(65536 * time.Second) }, "spec.holdTime", "invalid hold time 18h12m16s: it must be 0 or 3s to 65535s"},
		"a hold time before now":     {func(s *v1beta2.BGPPeerSpec) { s.HoldTime = lasting(-90 * time.Second) }, "spec.holdTime", "invalid hold time -1m30s: it must be 0 or 3s to 65535s"},
		"a hold time made too short": {func(s *v1beta2.BGPPeerSpec) { s.KeepaliveTime = lasting(900 * time.Millisecond) }, "spec.holdTime", "invalid hold time 2.7s: it must be 0 or 3s to 65535s"},
		"signs of life too rare": {func(s *v1beta2.BGPPeerSpec) {
			s.HoldTime, s.KeepaliveTime = lasting(9*time.Second), lasting(10*time.Second)
		}, "spec.keepaliveTime", "invalid keepalive time 10s: it must be 0 to the hold time 9s"},
		"signs of life before now":     {func(s *v1beta2.BGPPeerSpec) { s.KeepaliveTime = lasting(-time.Second) }, "spec.keepaliveTime", "invalid keepalive time -1s: it must be 0 to the hold time 1m30s"},
		"an attempt every millisecond": {func(s *v1beta2.BGPPeerSpec) { s.ConnectTime = lasting(time.Millisecond) }, "spec.connectTime", "invalid connect time 1ms: it must be 1s to 65535s, in whole seconds"},
		"an attempt a day":             {func(s *v1beta2.BGPPeerSpec) { s.ConnectTime = lasting(24 * time.Hour) }, "spec.connectTime", "invalid connect time 24h0m0s: it must be 1s to 65535s, in whole seconds"},
		"parts of a second":            {func(s *v1beta2.BGPPeerSpec) { s.ConnectTime = lasting(1500 * time.Millisecond) }, "spec.connectTime", "invalid connect time 1.5s: it must be 1s to 65535s, in whole seconds"},
		"many hops to an internal one": {func(s *v1beta2.BGPPeerSpec) { s.PeerASN, s.EBGPMultiHop = 64512, true }, "spec.ebgpMultiHop", "ebgpMultiHop is for external peers: peerASN must differ from myASN"},
		"one hop and many":             {func(s *v1beta2.BGPPeerSpec) { s.EBGPMultiHop, s.TTLSecurity = true, true }, "spec.ttlSecurity", "ttlSecurity and ebgpMultiHop are mutually exclusive: ttlSecurity is for a router that is one hop away"},
		"two passwords":                {func(s *v1beta2.BGPPeerSpec) { s.Password, s.PasswordSecret.Name = "hunter2", "tor" }, "spec.password", "password and passwordSecret are mutually exclusive"},
		"a password too long":          {func(s *v1beta2.BGPPeerSpec) { s.Password = strings.Repeat("x", 81) }, "spec.password", "the password has 81 bytes, of which TCP takes 80 at most"},
		"a node selector given twice":  {func(s *v1beta2.BGPPeerSpec) { s.NodeSelectors = selecting("a=b", "a=b") }, "spec.nodeSelectors[1]", `duplicate definition of selector "a=b"`},
	} {
		t.Run(name, func(t *testing.T) {
			wantConfig(t,
				config.Objects{Peers: []v1beta2.BGPPeer{peer("bad", "192.0.2.1", spec(tc.spec)), peer("good", "192.0.2.9")}},
				lb.Config{Peers: []lb.Peer{compiled("good", "192.0.2.9")}},
				problem("BGPPeer bad", tc.field, tc.message))
		})
	}
}

func TestAMissingBFDProfile(t *testing.T) {
	wantConfig(t,
		config.Objects{Peers: []v1beta2.BGPPeer{peer("tor", "192.0.2.1", watchedBy("fast"))}},
		lb.Config{},
		verbatim("BGPPeer tor", "spec.bfdProfile", "peer tor referencing non existing bfd profile fast"))
}

func TestPasswordsInSecrets(t *testing.T) {
	basicAuth := func(password lb.Secret) []config.Secret {
		return []config.Secret{{Name: "other"}, {Name: "tor-password", Type: "kubernetes.io/basic-auth", Password: password}}
	}
	for name, tc := range map[string]struct {
		secrets []config.Secret
		want    lb.Secret
		message string
	}{
		"the password is that of the Secret": {secrets: basicAuth("hunter2"), want: "hunter2"},
		"no such Secret":                     {secrets: nil, message: "parsing peer tor secret ref not found for peer config \"metallb-system\"/\"tor\"\nfailed to parse peer tor password secret"},
		"a Secret of another type":           {secrets: []config.Secret{{Name: "tor-password", Type: "Opaque", Password: "hunter2"}}, message: "parsing peer tor secret type mismatch on \"metallb-system\"/\"tor-password\", type \"kubernetes.io/basic-auth\" is expected \nfailed to parse peer tor password secret"},
		"a Secret without a password":        {secrets: basicAuth(""), message: "parsing peer tor secret \"metallb-system\"/\"tor-password\" has no key \"password\"\nfailed to parse peer tor password secret"},
	} {
		t.Run(name, func(t *testing.T) {
			c, problems := config.Parse(config.Objects{Peers: []v1beta2.BGPPeer{peer("tor", "192.0.2.1", passwordIn("tor-password"))}, Secrets: tc.secrets})
			if tc.message == "" {
				want := []lb.Peer{compiled("tor", "192.0.2.1", func(p *lb.Peer) { p.Password = tc.want })}
				if diff := cmp.Diff(want, c.Peers, byValue); diff != "" || len(problems) > 0 {
					t.Errorf("peers (-want +got):\n%sproblems: %v", diff, problems)
				}
				return
			}
			want := []lb.Problem{verbatim("BGPPeer tor", "spec.passwordSecret", tc.message)}
			if diff := cmp.Diff(want, problems); diff != "" || len(c.Peers) > 0 {
				t.Errorf("problems (-want +got):\n%speers: %v", diff, c.Peers)
			}
		})
	}
}

func TestNoProblemTellsAPassword(t *testing.T) {
	long := "hunter2" + strings.Repeat("x", 80)
	_, problems := config.Parse(config.Objects{
		Peers: []v1beta2.BGPPeer{
			peer("a", "nonsense", spec(func(s *v1beta2.BGPPeerSpec) { s.Password = long })),
			peer("b", "192.0.2.2", passwordIn("wrong")),
			peer("c", "192.0.2.3", passwordIn("long")),
			peer("d", "192.0.2.4", passwordIn("long"), spec(func(s *v1beta2.BGPPeerSpec) { s.Password = "hunter2" })),
		},
		Secrets: []config.Secret{{Name: "wrong", Type: "Opaque", Password: "hunter2"}, {Name: "long", Type: "kubernetes.io/basic-auth", Password: lb.Secret(long)}},
	})
	if text := fmt.Sprintf("%v %+v %#v", problems, problems, problems); len(problems) != 5 || strings.Contains(text, "hunter2") {
		t.Errorf("%d problems, want 5 and the password in none: %s", len(problems), text)
	}
}

func TestOneRouterHasOnePeerOnANode(t *testing.T) {
	nodes := []lb.Node{node("a", "zone=z1"), node("b", "zone=z2")}
	twice := func(what string) string {
		return fmt.Sprintf("peer %s already exists, FRR mode doesn't support duplicate BGPPeers selecting the same node", what)
	}
	byInterface := spec(func(s *v1beta2.BGPPeerSpec) { s.PeerAddress, s.Interface = "", "eth1" })
	old := peerCreated(-time.Hour)
	for name, tc := range map[string]struct {
		peers    []v1beta2.BGPPeer
		nodes    []lb.Node
		inForce  []lb.PeerName
		problems []lb.Problem
	}{
		"the younger one is too many": {
			[]v1beta2.BGPPeer{peer("x", "192.0.2.1"), peer("y", "192.0.2.1", old)},
			nodes,
			[]lb.PeerName{"y"},
			[]lb.Problem{verbatim("BGPPeer x", "spec.peerAddress", twice("192.0.2.1"))},
		},
		"in another spelling": {
			[]v1beta2.BGPPeer{peer("x", "2001:db8::1"), peer("y", "2001:DB8:0::1")},
			nodes,
			[]lb.PeerName{"x"},
			[]lb.Problem{verbatim("BGPPeer y", "spec.peerAddress", twice("2001:db8::1"))},
		},
		"by interface": {
			[]v1beta2.BGPPeer{peer("x", "", byInterface), peer("y", "", byInterface)},
			nodes,
			[]lb.PeerName{"x"},
			[]lb.Problem{verbatim("BGPPeer y", "spec.peerAddress", twice("eth1"))},
		},
		"on some of their nodes": {
			[]v1beta2.BGPPeer{peer("x", "192.0.2.1"), peer("y", "192.0.2.1", from("zone=z2"))},
			nodes,
			[]lb.PeerName{"x"},
			[]lb.Problem{verbatim("BGPPeer y", "spec.peerAddress", twice("192.0.2.1"))},
		},
		"not on different nodes": {
			[]v1beta2.BGPPeer{peer("x", "192.0.2.1", from("zone=z1")), peer("y", "192.0.2.1", from("zone=z2"))},
			nodes,
			[]lb.PeerName{"x", "y"},
			nil,
		},
		"perhaps, while no node is known": {
			[]v1beta2.BGPPeer{peer("x", "192.0.2.1", from("zone=z1")), peer("y", "192.0.2.1", from("zone=z2"))},
			nil,
			[]lb.PeerName{"x"},
			[]lb.Problem{verbatim("BGPPeer y", "spec.peerAddress", twice("192.0.2.1"))},
		},
		"not in different VRFs": {
			[]v1beta2.BGPPeer{peer("x", "192.0.2.1"), peer("y", "192.0.2.1", spec(func(s *v1beta2.BGPPeerSpec) { s.VRF = "red" }))},
			nodes,
			[]lb.PeerName{"x", "y"},
			nil,
		},
		"but two routers may know us by different numbers": {
			[]v1beta2.BGPPeer{
				peer("x", "192.0.2.1", spec(func(s *v1beta2.BGPPeerSpec) { s.RouterID = "192.0.2.10" })),
				peer("y", "192.0.2.2", spec(func(s *v1beta2.BGPPeerSpec) { s.MyASN, s.RouterID = 64599, "192.0.2.11" })),
			},
			nodes,
			[]lb.PeerName{"x", "y"},
			nil,
		},
		"one that has a problem itself takes no router from another": {
			[]v1beta2.BGPPeer{peer("x", "192.0.2.1", watchedBy("gone"), old), peer("y", "192.0.2.1")},
			nodes,
			[]lb.PeerName{"y"},
			[]lb.Problem{verbatim("BGPPeer x", "spec.bfdProfile", "peer x referencing non existing bfd profile gone")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, problems := config.Parse(config.Objects{Peers: tc.peers, Nodes: tc.nodes})
			if diff := cmp.Diff(tc.inForce, peerNames(c)); diff != "" {
				t.Errorf("peers in force (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.problems, problems, byValue); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func peerNames(c lb.Config) []lb.PeerName {
	var out []lb.PeerName
	for _, p := range c.Peers {
		out = append(out, p.Name)
	}
	return out
}

// A speaker is not bothered with what is wrong elsewhere.
func TestANodeHasItsOwnConfiguration(t *testing.T) {
	o := config.Objects{
		Nodes: []lb.Node{node("a", "zone=z1"), node("b", "zone=z2")},
		Peers: []v1beta2.BGPPeer{
			peer("everywhere", "192.0.2.1"),
			peer("in-z1", "192.0.2.2", from("zone=z1")),
			peer("in-z2", "192.0.2.3", from("zone=z2")),
			peer("bad-in-z2", "nonsense", from("zone=z2"), passwordIn("gone")),
			peer("bad-everywhere", "nonsense"),
			peer("who-knows-where", "192.0.2.4", spec(func(s *v1beta2.BGPPeerSpec) { s.NodeSelectors = nonsense() })),
		},
		BGPAdvertisements: []v1beta1.BGPAdvertisement{
			bgp("bad-in-z2", v1beta1.BGPAdvertisementSpec{NodeSelectors: selecting("zone=z2"), Communities: []string{"gone"}}),
			bgp("in-z1", v1beta1.BGPAdvertisementSpec{NodeSelectors: selecting("zone=z1")}),
			bgp("in-z2", v1beta1.BGPAdvertisementSpec{NodeSelectors: selecting("zone=z2")}),
		},
		Node: "a",
	}
	c, problems := config.Parse(o)
	if diff := cmp.Diff([]lb.PeerName{"everywhere", "in-z1"}, peerNames(c)); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
	if len(c.BGPAdvertisements) != 1 || c.BGPAdvertisements[0].Name != "in-z1" {
		t.Errorf("advertisements %v, want in-z1", c.BGPAdvertisements)
	}
	for object, want := range map[string][]lb.NodeName{
		"BGPPeer everywhere":         {"a", "b"},
		"BGPPeer in-z1":              {"a"},
		"BGPPeer who-knows-where":    {"a", "b"},
		"BGPAdvertisement bad-in-z2": {"b"},
		"BFDProfile fast":            {"a", "b"},
	} {
		if diff := cmp.Diff(want, o.Selected(problem(object, "", "").Object)); diff != "" {
			t.Errorf("nodes of %s (-want +got):\n%s", object, diff)
		}
	}
	want := []lb.Problem{
		problem("BGPPeer bad-everywhere", "spec.peerAddress", `invalid BGPPeer address "nonsense"`),
		problem("BGPPeer who-knows-where", "spec.nodeSelectors[0]", `invalid label selector: "Resembles" is not a valid label selector operator`),
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
