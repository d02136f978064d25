//go:build e2e

package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

var (
	node1 = lab.AddressesOf("node1")
	node2 = lab.AddressesOf("node2")
)

// Each row is a BGPPeer with which node1 has a session, what the router is told of node1, and what it must see of it.
func TestPeerFields(t *testing.T) {
	type row struct {
		name      string
		v6        bool // the session runs over IPv6
		spec      []string
		neighbour router.Neighbour
		seen      func(router.Session) error
		path      []uint32 // that node1's routes have
		v4, v6r   bool     // the families of routes that arrive
	}
	rows := []row{
		{
			name: "peerASN of another system", spec: external, neighbour: router.Neighbour{ASN: nodesASN},
			seen: asn(nodesASN), path: []uint32{nodesASN}, v4: true,
		},
		{
			name: "peerAddress of IPv6", v6: true, spec: external, neighbour: router.Neighbour{ASN: nodesASN},
			seen: asn(nodesASN), path: []uint32{nodesASN}, v6r: true,
		},
		{
			name: "peerASN of the same system", spec: []string{"myASN: 64513", "peerASN: 64513"}, neighbour: router.Neighbour{ASN: routerASN},
			seen: asn(routerASN), v4: true,
		},
		{
			name: "dynamicASN internal", spec: []string{"myASN: 64513", "dynamicASN: internal"}, neighbour: router.Neighbour{ASN: routerASN},
			seen: asn(routerASN), v4: true,
		},
		{
			name: "dynamicASN external, with an ASN of four bytes and a router ID", spec: []string{"myASN: 4200000000", "dynamicASN: external", "routerID: 192.0.2.77"},
			neighbour: router.Neighbour{}, path: []uint32{4200000000}, v4: true,
			seen: func(s router.Session) error {
				return want("router ID", s.RouterID, netip.MustParseAddr("192.0.2.77"))
			},
		},
		{
			name: "localASN", spec: append(slices.Clone(external), "localASN: 64600"), neighbour: router.Neighbour{ASN: 64600},
			seen: asn(64600), path: []uint32{64600}, v4: true,
		},
		{
			name: "holdTime and keepaliveTime", spec: append(slices.Clone(external), "holdTime: 6s", "keepaliveTime: 1s"),
			neighbour: router.Neighbour{ASN: nodesASN, HoldTime: time.Minute}, path: []uint32{nodesASN}, v4: true,
			seen: func(s router.Session) error { return want("hold time", s.HoldTime, 6*time.Second) },
		},
		{
			name: "password, over IPv4", spec: append(slices.Clone(external), "password: secret"),
			neighbour: router.Neighbour{ASN: nodesASN, Password: "secret"}, seen: established, path: []uint32{nodesASN}, v4: true,
		},
		{
			name: "password, over IPv6, with both families", v6: true, spec: append(slices.Clone(external), "password: secret", "dualStackAddressFamily: true"),
			neighbour: router.Neighbour{ASN: nodesASN, Password: "secret", DualStack: true}, seen: established, path: []uint32{nodesASN}, v6r: true,
		},
		{
			name: "dualStackAddressFamily, and disableMP which is for nothing", spec: append(slices.Clone(external), "dualStackAddressFamily: true", "disableMP: true"),
			neighbour: router.Neighbour{ASN: nodesASN, DualStack: true}, seen: established, path: []uint32{nodesASN}, v4: true, v6r: true,
		},
		{
			name: "ttlSecurity", spec: append(slices.Clone(external), "ttlSecurity: true"),
			neighbour: router.Neighbour{ASN: nodesASN, TTLSecurity: true}, seen: established, path: []uint32{nodesASN}, v4: true,
		},
		{
			name: "enableGracefulRestart", spec: append(slices.Clone(external), "enableGracefulRestart: true"), neighbour: router.Neighbour{ASN: nodesASN},
			path: []uint32{nodesASN}, v4: true,
			seen: func(s router.Session) error {
				return want("graceful restart", s.Offers(router.GracefulRestart), true)
			},
		},
	}
	ctx := begin(t)
	addresses := service(ctx, t, "peers")
	create(ctx, t, advertisement("peers"))
	onEach(t, func(_ context.Context, t *testing.T, r aRouter, name string) {
		for i, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				own, node := lab.AddressesOf(r.Host()).V4, node1.V4
				if row.v6 {
					own, node = lab.AddressesOf(r.Host()).V6, node1.V6
				}
				ctx := begin(t)
				row.neighbour.Address = node
				configure(ctx, t, r, row.neighbour)
				peerName := fmt.Sprintf("%s-%d", name, i)
				create(ctx, t, peer(peerName, own, append(slices.Clone(row.spec), on("node1"))...))
				awaitSession(ctx, t, r, node, row.seen)
				for family, arrives := range []bool{row.v4, row.v6r} {
					if arrives {
						awaitRoutes(ctx, t, r, host(addresses[family]), []netip.Addr{node}, func(got router.Route) error { return path(got, row.path) })
					}
				}
				awaitState(ctx, t, "node1", peerName, isUp)
			})
		}
	})
}

func asn(number uint32) func(router.Session) error {
	return func(s router.Session) error { return want("ASN", s.ASN, number) }
}

func path(r router.Route, wanted []uint32) error {
	if !slices.Equal(r.Path, wanted) {
		return fmt.Errorf("the path is %v, want %v", r.Path, wanted)
	}
	return nil
}

func want[T comparable](what string, got, wanted T) error {
	if got != wanted {
		return fmt.Errorf("the %s is %v, want %v", what, got, wanted)
	}
	return nil
}

// A session is opened from sourceAddress; a node that does not have it says so.
func TestSourceAddress(t *testing.T) {
	ctx := begin(t)
	source := netip.MustParseAddr("192.168.10.111")
	in(ctx, t, "node1", "ip", "address", "add", source.String()+"/24", "dev", "eth0")
	t.Cleanup(func() {
		in(context.Background(), t, "node1", "ip", "address", "delete", source.String()+"/24", "dev", "eth0")
	})
	configure(ctx, t, frr, router.Neighbour{Address: source, ASN: nodesASN})
	create(ctx, t, peer("source", lab.AddressesOf(lab.Router).V4, append(slices.Clone(external), "sourceAddress: "+source.String())...))
	awaitSession(ctx, t, frr, source, established)
	awaitState(ctx, t, "node2", "source", because("sourceAddressMissing", source.String()))
}

// A router behind another one is reached with ebgpMultiHop alone: without it, packets die on the way.
func TestMultiHop(t *testing.T) {
	ctx := begin(t)
	far := lab.AddressesOf(lab.Far).V4
	listen(ctx, t, lab.Far, far, router.WellBehaved(open(far)))
	create(ctx, t, peer("hops", far, append(slices.Clone(external), on("node1"))...))
	awaitState(ctx, t, "node1", "hops", because("noRoute"))

	change(ctx, t, "BGPPeer", "hops", "spec: {ebgpMultiHop: true}")
	awaitState(ctx, t, "node1", "hops", isUp)
}

// An unnumbered session finds the router by its link, and offers IPv4 routes with an IPv6 next hop (RFC 8950).
func TestInterface(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "unnumbered")
	create(ctx, t, advertisement("unnumbered"))
	for name, r := range map[string]aRouter{"frr": frr, "bird": bird} {
		t.Run(name, func(t *testing.T) { unnumbered(begin(t), t, r, name, addresses) })
	}
}

func unnumbered(ctx context.Context, t *testing.T, r aRouter, name string, addresses []netip.Addr) {
	link := "to-" + name
	must(t, cluster.Join(ctx, "node1", r.Host(), link))
	t.Cleanup(func() { in(context.Background(), t, "node1", "ip", "link", "delete", link) })
	configure(ctx, t, r, router.Neighbour{Interface: link, ASN: nodesASN, ExtendedNextHop: true})
	create(ctx, t, peer("unnumbered-"+name, netip.Addr{}, append(slices.Clone(external), "interface: "+link, on("node1"))...))

	await(ctx, t, "routes of both families over "+link, func(ctx context.Context) error {
		routes, err := r.Routes(ctx)
		if err != nil {
			return err
		}
		for _, address := range addresses {
			found := router.To(routes, host(address))
			if len(found) != 1 || !found[0].NextHops[0].Is6() {
				return fmt.Errorf("they are %+v", routes)
			}
		}
		return nil
	})
	awaitState(ctx, t, "node1", "unnumbered-"+name, isUp)
	far := map[lab.Host]lab.Host{lab.Router: lab.Far, lab.Router2: lab.Far2}[r.Host()]
	for _, address := range addresses {
		awaitAnswers(ctx, t, far, address, 2)
	}
}

func TestPeerPort(t *testing.T) {
	ctx := begin(t)
	must(t, bird.Configure(ctx, router.Config{ASN: routerASN, Port: 1179, Neighbours: []router.Neighbour{{Address: node1.V4, ASN: nodesASN}}}))
	create(ctx, t, peer("port", lab.AddressesOf(lab.Router2).V4, append(slices.Clone(external), "peerPort: 1179", on("node1"))...))
	awaitSession(ctx, t, bird, node1.V4, established)
}

// The lab's kernel knows no VRF. What is left to see is that the session's socket is bound to the device of that name: it
// does not come up over another one, nor over none.
func TestVRF(t *testing.T) {
	ctx := begin(t)
	configure(ctx, t, frr, router.Neighbour{Address: node1.V4, ASN: nodesASN})
	create(ctx, t, peer("red", lab.AddressesOf(lab.Router).V4, append(slices.Clone(external), "vrf: red", on("node1"))...))
	isDown := func(s sessionState) error {
		if s.BGPStatus == "Established" || s.VRF != "red" || s.Message == "" {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	}
	awaitState(ctx, t, "node1", "red", isDown)
	change(ctx, t, "BGPPeer", "red", "spec: {vrf: eth0}")
	awaitSession(ctx, t, frr, node1.V4, established)
}

func TestNodeSelectors(t *testing.T) {
	ctx := begin(t)
	configure(ctx, t, bird, router.Nodes(cluster, router.Neighbour{ASN: nodesASN})...)
	create(ctx, t, peer("some", lab.AddressesOf(lab.Router2).V4, append(slices.Clone(external), on("node2"))...))
	awaitSession(ctx, t, bird, node2.V4, established)
	sessions, err := bird.Sessions(ctx)
	must(t, err)
	for _, s := range sessions {
		if s.Established != (s.Neighbour == node2.V4.String()) {
			t.Errorf("got %+v", s)
		}
	}
}

const passwords = `
apiVersion: v1
kind: Secret
metadata: {name: password}
type: kubernetes.io/basic-auth
stringData: {username: "", password: first}
`

// A password may be changed at any time: in the Secret, and in the BGPPeer.
func TestPasswords(t *testing.T) {
	ctx := begin(t)
	create(ctx, t, passwords)
	with := func(password string) {
		configure(ctx, t, bird, router.Neighbour{Address: node1.V4, ASN: nodesASN, Password: password})
	}
	with("first")
	create(ctx, t, peer("secret", lab.AddressesOf(lab.Router2).V4, append(slices.Clone(external), "passwordSecret: {name: password}", on("node1"))...))
	awaitSession(ctx, t, bird, node1.V4, established)

	with("second")
	awaitState(ctx, t, "node1", "secret", because("passwordSuspected"))
	change(ctx, t, "Secret", "password", "stringData: {password: second}")
	awaitSession(ctx, t, bird, node1.V4, established)
	awaitState(ctx, t, "node1", "secret", isUp)

	with("third")
	change(ctx, t, "BGPPeer", "secret", "spec: {passwordSecret: null, password: third}")
	awaitSession(ctx, t, bird, node1.V4, established)
}

// The older form of a BGPPeer has fewer fields, spelled alike.
func TestOlderPeer(t *testing.T) {
	ctx := begin(t)
	configure(ctx, t, bird, router.Neighbour{Address: node1.V4, ASN: nodesASN})
	older := peer("older", lab.AddressesOf(lab.Router2).V4, append(slices.Clone(external), "holdTime: 9s", "routerID: 192.0.2.9", on("node1"))...)
	create(ctx, t, "apiVersion: metallb.io/v1beta1"+older[len("apiVersion: metallb.io/v1beta2"):])
	awaitSession(ctx, t, bird, node1.V4, func(s router.Session) error {
		return errors.Join(want("hold time", s.HoldTime, 9*time.Second), want("router ID", s.RouterID, netip.MustParseAddr("192.0.2.9")))
	})
}

// Peers of one node may differ in all that identifies the node.
func TestPeersThatDiffer(t *testing.T) {
	ctx := begin(t)
	configure(ctx, t, frr, router.Neighbour{Address: node1.V4})
	configure(ctx, t, bird, router.Neighbour{Address: node1.V4})
	create(ctx, t, peer("one", lab.AddressesOf(lab.Router).V4, "myASN: 64601", "peerASN: 64513", "routerID: 192.0.2.1", on("node1")))
	create(ctx, t, peer("other", lab.AddressesOf(lab.Router2).V4, "myASN: 64602", "peerASN: 64513", "routerID: 192.0.2.2", on("node1")))
	for n, r := range []aRouter{frr, bird} {
		awaitSession(ctx, t, r, node1.V4, func(s router.Session) error {
			id := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + n)})
			return errors.Join(want("ASN", s.ASN, uint32(64601+n)), want("router ID", s.RouterID, id))
		})
	}
}

func in(ctx context.Context, t *testing.T, host lab.Host, command ...string) {
	t.Helper()
	_, err := cluster.In(ctx, host, command...)
	must(t, err)
}
