//go:build e2e

package router_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

var (
	labName = flag.String("lab", "routers", "the lab's name")
	l       *lab.Lab
)

// TestMain makes a lab without a cluster: FRR on one router, BIRD on the other, which hold a session with each other. Both
// wait for their neighbours, as they do for Herald, so the tests add who calls.
func TestMain(m *testing.M) {
	herald.Main(func(ctx context.Context) (code int, err error) {
		defer func() { err = errors.Join(err, lab.Down(ctx, *labName)) }()
		if l, err = lab.Up(ctx, lab.Options{Name: *labName, Nodes: 2, Bare: true}); err != nil {
			return 0, err
		}
		return m.Run(), nil
	})
}

const (
	frrASN  = 64513
	birdASN = 4200000001
)

// frrCalls makes FRR call its neighbour, and offer routes of both families.
const frrCalls = `
route-map attributes permit 10
 set community 64513:100 no-peer
 set large-community 64513:1:2
 set metric 77
exit
router bgp 64513
 no bgp network import-check
 no neighbor 192.168.10.3 passive
 neighbor 192.168.10.3 timers connect 1
 address-family ipv4 unicast
  network 10.98.0.1/32 route-map attributes
 exit-address-family
 address-family ipv6 unicast
  network fd98::1/128
 exit-address-family
exit
`

// birdOffers makes BIRD offer routes to the one who called.
const birdOffers = `
protocol static offers4 { ipv4;
  route 10.99.0.1/32 blackhole { bgp_community.add((64512,100)); bgp_community.add((65535,65281)); bgp_large_community.add((1,2,3)); };
}
protocol static offers6 { ipv6; route fd99::1/128 blackhole; }
protocol bgp with_frr {
  local as 4200000001;
  neighbor 192.168.10.1 as 64513;
  passive on;
  bfd on;
  error wait time 1, 2;
  graceful restart on;
  ipv4 { import all; export filter { bgp_med = 55; accept; }; };
  ipv6 { import all; export all; };
}
`

func configs() (frr, bird router.Config) {
	frr = router.Config{ASN: frrASN, Extra: frrCalls, Neighbours: []router.Neighbour{{
		Address: lab.AddressesOf(lab.Router2).V4, ASN: birdASN, HoldTime: 9 * time.Second, DualStack: true,
		BFD: &router.BFD{Interval: 100 * time.Millisecond},
	}}}
	bird = router.Config{ASN: birdASN, Extra: birdOffers}
	return frr, bird
}

func TestRoutersSeeEachOther(t *testing.T) {
	frr, bird := startBoth(t)

	t.Run("FRR tells of its session", func(t *testing.T) {
		s := awaitSession(t, frr, lab.Router2)
		if s.ASN != birdASN || s.HoldTime != 9*time.Second || s.Keepalive != 3*time.Second || s.RouterID != lab.AddressesOf(lab.Router2).V4 || !s.Offers(router.GracefulRestart) {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("BIRD tells of its session", func(t *testing.T) {
		s := awaitSession(t, bird, lab.Router)
		if s.ASN != frrASN || s.HoldTime != 9*time.Second || s.RouterID != lab.AddressesOf(lab.Router).V4 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("FRR tells of routes and their attributes", func(t *testing.T) {
		r := awaitRoute(t, frr, "10.99.0.1/32")
		check(t, "path", r.Path, []uint32{birdASN})
		check(t, "next hops", r.NextHops, []netip.Addr{lab.AddressesOf(lab.Router2).V4})
		check(t, "communities", r.Communities, []string{"64512:100", "65535:65281"})
		check(t, "large communities", r.LargeCommunities, []string{"1:2:3"})
		if r.MED == nil || *r.MED != 55 {
			t.Errorf("got %+v", r)
		}
		awaitRoute(t, frr, "fd99::1/128")
	})
	t.Run("BIRD tells of routes and their attributes", func(t *testing.T) {
		r := awaitRoute(t, bird, "10.98.0.1/32")
		check(t, "path", r.Path, []uint32{frrASN})
		check(t, "next hops", r.NextHops, []netip.Addr{lab.AddressesOf(lab.Router).V4})
		check(t, "communities", r.Communities, []string{"64513:100", "65535:65284"})
		check(t, "large communities", r.LargeCommunities, []string{"64513:1:2"})
		if r.MED == nil || *r.MED != 77 {
			t.Errorf("got %+v", r)
		}
		awaitRoute(t, bird, "fd98::1/128")
	})
	t.Run("the kernels forward by them", func(t *testing.T) {
		awaitKernel(t, lab.Router, "10.99.0.1/32", lab.Router2)
		awaitKernel(t, lab.Router, "fd99::1/128", lab.Router2)
		awaitKernel(t, lab.Router2, "10.98.0.1/32", lab.Router)
		awaitKernel(t, lab.Router2, "fd98::1/128", lab.Router)
	})
	t.Run("both watch the path", func(t *testing.T) {
		await(t, "BFD", func(ctx context.Context) error {
			for _, watched := range []func(context.Context) ([]router.BFDSession, error){frr.BFD, bird.BFD} {
				sessions, err := watched(ctx)
				if err != nil || len(sessions) != 1 || !sessions[0].Up {
					return fmt.Errorf("it is %+v, %w", sessions, err)
				}
			}
			return nil
		})
	})
	t.Run("a router that stops says so", func(t *testing.T) {
		watch, err := router.WatchKernel(t.Context(), l, lab.Router)
		must(t, err)
		defer watch.Stop()
		stopped := time.Now()
		must(t, bird.Stop(t.Context()))
		_, err = watch.Await(t.Context(), netip.MustParsePrefix("10.99.0.1/32"), true, stopped)
		must(t, err)
		sessions, err := frr.Sessions(t.Context())
		must(t, err)
		if s := router.With(sessions, lab.AddressesOf(lab.Router2).V4); s.Established || s.LastError == "" {
			t.Errorf("got %+v", s)
		}
	})
}

func TestRoutersAreConfiguredAnew(t *testing.T) {
	frr, bird := startBoth(t)
	awaitSession(t, frr, lab.Router2)
	f, b := configs()
	f.Neighbours[0].Password, f.Neighbours[0].HoldTime = "secret", 30*time.Second
	must(t, frr.Configure(t.Context(), f))
	b.Extra = birdOffers[:len(birdOffers)-2] + "  password \"secret\";\n}\n"
	must(t, bird.Configure(t.Context(), b))
	await(t, "the session with another hold time", func(ctx context.Context) error {
		sessions, err := frr.Sessions(ctx)
		if s := router.With(sessions, lab.AddressesOf(lab.Router2).V4); !s.Established || s.HoldTime != 30*time.Second {
			return fmt.Errorf("it is %+v, %w", s, err)
		}
		return nil
	})
}

func TestRouterRefusesNonsense(t *testing.T) {
	frr, bird := startBoth(t)
	nonsense := router.Config{ASN: frrASN, Extra: "no sense\n"}
	for name, configure := range map[string]func(context.Context, router.Config) error{"FRR": frr.Configure, "BIRD": bird.Configure} {
		if err := configure(t.Context(), nonsense); err == nil {
			t.Errorf("%s takes it", name)
		}
	}
}

// The scripted peer stands in for both ends: BIRD's here calls it.
func TestPeerHoldsASession(t *testing.T) {
	client := lab.AddressesOf(lab.Client).V4
	const asn = 64999
	open := router.Open{ASN: asn, HoldTime: 9 * time.Second, RouterID: client}
	peer, err := router.Listen(t.Context(), l, lab.Client, netip.AddrPortFrom(client, 179), router.Flooding(open, 5000))
	must(t, err)
	defer peer.Close()
	bird := router.NewBIRD(l, lab.Router2)
	must(t, bird.Start(t.Context(), router.Config{ASN: birdASN, Extra: fmt.Sprintf(`
protocol static offers { ipv4; route 10.99.0.1/32 blackhole; }
protocol bgp calls { local as %d; neighbor %s as %d; connect delay time 1; ipv4 { import all; export where source = RTS_STATIC; }; }
`, uint32(birdASN), client, asn)}))
	defer func() { must(t, bird.Stop(context.Background())) }()

	await(t, "5,000 routes", func(ctx context.Context) error {
		sessions, err := bird.Sessions(ctx)
		if s := router.With(sessions, client); s.Received != 5000 {
			return fmt.Errorf("it has %d, %w", s.Received, err)
		}
		return nil
	})
	c := peer.Last()
	o, err := c.Open()
	must(t, err)
	if o.ASN != birdASN || o.RouterID != lab.AddressesOf(lab.Router2).V4 || o.HoldTime != 240*time.Second {
		t.Errorf("BIRD's OPEN message: got %+v", o)
	}
	await(t, "BIRD's route", func(context.Context) error {
		updates, err := c.Updates()
		if !slices.ContainsFunc(updates, func(u router.Update) bool {
			return slices.Equal(u.Announced, []netip.Prefix{netip.MustParsePrefix("10.99.0.1/32")})
		}) {
			return fmt.Errorf("it has %v, %w", updates, err)
		}
		return nil
	})
	must(t, bird.Stop(t.Context()))
	await(t, "BIRD's notification", func(context.Context) error {
		n, err := c.Notification()
		if err == nil && n.Code != router.Cease {
			err = fmt.Errorf("it is %+v", n)
		}
		return err
	})
}

func startBoth(t *testing.T) (*router.FRR, *router.BIRD) {
	t.Helper()
	frrConfig, birdConfig := configs()
	frr, bird := router.NewFRR(l, lab.Router), router.NewBIRD(l, lab.Router2)
	t.Cleanup(func() { must(t, errors.Join(frr.Kill(), bird.Kill())) })
	must(t, frr.Start(t.Context(), frrConfig))
	must(t, bird.Start(t.Context(), birdConfig))
	return frr, bird
}

func awaitSession(t *testing.T, r interface {
	Sessions(context.Context) ([]router.Session, error)
}, with lab.Host,
) (s router.Session) {
	t.Helper()
	await(t, "a session with "+string(with), func(ctx context.Context) error {
		sessions, err := r.Sessions(ctx)
		if s = router.With(sessions, lab.AddressesOf(with).V4); !s.Established {
			return fmt.Errorf("they are %+v, %w", sessions, err)
		}
		return nil
	})
	return s
}

// awaitRoute waits for the one route to a prefix to be chosen: a router shows it a moment before that.
func awaitRoute(t *testing.T, r interface {
	Routes(context.Context) ([]router.Route, error)
}, prefix string,
) (route router.Route) {
	t.Helper()
	await(t, "a route to "+prefix, func(ctx context.Context) error {
		routes, err := r.Routes(ctx)
		found := router.To(routes, netip.MustParsePrefix(prefix))
		if len(found) != 1 || !found[0].Best {
			return fmt.Errorf("they are %+v, %w", routes, err)
		}
		route = found[0]
		return nil
	})
	return route
}

func awaitKernel(t *testing.T, on lab.Host, prefix string, via lab.Host) {
	t.Helper()
	await(t, "the kernel's route to "+prefix, func(ctx context.Context) error {
		routes, err := router.KernelRoutes(ctx, l, on)
		for _, r := range routes {
			if r.Prefix == netip.MustParsePrefix(prefix) && slices.Equal(r.Hosts(l), []lab.Host{via}) {
				return nil
			}
		}
		return fmt.Errorf("they are %+v, %w", routes, err)
	})
}

func await(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	must(t, herald.Await(t.Context(), what, ask))
}

func check[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
