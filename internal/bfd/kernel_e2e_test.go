//go:build e2e

package bfd

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

func is(status lb.BFDStatus) func(lb.BFDState) bool {
	return func(s lb.BFDState) bool { return s.Status == status }
}

// ways are the ways in which two hosts can watch the path between them: both ends' sessions.
func ways(w *world) map[string][2]lb.BFDSession {
	leftLocal, rightLocal := w.linkLocal(0, "r0"), w.linkLocal(1, "l0")
	profile := profileOf(100*ms, 3)
	echo := profile
	echo.EchoMode = true
	return map[string][2]lb.BFDSession{
		"IPv4":        {{Peer: address(0, 2), Profile: profile}, {Peer: address(0, 1), Profile: profile}},
		"IPv6":        {{Peer: address6(0, 2), Profile: profile}, {Peer: address6(0, 1), Profile: profile}},
		"from a link": {{Peer: address(0, 2), Interface: "r0", Profile: profile}, {Peer: address(0, 1), Interface: "l0", Profile: profile}},
		"from an address": {
			{Peer: address(0, 2), Local: address(0, 1), Profile: profile},
			{Peer: address(0, 1), Local: address(0, 2), Profile: profile},
		},
		"unnumbered": {{Peer: rightLocal.WithZone("r0"), Profile: profile}, {Peer: leftLocal.WithZone("l0"), Profile: profile}},
		"unnumbered, by name": {
			{Peer: rightLocal, Interface: "r0", Profile: profile},
			{Peer: leftLocal.WithZone("l0"), Interface: "l0", Profile: profile},
		},
		"with echoes": {{Peer: address(0, 2), Profile: echo}, {Peer: address(0, 1), Profile: echo}},
		// The kernel of a VRF is not needed to see that packets of its device alone count.
		"in a VRF": {{Peer: address(0, 2), VRF: "r0", Profile: profile}, {Peer: address(0, 1), VRF: "l0", Profile: profile}},
	}
}

func TestSessionsOverOneHop(t *testing.T) {
	w := newWorld(t, 2)
	for name, sessions := range ways(w) {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, hosts: w.hosts}
			left, right := w.speaker(0), w.speaker(1)
			left.Set(sessions[:1])
			right.Set(sessions[1:])
			left.awaitStatus(sessions[0].Peer, lb.BFDUp)
			right.awaitStatus(sessions[1].Peer, lb.BFDUp)
			left.await(sessions[0].Peer, "settled", func(s lb.BFDState) bool { return s.DetectionTime == 300*ms })
			if sessions[0].Profile.EchoMode {
				eventually(t, "echoes come back", func() bool { return left.Stats().Sessions[sessions[0].Key()].EchoPacketsReceived > 20 })
			}

			w.in(1, "ip link set l0 down")
			got := left.awaitStatus(sessions[0].Peer, lb.BFDDown)
			if got.Diagnostic != "Control Detection Time Expired" && got.Diagnostic != "Echo Function Failed" {
				t.Errorf("the cut is reported as %+v", got)
			}
			w.in(1, "ip link set l0 up")
			w.in(1, fmt.Sprintf("ip address replace %s/64 dev l0 nodad", address6(0, 2)))
			left.awaitStatus(sessions[0].Peer, lb.BFDUp)

			right.Set(nil)
			got = left.await(sessions[0].Peer, "shut down by the peer", func(s lb.BFDState) bool { return s.RemoteStatus == lb.BFDAdminDown })
			if got.Status != lb.BFDDown || got.RemoteDiagnostic != "Administratively Down" {
				t.Errorf("the peer's shutdown is %+v", got)
			}
		})
	}
}

func TestSessionsOverTwoHops(t *testing.T) {
	w := newWorld(t, 3)
	for _, ends := range [][2]netip.Addr{{address(0, 1), address(1, 2)}, {address6(0, 1), address6(1, 2)}} {
		profile := profileOf(100*ms, 3) // its minimum TTL of 254 permits one router
		left, right := w.speaker(0), w.speaker(2)
		left.Set([]lb.BFDSession{{Peer: ends[1], Local: ends[0], MultiHop: true, Profile: profile}})
		right.Set([]lb.BFDSession{{Peer: ends[0], MultiHop: true, Profile: profile}})
		left.awaitStatus(ends[1], lb.BFDUp)

		strict := profile
		strict.MinimumTTL = 255
		left.Set([]lb.BFDSession{{Peer: ends[1], Local: ends[0], MultiHop: true, Profile: strict}})
		left.awaitStatus(ends[1], lb.BFDDown)
		if left.dropped(dropTTL) == 0 {
			t.Error("packets below the minimum TTL are not counted")
		}
		left.stop()
		right.stop()
	}
}

// Packets of one hop that came over a router are not accepted (RFC 5881 section 5).
func TestOneHopMeansOneHop(t *testing.T) {
	w := newWorld(t, 3)
	left, right := w.speaker(0), w.speaker(2)
	left.Set([]lb.BFDSession{{Peer: address(1, 2), Profile: profileOf(100*ms, 3)}})
	right.Set([]lb.BFDSession{{Peer: address(0, 1), Profile: profileOf(100*ms, 3)}})
	eventually(t, "packets are dropped for their TTL", func() bool { return left.dropped(dropTTL) > 2 && right.dropped(dropTTL) > 2 })
	if got := left.await(address(1, 2), "Down", is(lb.BFDDown)); got.RemoteStatus != lb.BFDDown {
		t.Errorf("the session is %+v", got)
	}
}

// A process of its own, its death included.
func TestProcessOfItsOwn(t *testing.T) {
	w := newWorld(t, 2)
	left, right := w.process(0), w.speaker(1)
	left.Set([]lb.BFDSession{{Peer: address(0, 2), Profile: profileOf(100*ms, 3)}})
	right.Set([]lb.BFDSession{{Peer: address(0, 1), Profile: profileOf(100*ms, 3)}})
	left.awaitStatus(address(0, 2), lb.BFDUp)
	w.in(1, "ip link set l0 down")
	left.awaitStatus(address(0, 2), lb.BFDDown)
	w.in(1, "ip link set l0 up")
	left.awaitStatus(address(0, 2), lb.BFDUp)

	left.flaps()
	pids := strings.Fields(w.run("ip netns pids " + w.hosts[0]))
	if len(pids) != 1 {
		t.Fatalf("processes are %v, want one", pids)
	}
	w.run("kill -KILL " + pids[0])
	got := left.awaitStatus(address(0, 2), lb.BFDDown)
	if got.Problem == "" || len(left.flaps()) > 0 {
		t.Errorf("the process's death is %+v", got)
	}
	left.awaitStatus(address(0, 2), lb.BFDUp)

	left.stop()
	got = right.await(address(0, 1), "shut down", func(s lb.BFDState) bool { return s.RemoteStatus == lb.BFDAdminDown })
	if got.Status != lb.BFDDown {
		t.Errorf("the peer is %+v", got)
	}
}

func TestPortThatIsTaken(t *testing.T) {
	w := newWorld(t, 2)
	first, second, right := w.speaker(0), w.speaker(0), w.speaker(1)
	session := lb.BFDSession{Peer: address(0, 2), Profile: profileOf(100*ms, 3)}
	right.Set([]lb.BFDSession{{Peer: address(0, 1), Profile: profileOf(100*ms, 3)}})
	first.Set([]lb.BFDSession{session})
	first.awaitStatus(address(0, 2), lb.BFDUp)
	second.Set([]lb.BFDSession{session})
	got := second.await(address(0, 2), "a problem", func(s lb.BFDState) bool { return s.Problem != "" })
	if want := "listen on UDP port 3784: it is taken: another BFD daemon seems to run on this node"; got.Problem != want {
		t.Errorf("the problem is %q, want %q", got.Problem, want)
	}
	first.stop()
	second.awaitStatus(address(0, 2), lb.BFDUp)
}

func TestAddressThatIsMissing(t *testing.T) {
	w := newWorld(t, 2)
	left, right := w.speaker(0), w.speaker(1)
	local := netip.MustParseAddr("10.0.0.9")
	left.Set([]lb.BFDSession{{Peer: address(0, 2), Local: local, Profile: profileOf(100*ms, 3)}})
	right.Set([]lb.BFDSession{{Peer: local, Profile: profileOf(100*ms, 3)}})
	left.await(address(0, 2), "a problem", func(s lb.BFDState) bool { return strings.Contains(s.Problem, "bind to 10.0.0.9") })
	w.in(0, "ip address add 10.0.0.9/24 dev r0")
	left.awaitStatus(address(0, 2), lb.BFDUp)
}

// A link that comes back under its name is another one to the kernel.
func TestLinkThatIsMadeAnew(t *testing.T) {
	w := newWorld(t, 2)
	left, right := w.speaker(0), w.speaker(1)
	profile := profileOf(100*ms, 3)
	profile.EchoMode = true
	left.Set([]lb.BFDSession{{Peer: address(0, 2), Interface: "r0", Profile: profile}})
	right.Set([]lb.BFDSession{{Peer: address(0, 1), Profile: profile}})
	left.awaitStatus(address(0, 2), lb.BFDUp)
	w.in(0, "ip link delete r0")
	left.await(address(0, 2), "a problem", func(s lb.BFDState) bool { return s.Status == lb.BFDDown && s.Problem != "" })
	w.in(1, "ip link add dummy99 type veth peer name dummy98") // takes the old index, should it be given again
	w.join(0)
	left.awaitStatus(address(0, 2), lb.BFDUp)
	right.awaitStatus(address(0, 1), lb.BFDUp)
}

func TestHundredsOfSessions(t *testing.T) {
	const count = 300
	w := newWorld(t, 2)
	left, right := w.crowd(count, profileOf(300*ms, 3), w.speaker)
	for _, h := range []*host{left, right} {
		eventually(t, "all are up", func() bool { return h.up() == count })
		h.flaps()
	}
	time.Sleep(5 * time.Second)
	if l, r := left.flaps(), right.flaps(); len(l)+len(r) > 0 {
		t.Errorf("%d and %d changes in five quiet seconds", len(l), len(r))
	}
	w.in(0, "ip link set r0 down")
	for _, h := range []*host{left, right} {
		eventually(t, "all are down", func() bool { return h.up() == 0 })
	}
}

func (h *host) up() (n int) {
	for _, s := range h.States() {
		if s.Status == lb.BFDUp {
			n++
		}
	}
	return n
}

// crowd starts two speakers with many sessions between them: as many as there are pairs of up to 25
// addresses on either side, since neighbours are scarce (net.ipv4.neigh.default.gc_thresh3).
func (w *world) crowd(count int, profile lb.BFDProfile, start func(int) *host) (left, right *host) {
	w.t.Helper()
	for i := range 25 {
		w.in(0, fmt.Sprintf("ip address add 10.9.0.%d/15 dev r0", 1+i))
		w.in(1, fmt.Sprintf("ip address add 10.8.0.%d/15 dev l0", 1+i))
	}
	var l, r []lb.BFDSession
	for i := range count {
		a, b := netip.AddrFrom4([4]byte{10, 9, 0, byte(1 + i%25)}), netip.AddrFrom4([4]byte{10, 8, 0, byte(1 + i/25)})
		l = append(l, lb.BFDSession{Peer: b, Local: a, Profile: profile})
		r = append(r, lb.BFDSession{Peer: a, Local: b, Profile: profile})
	}
	left, right = start(0), start(1)
	left.Set(l)
	right.Set(r)
	return left, right
}

// What is wrong with a packet that really arrives changes nothing but one counter.
func TestHostilePacketsOnTheWire(t *testing.T) {
	w := newWorld(t, 2)
	left, right := w.speaker(0), w.speaker(1)
	left.Set([]lb.BFDSession{{Peer: address(0, 2), Profile: profileOf(100*ms, 3)}})
	right.Set([]lb.BFDSession{{Peer: address(0, 1), Profile: profileOf(100*ms, 3)}})
	left.awaitStatus(address(0, 2), lb.BFDUp)
	w.in(1, "ip address add 10.0.0.66/24 dev l0")
	left.flaps()

	down := packet{state: stateDown, multiplier: 3, myDiscriminator: 66}
	unknown := down
	unknown.yourDiscriminator = 66
	for _, h := range []struct {
		why     drop
		from    netip.Addr
		ttl     int
		payload []byte
	}{
		{dropTTL, address(0, 2), 254, down.append(nil)},
		{dropMalformed, address(0, 2), 255, down.append(nil)[:23]},
		{dropMalformed, address(0, 2), 255, nil},
		{dropMalformed, address(0, 2), 255, make([]byte, 1400)},
		{dropUnknownDiscriminator, address(0, 2), 255, unknown.append(nil)},
		{dropUnknownPeer, netip.MustParseAddr("10.0.0.66"), 255, down.append(nil)},
	} {
		before := left.dropped(h.why)
		w.sendFrom(1, h.from, h.ttl, h.payload)
		eventually(t, "it is counted as "+h.why.String(), func() bool { return left.dropped(h.why) == before+1 })
	}
	if flaps := left.flaps(); len(flaps) > 0 {
		t.Errorf("the session flapped: %v", flaps)
	}
}

// sendFrom sends a packet to port 3784 of the left host.
func (w *world) sendFrom(host int, from netip.Addr, ttl int, payload []byte) {
	w.t.Helper()
	err := inNamespace(w.hosts[host], func() error {
		fd, err := openUDP(false)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := setOptions(fd, []option{{unix.IPPROTO_IP, unix.IP_TTL, ttl}}); err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0), 0)); err != nil {
			return err
		}
		return sendTo(fd, payload, sockaddr(netip.AddrPortFrom(address(0, 1), singleHopPort), 0))
	})
	if err != nil {
		w.t.Fatalf("send from %s: %v", from, err)
	}
}
