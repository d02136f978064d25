package bgp

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/herald-lb/herald/internal/lb"
)

func newSpeaker(t testing.TB) *Speaker {
	return New(log.NewLogfmtLogger(log.NewSyncWriter(t.Output())), Config{Node: "node1"})
}

// run runs a speaker until stop is called, or the test ends.
func run(t testing.TB, s *Speaker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

func start(t testing.TB, sessions ...lb.Session) *Speaker {
	t.Helper()
	s, _ := startStoppable(t, sessions...)
	return s
}

func startStoppable(t testing.TB, sessions ...lb.Session) (s *Speaker, stop func()) {
	t.Helper()
	s = newSpeaker(t)
	s.Set(sessions)
	return s, run(t, s)
}

// await waits until the state of a peer is as wanted, and returns it.
func await(t testing.TB, s *Speaker, peer lb.PeerName, what string, wanted func(lb.SessionState) bool) lb.SessionState {
	t.Helper()
	deadline := time.After(patience)
	for {
		for _, st := range s.States() {
			if st.Peer == peer && wanted(st) {
				return st
			}
		}
		select {
		case <-s.Changed():
		case <-time.After(100 * time.Millisecond): // counters are no news
		case <-deadline:
			t.Fatalf("session with %s is not %s: %+v", peer, what, s.States())
		}
	}
}

func established(n int) func(lb.SessionState) bool {
	return func(st lb.SessionState) bool { return st.Status == lb.Established && st.Advertised == n }
}

func down(reason lb.Reason) func(lb.SessionState) bool {
	return func(st lb.SessionState) bool { return st.Down == reason }
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: ", what)
		}
	}
}

func route(prefix string, a lb.Attributes) lb.Route {
	return lb.Route{Prefix: netip.MustParsePrefix(prefix), Attributes: a}
}

func TestRouterHoldsWhatIsWanted(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500))
	med := uint32(7)
	s := start(t, lb.Session{Peer: r.peer("tor", 64500), Routes: []lb.Route{
		route("198.51.100.1/32", lb.Attributes{}),
		route("198.51.100.2/32", lb.Attributes{
			LocalPref: 300, MED: &med, Prepend: 2, Communities: []lb.Community{64500<<16 | 1, 0xffffff01},
			LargeCommunities: []lb.LargeCommunity{{Global: 64500, Local1: 2, Local2: 3}},
		}),
	}})
	await(t, s, "tor", "established", established(2))
	want := []string{
		"198.51.100.1/32 [{Origin: i} {AsPath: 64500} {Nexthop: 127.0.0.1}]",
		"198.51.100.2/32 [{Origin: i} {AsPath: 64500 64500 64500} {Nexthop: 127.0.0.1} {Med: 7} {Communities: 64500:1, no-export} {LargeCommunity: [ 64500:2:3]}]",
	}
	eventually(t, "the router has both routes", func() bool { return len(r.table()) == 2 })
	if diff := cmp.Diff(want, r.table()); diff != "" {
		t.Error("the router's table (-want +got):\n", diff)
	}
}

// A change is told, and nothing else: each step is as many UPDATEs as it has changes.
func TestChangesAreUpdatesAndNoMore(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500))
	a, b, c := route("198.51.100.1/32", lb.Attributes{}), route("198.51.100.2/32", lb.Attributes{}), route("198.51.100.3/32", lb.Attributes{})
	other := route("198.51.100.2/32", lb.Attributes{Communities: []lb.Community{64500<<16 | 9}})
	s := start(t, lb.Session{Peer: r.peer("tor", 64500), Routes: []lb.Route{a, b}})
	up := await(t, s, "tor", "established", established(2))
	eventually(t, "the first routes arrived", func() bool { return len(r.table()) == 2 })
	updates := r.updates()

	for _, step := range []struct {
		name    string
		routes  []lb.Route
		updates uint64
		table   int
	}{
		{"the same again is no news", []lb.Route{a, b}, 0, 2},
		{"another order is none either", []lb.Route{b, a}, 0, 2},
		{"a community on one", []lb.Route{a, other}, 1, 2},
		{"a third", []lb.Route{a, other, c}, 1, 3},
		{"without the first", []lb.Route{other, c}, 1, 2},
		{"without any", nil, 1, 0},
		{"all of them", []lb.Route{a, b, c}, 1, 3},
	} {
		s.Set([]lb.Session{{Peer: r.peer("tor", 64500), Routes: step.routes}})
		await(t, s, "tor", step.name, established(len(step.routes)))
		updates += step.updates
		eventually(t, step.name, func() bool { return r.updates() >= updates && len(r.table()) == step.table })
		if got := r.updates(); got != updates {
			t.Errorf("%s: %d UPDATEs in all, want %d", step.name, got, updates)
		}
	}
	if now := s.States()[0]; now.Since != up.Since || now.Messages.OpensSent != up.Messages.OpensSent {
		t.Errorf("the session did not last: %+v", now)
	}
}

// Many advertisements may come together in one route. That it does not fit into a message
// is nothing that other routes notice.
func TestARouteThatNoMessageHoldsIsLeftOut(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500))
	most, tooMany := lb.Attributes{Prepend: 10}, lb.Attributes{}
	for i := range uint32(300) {
		if 12*(i+1) <= maximumLength-512 {
			most.LargeCommunities = append(most.LargeCommunities, lb.LargeCommunity{Global: 64500, Local2: i})
		}
		tooMany.LargeCommunities = append(tooMany.LargeCommunities, lb.LargeCommunity{Global: 64500, Local2: i})
	}
	s := start(t, lb.Session{Peer: r.peer("tor", 64500), Routes: []lb.Route{
		route("198.51.100.1/32", most), route("198.51.100.2/32", tooMany), route("198.51.100.3/32", lb.Attributes{}),
	}})
	if st := await(t, s, "tor", "established", established(2)); st.Pending != 1 {
		t.Errorf("%d routes pending, want the one that does not fit", st.Pending)
	}
	eventually(t, "the router has the others", func() bool { return len(r.table()) == 2 })
}

func TestTimersAreNoReasonForANewSession(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500))
	p := r.peer("tor", 64500)
	s := start(t, lb.Session{Peer: p})
	up := await(t, s, "tor", "established", established(0))
	p.Nodes, p.BFD, p.ConnectTime, p.KeepaliveTime = []lb.NodeName{"node1"}, &lb.BFDProfile{}, 5*time.Second, 100*time.Millisecond
	s.Set([]lb.Session{{Peer: p}})
	now := await(t, s, "tor", "sending keepalives more often", func(st lb.SessionState) bool { return st.Messages.KeepalivesSent > 10 })
	if now.Since != up.Since || now.Messages.OpensSent != up.Messages.OpensSent {
		t.Errorf("the session did not last: %+v", now)
	}
	p.RouterID = netip.MustParseAddr("192.0.2.98")
	s.Set([]lb.Session{{Peer: p}})
	await(t, s, "tor", "established anew", func(st lb.SessionState) bool {
		return st.Status == lb.Established && st.Since.After(up.Since)
	})
}

// Peers may differ in all that a router of its own would have once.
func TestPeersHaveNothingInCommon(t *testing.T) {
	one := newRouter(t, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500))
	two := newRouter(t, "127.0.0.3", 64513, neighbour("127.0.0.4", 4200000000))
	p, q := one.peer("one", 64500), two.peer("two", 64501)
	q.LocalASN, q.SourceAddress, q.RouterID = 4200000000, netip.MustParseAddr("127.0.0.4"), netip.MustParseAddr("192.0.2.98")
	s := start(t, lb.Session{Peer: q, Routes: []lb.Route{route("198.51.100.2/32", lb.Attributes{})}},
		lb.Session{Peer: p, Routes: []lb.Route{route("198.51.100.1/32", lb.Attributes{})}})
	up := await(t, s, "one", "established", established(1))
	await(t, s, "two", "established", established(1))
	for r, want := range map[*router]string{
		one: "198.51.100.1/32 [{Origin: i} {AsPath: 64500} {Nexthop: 127.0.0.1}]",
		two: "198.51.100.2/32 [{Origin: i} {AsPath: 4200000000} {Nexthop: 127.0.0.4}]",
	} {
		eventually(t, want, func() bool { return slices.Equal(r.table(), []string{want}) })
	}
	if got := []lb.PeerName{s.States()[0].Peer, s.States()[1].Peer}; !slices.IsSorted(got) {
		t.Errorf("states in the order %v", got)
	}
	s.Set([]lb.Session{{Peer: p}})
	eventually(t, "the second router has nothing left", func() bool { return len(two.table()) == 0 })
	eventually(t, "the first router, too", func() bool { return len(one.table()) == 0 })
	if states := s.States(); len(states) != 1 || states[0].Messages.OpensSent != up.Messages.OpensSent {
		t.Errorf("states %+v", states)
	}
}

func TestSessionIsDownWhileThePathIs(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500))
	p := r.peer("tor", 64500)
	s := start(t, lb.Session{Peer: p, Routes: []lb.Route{route("198.51.100.1/32", lb.Attributes{})}})
	await(t, s, "tor", "established", established(1))
	s.PathDown("nobody", "no such peer")
	s.PathDown("tor", "control detection time expired")
	st := s.States()[0]
	if st.Status != lb.Idle || st.Down != lb.BFDIsDown || st.LastError != "BFD: control detection time expired" || st.Advertised != 0 || st.Pending != 1 {
		t.Errorf("right after PathDown: %+v", st)
	}
	eventually(t, "the router dropped the route", func() bool { return len(r.table()) == 0 })
	p.RouterID = netip.MustParseAddr("192.0.2.98")
	s.Set([]lb.Session{{Peer: p}})
	if st := s.States()[0]; st.Down != lb.BFDIsDown {
		t.Errorf("another configuration brought the path up: %+v", st)
	}
	s.PathUp("tor")
	await(t, s, "tor", "established again", established(0))
}

func TestWhyASessionIsDown(t *testing.T) {
	closed := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), freePort(t, "127.0.0.9"))
	for _, c := range []struct {
		name    string
		behave  func(net.Conn) // nil: nobody listens
		change  func(*lb.Peer)
		reason  lb.Reason
		says    string
		replies uint8 // the NOTIFICATION code that the router gets; 0 is none
	}{
		{name: "nobody listens", reason: lb.ConnectionRefused, says: "connection refused"},
		{
			name: "the source address is missing", reason: lb.SourceAddressMissing, says: "cannot assign requested address",
			change: func(p *lb.Peer) { p.SourceAddress = netip.MustParseAddr("203.0.113.77") },
		},
		{name: "the router closes at once", behave: func(c net.Conn) { c.Close() }, reason: lb.ConnectionLost, says: "the router"},
		{name: "the router is no router", behave: says([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), reason: lb.ProtocolError, says: "what is not BGP", replies: 1},
		{name: "an unknown message", behave: says(frame(9, 0)), reason: lb.ProtocolError, says: "unknown type 9", replies: 1},
		{name: "an oversized message", behave: says(frame(bgp.BGP_MSG_UPDATE, 4097-headerLength)), reason: lb.ProtocolError, says: "4097 bytes", replies: 1},
		{name: "a message that is too short", behave: says(frame(bgp.BGP_MSG_OPEN, 3)), reason: lb.ProtocolError, says: "22 bytes", replies: 1},
		{name: "an OPEN of zeros", behave: says(frame(bgp.BGP_MSG_OPEN, 10)), reason: lb.ProtocolError, says: "BGP version 0", replies: 2},
		{name: "a KEEPALIVE first", behave: says(keepalive), reason: lb.ProtocolError, says: "KEEPALIVE where OPEN was due", replies: 5},
		{name: "an UPDATE before the KEEPALIVE", behave: says(mustOpen(routerOffer), frame(bgp.BGP_MSG_UPDATE, 4)), reason: lb.ProtocolError, says: "UPDATE where KEEPALIVE was due", replies: 5},
		{name: "another OPEN", behave: says(mustOpen(routerOffer), keepalive, mustOpen(routerOffer)), reason: lb.ProtocolError, says: "OPEN in an established session", replies: 5},
		{
			name: "another ASN", behave: says(mustOpen(routerOffer)), change: func(p *lb.Peer) { p.ASN = 64999 },
			reason: lb.WrongASN, says: "the router's ASN is 64512, the one configured is 64999", replies: 2,
		},
		{
			name: "not internal", behave: says(mustOpen(routerOffer)), change: func(p *lb.Peer) { p.ASN, p.DynamicASN = 0, lb.InternalASN },
			reason: lb.WrongASN, says: "the one configured is the same as ours", replies: 2,
		},
		{
			name: "not external", behave: says(mustOpen(routerOffer)), change: func(p *lb.Peer) { p.ASN, p.DynamicASN, p.MyASN = 0, lb.ExternalASN, 64512 },
			reason: lb.WrongASN, says: "the one configured is another than ours", replies: 2,
		},
		{name: "a hold time of 1 s", behave: says(mustOpen(with(func(o *offer) { o.hold = time.Second }))), reason: lb.ProtocolError, says: "a hold time of 1 s", replies: 2},
		{name: "another family", behave: says(mustOpen(with(func(o *offer) { o.families = []bgp.Family{bgp.RF_EVPN} }))), reason: lb.ProtocolError, says: "without the address family", replies: 2},
		{
			name: "our own identifier", behave: says(mustOpen(with(func(o *offer) { o.routerID = netip.MustParseAddr("192.0.2.99") }))),
			change: func(p *lb.Peer) { p.MyASN = 64512 }, reason: lb.ProtocolError, says: "the BGP identifier 192.0.2.99", replies: 2,
		},
		{
			name: "an ASN that nobody has", behave: says(mustOpen(with(func(o *offer) { o.asn = 0 }))), change: func(p *lb.Peer) { p.ASN, p.DynamicASN = 0, lb.ExternalASN },
			reason: lb.WrongASN, says: "the router's ASN is 0", replies: 2,
		},
		{
			name: "a NOTIFICATION for our OPEN", behave: says(frame(bgp.BGP_MSG_NOTIFICATION, 2, bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, 6)),
			reason: lb.NotificationReceived, says: "OPEN message error: unacceptable hold time (code 2, subcode 6)",
		},
		{
			name: "a NOTIFICATION for our ASN", behave: says(frame(bgp.BGP_MSG_NOTIFICATION, 2, bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, bgp.BGP_ERROR_SUB_BAD_PEER_AS)),
			change: func(p *lb.Peer) { p.ASN, p.DynamicASN = 0, lb.ExternalASN },
			reason: lb.WrongASN, says: "the router expects another ASN than ours, which is 64500: OPEN message error: bad peer AS (code 2, subcode 2)",
		},
		{
			name: "a NOTIFICATION for our ASN, from an ASN that is known", change: func(p *lb.Peer) { p.ASN, p.DynamicASN = 0, lb.ExternalASN },
			behave: says(mustOpen(routerOffer), frame(bgp.BGP_MSG_NOTIFICATION, 2, bgp.BGP_ERROR_OPEN_MESSAGE_ERROR, bgp.BGP_ERROR_SUB_BAD_PEER_AS)),
			reason: lb.WrongASN, says: "ours, which is 64500; its own is 64512",
		},
		{
			name: "silence after an OPEN without a hold time", behave: says(mustOpen(with(func(o *offer) { o.hold = 0 }))),
			reason: lb.HoldTimerExpired, says: "silent for 200ms", replies: 4,
		},
		{
			name: "a NOTIFICATION later", behave: says(mustOpen(routerOffer), keepalive, frame(bgp.BGP_MSG_NOTIFICATION, 6, 6, 2, 3, 'b', 'y', 'e')),
			reason: lb.NotificationReceived, says: `administrative shutdown (code 6, subcode 2): "bye"`,
		},
		{name: "silence", behave: func(net.Conn) {}, reason: lb.NoAnswer, says: "accepted, and said nothing", replies: 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, replies := closed, make(chan uint8, 100)
			if c.behave != nil {
				at = fakeRouter(t, "127.0.0.9", func(conn net.Conn) {
					c.behave(conn)
					replies <- lastNotification(conn)
				})
			}
			p := peerAt("tor", at)
			if c.change != nil {
				c.change(&p)
			}
			s := newSpeaker(t)
			s.openTimeout = 200 * time.Millisecond
			s.Set([]lb.Session{{Peer: p}})
			run(t, s)
			st := await(t, s, "tor", "down", down(c.reason))
			if !strings.Contains(st.LastError, c.says) {
				t.Errorf("last error %q does not say %q", st.LastError, c.says)
			}
			if c.replies != 0 {
				if got := <-replies; got != c.replies {
					t.Errorf("the router got the NOTIFICATION code %d, want %d", got, c.replies)
				}
			}
		})
	}
}

// A router that misbehaves is nothing that other sessions notice.
func TestOtherSessionsDoNotNotice(t *testing.T) {
	good := newRouter(t, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500))
	sessions := []lb.Session{{Peer: good.peer("good", 64500), Routes: []lb.Route{route("198.51.100.1/32", lb.Attributes{})}}}
	for name, behave := range map[lb.PeerName]func(net.Conn){
		"garbage":     says([]byte(strings.Repeat("garbage", 1000))),
		"half open":   func(net.Conn) { time.Sleep(time.Second) },
		"reset":       func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
		"in a hurry":  says(mustOpen(routerOffer), keepalive, frame(bgp.BGP_MSG_NOTIFICATION, 2, 6, 4)),
		"refreshing":  says(append([][]byte{mustOpen(routerOffer), keepalive}, slices.Repeat([][]byte{frame(bgp.BGP_MSG_ROUTE_REFRESH, 4, 0, 1, 0, 1)}, 10000)...)...),
		"strange one": says(mustOpen(routerOffer), keepalive, frame(bgp.BGP_MSG_UPDATE, 400), frame(bgp.BGP_MSG_ROUTE_REFRESH, 100, 1, 2, 3)),
	} {
		sessions = append(sessions, lb.Session{Peer: peerAt(name, fakeRouter(t, "127.0.0.9", behave)), Routes: sessions[0].Routes})
	}
	s := start(t, sessions...)
	up := await(t, s, "good", "established", established(1))
	await(t, s, "in a hurry", "ended", down(lb.NotificationReceived))
	await(t, s, "garbage", "ended", down(lb.ProtocolError))
	eventually(t, "the good router has the route", func() bool { return len(good.table()) == 1 })
	if now := await(t, s, "good", "established", established(1)); now.Since != up.Since {
		t.Errorf("the good session did not last: %+v", now)
	}
}

func TestGracefulRestartEndsWithoutAWord(t *testing.T) {
	for _, graceful := range []bool{false, true} {
		last := make(chan uint8, 1)
		at := fakeRouter(t, "127.0.0.9", func(conn net.Conn) {
			if from, err := greet(conn, with(func(o *offer) { o.gracefulRestart = true })); err == nil {
				last <- lastNotification(from)
			}
		})
		p := peerAt("tor", at)
		p.GracefulRestart = graceful
		s, stop := startStoppable(t, lb.Session{Peer: p})
		await(t, s, "tor", "established", established(0))
		stop()
		want := uint8(bgp.BGP_ERROR_CEASE)
		if graceful {
			want = 0
		}
		if got := <-last; got != want {
			t.Errorf("graceful restart %v: the last NOTIFICATION has code %d, want %d", graceful, got, want)
		}
	}
}
