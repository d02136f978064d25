package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"

	"github.com/herald-lb/herald/internal/lb"
)

// patience is how long a test waits for what should take a fraction of it.
const patience = 20 * time.Second

// router is a GoBGP server on a loopback address of its own: another implementation at
// the other end of a real TCP connection.
type router struct {
	t       testing.TB
	server  *server.BgpServer
	address netip.AddrPort
	asn     uint32
}

// newRouter starts a router that expects us from source.
func newRouter(t testing.TB, address string, asn uint32, neighbours ...*api.Peer) *router {
	t.Helper()
	r := &router{t: t, asn: asn, address: netip.AddrPortFrom(netip.MustParseAddr(address), freePort(t, address))}
	r.server = server.NewBgpServer(server.LoggerOption(slog.New(slog.DiscardHandler), nil))
	go r.server.Serve()
	global := &api.Global{Asn: asn, RouterId: "192.0.2.1", ListenPort: int32(r.address.Port()), ListenAddresses: []string{address}}
	if err := r.server.StartBgp(t.Context(), &api.StartBgpRequest{Global: global}); err != nil {
		t.Fatal(err)
	}
	for _, n := range neighbours {
		if err := r.server.AddPeer(t.Context(), &api.AddPeerRequest{Peer: n}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(r.server.Stop)
	return r
}

// neighbour is how a router expects us, from an address and in an autonomous system.
func neighbour(address string, asn uint32) *api.Peer {
	p := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: address, PeerAsn: asn},
		Transport: &api.Transport{PassiveMode: true},
		Timers:    &api.Timers{Config: &api.TimersConfig{HoldTime: 9, KeepaliveInterval: 3}},
	}
	p.AfiSafis = []*api.AfiSafi{{Config: &api.AfiSafiConfig{
		Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}, Enabled: true,
	}}}
	return p
}

func freePort(t testing.TB, address string) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// table returns what the router holds, as "prefix attributes", sorted.
func (r *router) table() []string {
	r.t.Helper()
	var out []string
	err := r.server.ListPath(apiutil.ListPathRequest{TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: bgp.RF_IPv4_UC},
		func(prefix bgp.NLRI, paths []*apiutil.Path) {
			for _, p := range paths {
				out = append(out, fmt.Sprint(prefix, " ", p.Attrs))
			}
		})
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// updates is how many UPDATE messages the router got of us.
func (r *router) updates() (n uint64) {
	r.t.Helper()
	err := r.server.ListPeer(context.Background(), &api.ListPeerRequest{}, func(p *api.Peer) {
		n += p.State.Messages.Received.Update
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// peer is how we know the router.
func (r *router) peer(name lb.PeerName, myASN uint32) lb.Peer {
	return lb.Peer{
		Name: name, MyASN: myASN, ASN: r.asn, Address: r.address.Addr(), Port: r.address.Port(), HoldTime: 9 * time.Second,
		SourceAddress: netip.MustParseAddr("127.0.0.1"), RouterID: netip.MustParseAddr("192.0.2.99"),
	}
}

// holds is how many prefixes are in the router's table.
func (r *router) holds() uint64 {
	r.t.Helper()
	table, err := r.server.GetTable(context.Background(), &api.GetTableRequest{
		TableType: api.TableType_TABLE_TYPE_GLOBAL, Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return table.NumDestination
}
