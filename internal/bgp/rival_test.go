package bgp

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

func TestWhichConnectionIsASessionWithTheRouter(t *testing.T) {
	const tor, elsewhere, neighbour = "10.0.0.1:179", "10.0.0.1:1790", "[fe80::1%eth1]:179"
	none, red, unnumbered := lb.Peer{}, lb.Peer{VRF: "red"}, lb.Peer{Interface: "eth1"}
	for name, c := range map[string]struct {
		peer                  lb.Peer
		router                string
		local, remote, device string
		want                  bool
	}{
		"one to its port":                      {none, tor, "10.0.0.9:40000", "10.0.0.1:179", "", true},
		"one to its port that is another":      {none, elsewhere, "10.0.0.9:40000", "10.0.0.1:1790", "", true},
		"one that it opened":                   {none, tor, "10.0.0.9:179", "10.0.0.1:40000", "", true},
		"one in the same VRF":                  {red, tor, "10.0.0.9:40000", "10.0.0.1:179", "red", true},
		"one on the same link":                 {unnumbered, neighbour, "[fe80::9]:40000", "[fe80::1]:179", "eth1", true},
		"not one from another address of ours": {none, tor, "10.0.0.8:40000", "10.0.0.1:179", "", false},
		"not one with another router":          {none, tor, "10.0.0.9:40000", "10.0.0.2:179", "", false},
		"not one for other business":           {none, tor, "10.0.0.9:40000", "10.0.0.1:443", "", false},
		"not one to another port":              {none, elsewhere, "10.0.0.9:40000", "10.0.0.1:179", "", false},
		"not one in a VRF":                     {none, tor, "10.0.0.9:40000", "10.0.0.1:179", "red", false},
		"not one in no VRF":                    {red, tor, "10.0.0.9:40000", "10.0.0.1:179", "", false},
		"not one on another link":              {unnumbered, neighbour, "[fe80::9]:40000", "[fe80::1]:179", "eth2", false},
	} {
		t.Run(name, func(t *testing.T) {
			from := netip.MustParseAddr("10.0.0.9")
			if c.peer.Interface != "" {
				from = netip.MustParseAddr("fe80::9")
			}
			other := connection{local: netip.MustParseAddrPort(c.local), remote: netip.MustParseAddrPort(c.remote), device: c.device}
			if got := other.isSession(c.peer, from, netip.MustParseAddrPort(c.router)); got != c.want {
				t.Errorf("it is a session: %t, want %t", got, c.want)
			}
		})
	}
}

func TestASessionWaitsUntilItsRivalHasLeft(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64512, neighbour("127.0.0.1", 64500))
	s := newSpeaker(t)
	var left atomic.Bool
	s.rival = func(lb.Peer, netip.AddrPort) (netip.Addr, error) {
		if left.Load() {
			return netip.Addr{}, errors.New("the kernel cannot tell")
		}
		return netip.MustParseAddr("127.0.0.1"), nil
	}
	s.Set([]lb.Session{{Peer: r.peer("tor", 64500)}})
	run(t, s)
	st := await(t, s, "tor", "in the way of a rival", down(lb.RivalSession))
	if st.Status != lb.Idle || !strings.Contains(st.LastError, "another program on this node holds a session with the router, from 127.0.0.1") {
		t.Errorf("the state is %+v", st)
	}
	if n := st.Messages.TotalSent; n != 0 {
		t.Errorf("the router was sent %d messages", n)
	}
	left.Store(true)
	await(t, s, "tor", "established", established(0))
}

// The kernel's own answer, of connections of this process, which are no other program's.
func TestConnectionsAreThoseOfTheKernel(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	here, there := conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	own, err := ownSockets()
	if err != nil {
		t.Fatal(err)
	}
	for ports, want := range map[socketPorts]connection{
		{remote: there.Port()}: {local: here, remote: there},
		{local: there.Port()}:  {local: there, remote: here},
	} {
		all, err := connections(unix.AF_INET, ports)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) != 1 || all[0].local != want.local || all[0].remote != want.remote || all[0].device != "" {
			t.Fatalf("connections of %+v are %+v, want %+v", ports, all, want)
		}
		if ports.remote != 0 && !own[all[0].inode] {
			t.Errorf("socket %d is not among our own, %v", all[0].inode, own)
		}
	}
	if all, err := others(there.Port()); err != nil || len(all) != 0 {
		t.Errorf("other programs hold %v, %v", all, err)
	}
	if from, err := sourceAddress(lb.Peer{}, there.Addr()); err != nil || from != here.Addr() {
		t.Errorf("towards %s our address is %s (%v), want %s", there.Addr(), from, err, here.Addr())
	}
}
