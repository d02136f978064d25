package bgp

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/herald-lb/herald/internal/lb"
)

// memory is what the process holds in heap and stacks.
func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// The ways to hold sessions that were weighed against each other; doc.go says which won.
// Each returns when all sessions are up, with a count of the UPDATEs that came since.
var designs = []struct {
	name string
	hold func(b *testing.B, routers []netip.AddrPort) (updates func() uint64)
}{
	{"Herald", holdWithSpeaker},
	{"one GoBGP server", holdWithOneServer},
	{"a GoBGP server for each session", holdWithServerEach},
}

func holdWithSpeaker(b *testing.B, routers []netip.AddrPort) func() uint64 {
	var sessions []lb.Session
	for i, r := range routers {
		sessions = append(sessions, lb.Session{Peer: peerAt(lb.PeerName(fmt.Sprint(i)), r)})
	}
	s := start(b, sessions...)
	for _, session := range sessions {
		await(b, s, session.Peer.Name, "established", established(0))
	}
	return func() uint64 { return s.States()[0].Messages.UpdatesReceived }
}

func holdWithServerEach(b *testing.B, routers []netip.AddrPort) func() uint64 {
	var servers []*server.BgpServer
	for _, r := range routers {
		servers = append(servers, newServer(b, []netip.AddrPort{r}))
	}
	return awaitServers(b, servers, len(routers))
}

func holdWithOneServer(b *testing.B, routers []netip.AddrPort) func() uint64 {
	return awaitServers(b, []*server.BgpServer{newServer(b, routers)}, len(routers))
}

func awaitServers(b *testing.B, servers []*server.BgpServer, sessions int) (updates func() uint64) {
	sum := func(count func(*api.Peer) uint64) (n uint64) {
		for _, s := range servers {
			if err := s.ListPeer(context.Background(), &api.ListPeerRequest{}, func(p *api.Peer) { n += count(p) }); err != nil {
				b.Fatal(err)
			}
		}
		return n
	}
	eventually(b, "all sessions are up", func() bool {
		return sum(func(p *api.Peer) uint64 {
			if p.State.SessionState == api.PeerState_SESSION_STATE_ESTABLISHED {
				return 1
			}
			return 0
		}) == uint64(sessions)
	})
	return func() uint64 { return sum(func(p *api.Peer) uint64 { return p.State.Messages.Received.Update }) }
}

func newServer(b *testing.B, routers []netip.AddrPort) *server.BgpServer {
	s := server.NewBgpServer(server.LoggerOption(slog.New(slog.DiscardHandler), nil))
	go s.Serve()
	b.Cleanup(s.Stop)
	global := &api.Global{Asn: 64500, RouterId: "192.0.2.99", ListenPort: -1}
	if err := s.StartBgp(b.Context(), &api.StartBgpRequest{Global: global}); err != nil {
		b.Fatal(err)
	}
	for _, r := range routers {
		p := neighbour(r.Addr().String(), 64512)
		p.Transport = &api.Transport{RemotePort: uint32(r.Port())}
		p.Timers.Config = &api.TimersConfig{HoldTime: 90, KeepaliveInterval: 30}
		if err := s.AddPeer(b.Context(), &api.AddPeerRequest{Peer: p}); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkIdleSession is what one more session costs. The fake routers' share is the same
// in all designs.
func BenchmarkIdleSession(b *testing.B) {
	const n = 50
	for _, design := range designs {
		b.Run(design.name, func(b *testing.B) {
			for b.Loop() {
				var routers []netip.AddrPort
				for i := range n {
					routers = append(routers, fakeRouter(b, fmt.Sprintf("127.0.1.%d", i+1), quiet))
				}
				before, goroutines, began := memory(), runtime.NumGoroutine(), time.Now()
				design.hold(b, routers)
				up := time.Since(began)
				b.ReportMetric(float64(int64(memory()-before))/n/1024, "KiB/session")
				b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/n, "goroutines/session")
				b.ReportMetric(float64(up.Milliseconds()), "ms-until-all-up")
			}
		})
	}
}

// million sends a million routes, as a router with a full table would, and says in how
// many UPDATEs.
func million(sent chan<- uint64) func(net.Conn) {
	return func(conn net.Conn) {
		from, err := greet(conn, routerOffer)
		if err != nil {
			return
		}
		e := encoder{asn: 64512, terms: terms{fourOctets: true, families: routerOffer.families}, nextHop4: netip.MustParseAddr("192.0.2.1")}
		n := uint64(0)
		for i := range 1000 {
			for m, err := range e.messages(nil, thousand(i)) {
				if err != nil {
					return
				}
				if _, err := conn.Write(m); err != nil {
					return
				}
				n++
			}
		}
		sent <- n
		_, _ = io.Copy(io.Discard, from)
	}
}

// thousand are some of many routes.
func thousand(i int) (routes []lb.Route) {
	for n := i * 1000; n < i*1000+1000; n++ {
		addr := netip.AddrFrom4([4]byte{byte(20 + n>>16), byte(n >> 8), byte(n), 0})
		routes = append(routes, route(netip.PrefixFrom(addr, 24).String(), lb.Attributes{}))
	}
	return routes
}

// BenchmarkMillionRoutesReceived is what a router costs that sends all it has.
func BenchmarkMillionRoutesReceived(b *testing.B) {
	for _, design := range designs[:2] { // for one session, the third is the second
		b.Run(design.name, func(b *testing.B) {
			for b.Loop() {
				sent := make(chan uint64, 1)
				at := fakeRouter(b, "127.0.1.1", million(sent))
				before, began := memory(), time.Now()
				updates := design.hold(b, []netip.AddrPort{at})
				for all := <-sent; updates() < all; time.Sleep(10 * time.Millisecond) {
				}
				b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms")
				b.ReportMetric(float64(int64(memory()-before))/(1<<20), "MiB")
			}
		})
	}
}

// tenThousand are the routes of many services.
func tenThousand(a lb.Attributes) []lb.Route {
	var routes []lb.Route
	for i := range 10000 {
		routes = append(routes, lb.Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 32), Attributes: a})
	}
	return routes
}

// BenchmarkTenThousandRoutes is the time until two routers have all routes, and then until
// both were told of another community on each.
func BenchmarkTenThousandRoutes(b *testing.B) {
	for b.Loop() {
		routers := []*router{
			newRouter(b, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500)),
			newRouter(b, "127.0.0.3", 64513, neighbour("127.0.0.1", 64500)),
		}
		s := start(b, sessionsWith(routers, nil)...)
		for i := range routers {
			await(b, s, lb.PeerName(fmt.Sprint(i)), "established", established(0))
		}
		began := time.Now()
		s.Set(sessionsWith(routers, tenThousand(lb.Attributes{})))
		for _, r := range routers {
			eventually(b, "the router has all routes", func() bool { return r.holds() == 10000 })
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-until-all")

		before := s.States()
		began = time.Now()
		s.Set(sessionsWith(routers, tenThousand(lb.Attributes{Communities: []lb.Community{1}})))
		for i, r := range routers {
			eventually(b, "the router was told", func() bool {
				sent := s.States()[i].Messages.UpdatesSent
				return sent > before[i].Messages.UpdatesSent && r.updates() == sent
			})
			if s.States()[i].Since != before[i].Since {
				b.Error("the session did not last")
			}
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-community")
	}
}

func sessionsWith(routers []*router, routes []lb.Route) (sessions []lb.Session) {
	for i, r := range routers {
		sessions = append(sessions, lb.Session{Peer: r.peer(lb.PeerName(fmt.Sprint(i)), 64500), Routes: routes})
	}
	return sessions
}

// BenchmarkOneChange is what one change costs among ten thousand routes, to the last byte
// written.
func BenchmarkOneChange(b *testing.B) {
	at := fakeRouter(b, "127.0.0.2", quiet)
	routes := tenThousand(lb.Attributes{})
	s := start(b, lb.Session{Peer: peerAt("tor", at), Routes: routes})
	await(b, s, "tor", "established", established(10000))
	for n := 10000; b.Loop(); {
		n = 19999 - n // 9999, and 10000 again
		s.Set([]lb.Session{{Peer: peerAt("tor", at), Routes: routes[:n]}})
		for s.States()[0].Advertised != n {
			<-s.Changed()
		}
	}
}
