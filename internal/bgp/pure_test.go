package bgp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"golang.org/x/net/ipv6"

	"github.com/herald-lb/herald/internal/lb"
)

// decode reads UPDATEs back with GoBGP's decoder into "+prefix" and "-prefix".
func decode(t *testing.T, messages func(func([]byte, error) bool)) (out []string) {
	t.Helper()
	for m, err := range messages {
		if err != nil {
			t.Fatal(err)
		}
		if len(m) > maximumLength {
			t.Fatalf("a message of %d bytes", len(m))
		}
		parsed, err := bgp.ParseBGPMessage(m)
		if err != nil {
			t.Fatal(err)
		}
		u := parsed.Body.(*bgp.BGPUpdate)
		list := func(sign string, routes []bgp.PathNLRI) {
			for _, r := range routes {
				out = append(out, sign+r.NLRI.String())
			}
		}
		list("-", u.WithdrawnRoutes)
		list("+", u.NLRI)
		for _, a := range u.PathAttributes {
			switch a := a.(type) {
			case *bgp.PathAttributeMpReachNLRI:
				list("+", a.Value)
			case *bgp.PathAttributeMpUnreachNLRI:
				list("-", a.Value)
			}
		}
	}
	slices.Sort(out)
	return out
}

var bothWays = encoder{
	asn: 64500, terms: terms{fourOctets: true, families: bothFamilies},
	nextHop4: netip.MustParseAddr("192.0.2.1"), nextHop6: netip.MustParseAddr("2001:db8::1"),
}

func randomRoutes(r *rand.Rand) (routes []lb.Route) {
	seen := map[netip.Prefix]bool{}
	for range r.IntN(40) {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(r.IntN(32))}), 32)
		if r.IntN(2) == 0 {
			p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(r.IntN(32))}), 128)
		}
		if !seen[p] {
			seen[p] = true
			routes = append(routes, lb.Route{Prefix: p, Attributes: lb.Attributes{Prepend: r.IntN(3), Communities: []lb.Community{lb.Community(r.IntN(3))}}})
		}
	}
	return sorted(routes)
}

// Whatever was held before, what is sent makes of it what is wanted.
func TestMessagesTurnBeforeIntoAfter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		before, after := randomRoutes(r), randomRoutes(r)
		held := map[string]bool{}
		for _, x := range before {
			held[x.Prefix.String()] = true
		}
		gone, changed := changes(before, after)
		for _, m := range decode(t, bothWays.messages(gone, changed)) {
			if m[0] == '-' && !held[m[1:]] {
				t.Errorf("%s is withdrawn, but was not held", m[1:])
			}
			held[m[1:]] = m[0] == '+'
		}
		want := map[string]bool{}
		for _, x := range after {
			want[x.Prefix.String()] = true
		}
		for p, is := range held {
			if is != want[p] {
				t.Errorf("%s: held %v, wanted %v", p, is, want[p])
			}
		}
		if again, more := changes(after, after); len(again)+len(more) > 0 {
			t.Errorf("the same is no news: %v, %v", again, more)
		}
	}
}

func TestManyRoutesFitIntoFewMessages(t *testing.T) {
	var routes []lb.Route
	for i := range 5000 {
		routes = append(routes, lb.Route{Prefix: netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)}), 128), Attributes: lb.Attributes{
			LocalPref: 7, Prepend: 255, Communities: slices.Repeat([]lb.Community{1}, 63),
		}})
	}
	n := 0
	for _, err := range bothWays.messages(nil, routes) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n > 50 {
		t.Errorf("%d messages", n)
	}
	if got := decode(t, bothWays.messages(nil, routes)); len(got) != len(routes) {
		t.Errorf("%d of %d routes arrive", len(got), len(routes))
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		name    string
		encoder encoder
		prepend int
		want    string
	}{
		{"external", encoder{asn: 64500, terms: terms{fourOctets: true}}, 0, "[{AsPath: 64500}]"},
		{"prepended", encoder{asn: 4200000000, terms: terms{fourOctets: true}}, 1, "[{AsPath: 4200000000 4200000000}]"},
		{"internal", encoder{asn: 64500, terms: terms{fourOctets: true, internal: true}}, 3, "[{AsPath: }]"},
		{"a router of 2 octets, a number of 2", encoder{asn: 64500}, 0, "[{AsPath: 64500}]"},
		{"a router of 2 octets, a number of 4", encoder{asn: 4200000000}, 0, "[{AsPath: 23456} 4200000000]"},
	} {
		if got := fmt.Sprint(c.encoder.path(c.prepend)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	longest := encoder{asn: 1, terms: terms{fourOctets: true}}.path(255)[0].(*bgp.PathAttributeAsPath)
	if len(longest.Value) != 2 || len(longest.Value[0].GetAS()) != 255 || len(longest.Value[1].GetAS()) != 1 {
		t.Errorf("256 numbers in %d segments", len(longest.Value))
	}
}

func TestSettle(t *testing.T) {
	ours := offer{
		asn: 64500, routerID: netip.MustParseAddr("192.0.2.99"), hold: 90 * time.Second, families: bothFamilies,
		extendedNextHop: true, gracefulRestart: true, restarting: true,
	}
	peer := lb.Peer{MyASN: 64500, DynamicASN: lb.ExternalASN}
	for _, c := range []struct {
		name   string
		theirs offer
		want   terms
	}{
		{
			"less on both sides", with(func(o *offer) { o.asn, o.hold = 4200000000, 30*time.Second }),
			terms{asn: 4200000000, hold: 30 * time.Second, families: []bgp.Family{bgp.RF_IPv4_UC}, fourOctets: true},
		},
		{
			"the same", with(func(o *offer) {
				o.hold, o.families, o.extendedNextHop, o.gracefulRestart = 300*time.Second, bothFamilies, true, true
			}),
			terms{
				asn: 64512, hold: 90 * time.Second, families: bothFamilies, fourOctets: true, extendedNextHop: true,
				endOfRIB: true, gracefulRestart: true,
			},
		},
		{"no hold time", with(func(o *offer) { o.hold = 0 }), terms{asn: 64512, families: []bgp.Family{bgp.RF_IPv4_UC}, fourOctets: true}},
	} {
		open, err := parseOpen(mustOpen(c.theirs)[headerLength:])
		if err != nil {
			t.Fatal(err)
		}
		got, failed := ours.settle(open, peer)
		if failed != nil {
			t.Errorf("%s: %s", c.name, failed.text)
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(terms{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// networks are addresses of ours.
func networks(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func TestTheKernelsAddresses(t *testing.T) {
	all, err := kernelAddresses()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all, func(a addresses) bool { return a.name == "lo" && slices.Contains(a.addrs, networks("127.0.0.1/8")[0]) }) {
		t.Errorf("no 127.0.0.1/8 on lo in %v", all)
	}
}

func TestNextHops(t *testing.T) {
	addr := netip.MustParseAddr
	s := &session{speaker: &Speaker{interfaces: func() ([]addresses, error) {
		return []addresses{
			{"lo", networks("127.0.0.1/8", "::1/128")},
			{"lan0", networks("192.0.2.1/24", "fe80::1/64", "2001:db8::1/64")},
			{"v6only", networks("fe80::2/64", "2001:db8:2::1/64")},
		}, nil
	}}}
	for _, c := range []struct {
		name, local, link  string
		extended           bool
		nextHop4, nextHop6 string
	}{
		{"over IPv4", "192.0.2.1", "", false, "192.0.2.1", "2001:db8::1"},
		{"over IPv6", "2001:db8::1", "", true, "192.0.2.1", "2001:db8::1"},
		{"without IPv4 on the link, RFC 8950", "2001:db8:2::1", "", true, "2001:db8:2::1", "2001:db8:2::1"},
		{"without IPv4 on the link", "2001:db8:2::1", "", false, "invalid IP", "2001:db8:2::1"},
		{"unnumbered, RFC 8950", "fe80::1%lan0", "lan0", true, "fe80::1%lan0", "fe80::1%lan0"},
		{"unnumbered", "fe80::1%lan0", "lan0", false, "192.0.2.1", "fe80::1%lan0"},
	} {
		s.wanted.Peer.Interface = c.link
		tcp := net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr(c.local), 179))
		e := s.encoder(64500, terms{families: bothFamilies, extendedNextHop: c.extended}, fakeConn{local: tcp})
		if e.nextHop4.String() != c.nextHop4 || e.nextHop6.String() != c.nextHop6 {
			t.Errorf("%s: %s and %s, want %s and %s", c.name, e.nextHop4, e.nextHop6, c.nextHop4, c.nextHop6)
		}
	}
}

type fakeConn struct {
	net.Conn
	local net.Addr
}

func (c fakeConn) LocalAddr() net.Addr  { return c.local }
func (c fakeConn) RemoteAddr() net.Addr { return c.local }

func TestRouterIDs(t *testing.T) {
	s := New(nil, Config{Node: "node1"})
	s.interfaces = func() ([]addresses, error) {
		return []addresses{{"lan0", networks("192.0.2.1/24", "2001:db8::1/64")}}, nil
	}
	own := lb.Peer{RouterID: netip.MustParseAddr("192.0.2.50")}
	for _, c := range []struct {
		peer        lb.Peer
		local, want string
	}{
		{own, "192.0.2.1", "192.0.2.50"},
		{lb.Peer{}, "192.0.2.1", "192.0.2.1"},
		{lb.Peer{}, "2001:db8::1", "192.0.2.1"},
		{lb.Peer{}, "2001:db8:3::1", "15.78.40.117"},
		{lb.Peer{RouterID: netip.MustParseAddr("2001:db8::9")}, "192.0.2.1", "192.0.2.1"},
	} {
		if got := s.routerID(c.peer, netip.MustParseAddr(c.local)); got.String() != c.want {
			t.Errorf("from %s: %s, want %s", c.local, got, c.want)
		}
	}
}

func TestWhatKeepsPacketsFromARouter(t *testing.T) {
	s := New(nil, Config{})
	s.interfaces = func() ([]addresses, error) {
		return []addresses{{"lan0", networks("192.0.2.1/24", "fe80::1/64")}}, nil
	}
	external := lb.Peer{MyASN: 64500, ASN: 64512}
	far := external
	far.MultiHop = true
	const hint = "is on none of this node's networks"
	for _, c := range []struct {
		name, router string
		peer         lb.Peer
		err          error
		want         bool
	}{
		{"an external router further away than packets go", "198.51.100.1", external, os.ErrDeadlineExceeded, true},
		{"one that no router in between finds", "198.51.100.1", external, syscall.EHOSTUNREACH, true},
		{"one in our network", "192.0.2.2", external, os.ErrDeadlineExceeded, false},
		{"one on our link", "fe80::2%lan0", external, os.ErrDeadlineExceeded, false},
		{"one that may be away", "198.51.100.1", far, os.ErrDeadlineExceeded, false},
		{"one that answers", "198.51.100.1", external, syscall.ECONNREFUSED, false},
		{"an internal router", "198.51.100.1", lb.Peer{MyASN: 64500, ASN: 64500}, os.ErrDeadlineExceeded, false},
	} {
		e := unreachable(c.err, c.peer, s.near(netip.MustParseAddr(c.router)))
		if got := strings.Contains(e.text, hint); got != c.want {
			t.Errorf("%s: %q", c.name, e.text)
		}
	}
	s.dial = func(context.Context, lb.Peer, netip.AddrPort) (net.Conn, error) { return nil, os.ErrDeadlineExceeded }
	external.Interface = "lan0"
	unnumbered := newSession(s, lb.Session{Peer: external})
	unnumbered.routers = newRouters("lan0")
	unnumbered.routers.hear(netip.MustParseAddr("fe80::2%lan0"))
	if e := unnumbered.attempt(t.Context()); e.reason != lb.NoAnswer || strings.Contains(e.text, hint) {
		t.Errorf("one that was learned on our link: %s %q", e.reason, e.text)
	}
}

// What hinders a session again as before is no news: it is said in the same words.
func TestErrorsDoNotNameOurPort(t *testing.T) {
	failing := func(port uint16) error {
		return &net.OpError{
			Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ETIMEDOUT),
			Source: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port)),
		}
	}
	one, two := lost("read from the router", failing(50001)).text, lost("read from the router", failing(50002)).text
	if one != two || one != "read from the router: read: connection timed out" {
		t.Errorf("%q and %q", one, two)
	}
}

// A router may ask for families that nobody agreed on, as many as there are numbers.
func TestOnlyAgreedFamiliesAreSentAgain(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		for i := range 1000 {
			says(frame(bgp.BGP_MSG_ROUTE_REFRESH, 4, byte(i>>8), byte(i), 0, 1))(theirs)
		}
	}()
	c := conversation{
		session: newSession(newSpeaker(t), lb.Session{}), conn: ours, reader: newMessageReader(ours), asked: newRefreshes(),
		terms: terms{families: []bgp.Family{bgp.RF_IPv4_UC}},
	}
	if err := c.listen(t.Context()); err.reason != lb.ConnectionLost {
		t.Errorf("listening ended with %v", err)
	}
	if diff := cmp.Diff(map[bgp.Family]bool{bgp.RF_IPv4_UC: true}, c.asked.take()); diff != "" {
		t.Errorf("families (-want +got):\n%s", diff)
	}
}

// A message that did not begin to leave is no reason to end without a word.
func TestOnlyAMessageThatIsCutOffIsTheLast(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := conversation{session: newSession(newSpeaker(t), lb.Session{}), conn: ours}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errRemoved)
	if err := c.write(ctx, keepalive, bgp.BGP_MSG_KEEPALIVE, 1); err != errRemoved || c.torn {
		t.Errorf("before a byte was written: %v, torn %t", err, c.torn)
	}
	go func() { _, _ = theirs.Read(make([]byte, 1)); theirs.Close() }()
	if err := c.write(t.Context(), keepalive, bgp.BGP_MSG_KEEPALIVE, 1); err == nil || !c.torn {
		t.Errorf("after one byte: %v, torn %t", err, c.torn)
	}
}

// piped has a speaker's sessions run over pipes to a router that establishes them. It
// notes how many connections are open at most, and when they were opened.
type piped struct {
	offer      offer // the router's
	open, most int
	at         []time.Time
	last       net.Conn // the router's end
}

func (p *piped) dial(context.Context, lb.Peer, netip.AddrPort) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.open++
	p.most, p.at, p.last = max(p.most, p.open), append(p.at, time.Now()), theirs
	go says(mustOpen(p.offer), keepalive)(theirs)
	go func() {
		defer theirs.Close()
		_, _ = io.Copy(io.Discard, theirs)
	}()
	return &closing{Conn: ours, closed: sync.OnceFunc(func() { p.open-- })}, nil
}

// closing tells when it is closed.
type closing struct {
	net.Conn
	closed func()
}

func (c *closing) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50000} }

func (c *closing) Close() error {
	c.closed()
	return c.Conn.Close()
}

func startPiped(t *testing.T) (*Speaker, *piped, lb.Peer) {
	s, p := newSpeaker(t), &piped{offer: routerOffer}
	s.dial = p.dial
	peer := peerAt("tor", netip.MustParseAddrPort("192.0.2.2:179"))
	peer.HoldTime = 0
	s.Set([]lb.Session{{Peer: peer}})
	run(t, s)
	synctest.Wait()
	return s, p, peer
}

// The address that IPv6 routes lead to over an IPv4 session may come later than the session.
func TestNextHopsFollowTheAddressesOfTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := newSpeaker(t), &piped{offer: with(func(o *offer) { o.families = bothFamilies })}
		var here atomic.Pointer[[]netip.Prefix]
		s.dial = p.dial
		s.interfaces = func() ([]addresses, error) { return []addresses{{"lan0", *here.Load()}}, nil }
		here.Store(new(networks("192.0.2.1/24")))
		peer := peerAt("tor", netip.MustParseAddrPort("192.0.2.2:179"))
		peer.DualStack, peer.HoldTime = true, 0
		s.Set([]lb.Session{{Peer: peer, Routes: []lb.Route{route("198.51.100.1/32", lb.Attributes{}), route("2001:db8:51::1/128", lb.Attributes{})}}})
		run(t, s)
		updates := uint64(0)
		for _, step := range []struct {
			name                string
			addresses           []netip.Prefix
			advertised, pending int
			updates             uint64
		}{
			{"without an IPv6 address", networks("192.0.2.1/24"), 1, 1, 1},
			{"nothing changes", networks("192.0.2.1/24"), 1, 1, 0},
			{"one comes", networks("192.0.2.1/24", "2001:db8::1/64"), 2, 0, 1},
			{"another comes before it", networks("192.0.2.1/24", "2001:db8::3/64", "2001:db8::1/64"), 2, 0, 0},
			{"it is replaced", networks("192.0.2.1/24", "2001:db8::2/64"), 2, 0, 1},
			{"it goes", networks("192.0.2.1/24"), 1, 1, 1},
		} {
			here.Store(&step.addresses)
			time.Sleep(time.Minute)
			synctest.Wait()
			st := s.States()[0]
			if got := st.Messages.UpdatesSent - updates; st.Advertised != step.advertised || st.Pending != step.pending || got != step.updates {
				t.Errorf("%s: %d routes advertised, %d pending, %d UPDATEs", step.name, st.Advertised, st.Pending, got)
			}
			updates = st.Messages.UpdatesSent
		}
		if len(p.at) != 1 {
			t.Errorf("%d connections", len(p.at))
		}
	})
}

// BFD comes up once the session has, as a rule: that is no reason to hurry when it fails.
func TestAPathThatCameUpSpeedsUpNoLaterAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := startPiped(t)
		s.PathUp("tor")
		time.Sleep(time.Hour)
		p.last.Close()
		failed := time.Now()
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(p.at) != 2 || p.at[1].Sub(failed) < firstPause/2 {
			t.Errorf("attempts at %v, though the session failed at %s", p.at, failed)
		}
	})
}

func TestAPathThatComesBackEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, _ := startPiped(t)
		p.last.Close()
		synctest.Wait()
		failed := time.Now()
		s.PathUp("tor")
		synctest.Wait()
		if len(p.at) != 2 || p.at[1] != failed {
			t.Errorf("attempts at %v, though the path came back at %s", p.at, failed)
		}
	})
}

// A router takes a second connection for a collision.
func TestARenamedPeerConnectsWhenTheOldOneHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p, peer := startPiped(t)
		peer.Name = "spine"
		s.Set([]lb.Session{{Peer: peer}})
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(p.at) != 2 || p.most != 1 || p.open != 1 {
			t.Errorf("%d connections, %d at once, %d now", len(p.at), p.most, p.open)
		}
	})
}

// RFC 4724, section 3: the Restart State is that of the speaker.
func TestAnotherConfigurationIsNoRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, peer := startPiped(t)
		peer.HoldTime = time.Minute
		s.Set([]lb.Session{{Peer: peer}})
		if !s.session("tor").hasGreeted() {
			t.Error("a session with another configuration takes the speaker for restarted")
		}
	})
}

func TestPauses(t *testing.T) {
	for _, c := range []struct {
		tries      int
		configured time.Duration
		chance     float64
		want       time.Duration
	}{
		{0, 0, 0, time.Second},
		{0, 0, 1, 750 * time.Millisecond},
		{3, 0, 0, 8 * time.Second},
		{1000, 0, 0, lastPause},
		{0, 40 * time.Second, 0, 40 * time.Second},
		{1000, 40 * time.Second, 1, 30 * time.Second},
	} {
		if got := pauseAfter(c.tries, c.configured, c.chance); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// A router that accepts and then throws us out is not tried in a hot loop.
func TestAttemptsAreSpreadOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpeaker(t)
		var attempts atomic.Int64
		s.dial = func(context.Context, lb.Peer, netip.AddrPort) (net.Conn, error) {
			attempts.Add(1)
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				if _, _, err := readMessage(theirs); err == nil {
					says(frame(bgp.BGP_MSG_NOTIFICATION, 2, 6, 5))(theirs)
				}
			}()
			return ours, nil
		}
		p := peerAt("tor", netip.MustParseAddrPort("192.0.2.2:179"))
		p.ConnectTime = 0
		s.Set([]lb.Session{{Peer: p}})
		run(t, s)
		time.Sleep(10 * time.Minute)
		// After 1, 2, 4, 8, and then each 16 s at most, 12 at least.
		if n := attempts.Load(); n < 10*60/16 || n > 10*60/12+5 {
			t.Errorf("%d attempts in ten minutes", n)
		}
	})
}

// The hold time counts from what was heard, not from what was sent.
func TestHoldTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSpeaker(t)
		s.dial = func(context.Context, lb.Peer, netip.AddrPort) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					_, _ = io.Copy(io.Discard, theirs)
				}()
				says(mustOpen(with(func(o *offer) { o.hold = 9 * time.Second })), keepalive)(theirs)
				for range 10 {
					wait(t.Context(), gone, 8*time.Second)
					says(keepalive)(theirs)
				}
				<-gone
			}()
			return ours, nil
		}
		p := peerAt("tor", netip.MustParseAddrPort("192.0.2.2:179"))
		p.ConnectTime = time.Minute
		s.Set([]lb.Session{{Peer: p}})
		run(t, s)
		began := time.Now()
		time.Sleep(80*time.Second + 8*time.Second)
		synctest.Wait()
		if st := s.States()[0]; st.Status != lb.Established || st.Messages.KeepalivesSent < 29 {
			t.Errorf("before the hold time is over: %+v", st)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := s.States()[0]; st.Down != lb.HoldTimerExpired || st.Since.Sub(began).Round(time.Second) != 89*time.Second {
			t.Errorf("after the hold time: %+v", st)
		}
	})
}

func TestNotificationInWords(t *testing.T) {
	for _, c := range []struct {
		n    notification
		want string
	}{
		{notification{code: 4}, "hold timer expired (code 4, subcode 0)"},
		{notification{code: 6, subcode: 99}, "cease (code 6, subcode 99)"},
		{notification{code: 77}, "unknown error (code 77, subcode 0)"},
		{*cease(2, "rack 7 moves"), `cease: administrative shutdown (code 6, subcode 2): "rack 7 moves"`},
		{notification{6, 4, []byte("\x09a\x1b[31mb\nc")}, `cease: administrative reset (code 6, subcode 4): "a[31mbc"`},
		{notification{6, 2, []byte("\xffshort")}, `cease: administrative shutdown (code 6, subcode 2): "short"`},
		{notification{6, 2, []byte("\x02\xff\xfe")}, "cease: administrative shutdown (code 6, subcode 2)"},
	} {
		if got := c.n.String(); got != c.want {
			t.Errorf("%s, want %s", got, c.want)
		}
	}
}

func TestRoutersMessages(t *testing.T) {
	near, far := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::1")
	advertisement := append([]byte{134, 0}, make([]byte, 14)...)
	for _, c := range []struct {
		name   string
		packet []byte
		hops   int
		from   netip.Addr
		want   ipv6.ICMPType
	}{
		{"an advertisement", advertisement, 255, near, ipv6.ICMPTypeRouterAdvertisement},
		{"from afar", advertisement, 254, near, 0},
		{"not from a link-local address", advertisement, 255, far, 0},
		{"too short", advertisement[:15], 255, near, 0},
		{"another code", append([]byte{134, 1}, make([]byte, 14)...), 255, near, 0},
		{"a solicitation", append([]byte{133, 0}, make([]byte, 6)...), 255, far, ipv6.ICMPTypeRouterSolicitation},
		{"another message", append([]byte{135, 0}, make([]byte, 22)...), 255, near, 0},
		{"nothing", nil, 255, near, 0},
	} {
		if got := routerMessage(c.packet, c.hops, c.from); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// Whatever a router sends is cut into messages of permitted lengths, or refused.
func FuzzMessages(f *testing.F) {
	f.Add(slices.Concat(mustOpen(routerOffer), keepalive, frame(bgp.BGP_MSG_UPDATE, 100), frame(bgp.BGP_MSG_NOTIFICATION, 2, 6, 2)))
	f.Add(frame(bgp.BGP_MSG_ROUTE_REFRESH, 4, 0, 1, 0, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newMessageReader(bytes.NewReader(b))
		for read := 0; ; {
			m, err := r.next()
			var refused *sessionError
			if errors.As(err, &refused) && (refused.notify == nil || refused.reason != lb.ProtocolError) {
				t.Fatalf("refused without a reason: %+v", refused)
			}
			if err != nil {
				return
			}
			length := int(binary.BigEndian.Uint16(b[read+16:]))
			if l := lengths[m.kind]; length < l.least || length > l.most {
				t.Fatalf("a message of type %d and %d bytes", m.kind, length)
			}
			if m.kind != bgp.BGP_MSG_UPDATE && !bytes.Equal(m.body, b[read+headerLength:read+length]) {
				t.Fatal("a body that was not sent")
			}
			if m.kind == bgp.BGP_MSG_ROUTE_REFRESH {
				parseRefresh(m.body)
			}
			read += length
		}
	})
}

// An OPEN is refused, or settles on no more than both sides offer.
func FuzzOpen(f *testing.F) {
	f.Add(mustOpen(routerOffer)[headerLength:])
	f.Add(mustOpen(with(func(o *offer) { o.families, o.extendedNextHop, o.gracefulRestart = bothFamilies, true, true }))[headerLength:])
	ours := offer{asn: 64500, routerID: netip.MustParseAddr("192.0.2.99"), hold: 90 * time.Second, families: bothFamilies, gracefulRestart: true}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 10 {
			return // the reader refuses those
		}
		open, err := parseOpen(b)
		if err != nil {
			return
		}
		got, failed := ours.settle(open, lb.Peer{MyASN: 64500, DynamicASN: lb.ExternalASN})
		if failed != nil {
			return
		}
		if got.asn == ours.asn || got.hold > ours.hold || got.hold > 0 && got.hold < 3*time.Second || got.extendedNextHop || len(got.families) == 0 {
			t.Errorf("settled on %+v", got)
		}
	})
}

// A NOTIFICATION's text can be printed anywhere.
func FuzzNotification(f *testing.F) {
	f.Add([]byte{6, 2, 3, 'b', 'y', 'e'})
	f.Add([]byte{2, 2, 0, 0, 0xfb, 0xf4})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseNotification(b)
		if err != nil {
			return
		}
		s := n.String()
		if !utf8.ValidString(s) || bytes.ContainsAny([]byte(s), "\n\r\x1b\x00") || len(s) > 2048 {
			t.Errorf("%q", s)
		}
	})
}
