package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// These tests let two speakers talk over a network of the test's own, in the time of a bubble.

func profileOf(interval time.Duration, multiplier int) lb.BFDProfile {
	return lb.BFDProfile{
		ReceiveInterval: interval, TransmitInterval: interval, DetectMultiplier: multiplier, EchoInterval: 50 * ms, MinimumTTL: 254,
	}
}

// pair starts two speakers with a session between them.
func pair(t *testing.T, n *network, a, b lb.BFDProfile) (left, right *party) {
	t.Helper()
	left, right = n.start(t, "192.0.2.1", 1), n.start(t, "192.0.2.2", 2)
	left.Set(sessionWith(right.node, a))
	right.Set(sessionWith(left.node, b))
	return left, right
}

func upPair(t *testing.T, n *network, a, b lb.BFDProfile) (left, right *party) {
	t.Helper()
	left, right = pair(t, n, a, b)
	time.Sleep(10 * time.Second)
	for _, p := range []*party{left, right} {
		if got := p.state(t); got.Status != lb.BFDUp {
			t.Fatalf("after ten seconds, the session is %+v", got)
		}
		p.reports()
	}
	return left, right
}

func TestSessionComesUpAndNegotiates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := upPair(t, newNetwork(1), profileOf(300*ms, 3), profileOf(50*ms, 5))
		l, r := left.state(t), right.state(t)
		if l.TransmitInterval != 300*ms || l.DetectionTime != 1500*ms {
			t.Errorf("left settled on %s and %s", l.TransmitInterval, l.DetectionTime)
		}
		if r.TransmitInterval != 300*ms || r.DetectionTime != 900*ms {
			t.Errorf("right settled on %s and %s", r.TransmitInterval, r.DetectionTime)
		}
	})
}

// The properties that users rely on, for networks of all kinds: a session comes up, stays up while
// no more packets are lost than the multiplier permits, and goes down within the Detection Time
// after the path ended; then it comes up again.
func TestSessionOverBadNetworks(t *testing.T) {
	const interval = 100 * ms
	for seed := range uint64(24) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(seed)
				multiplier := 3 + int(seed%3)
				n.loss, n.burst = float64(seed%4)*0.15, multiplier-2
				n.delay, n.jitter = time.Duration(seed%5)*10*ms, time.Duration(seed%7)*10*ms
				n.granularity = []time.Duration{0, ms, 4 * ms, 10 * ms}[seed%4]
				left, right := pair(t, n, profileOf(interval, multiplier), profileOf(interval, multiplier))
				time.Sleep(30 * time.Second)
				for _, p := range []*party{left, right} {
					if got := p.state(t); got.Status != lb.BFDUp {
						t.Fatalf("after half a minute, the session is %+v", got)
					}
					p.reports()
				}

				time.Sleep(2 * time.Minute)
				if l, r := left.reports(), right.reports(); len(l)+len(r) > 0 {
					t.Errorf("with a loss of %.2f the session flapped: %v %v", n.loss, l, r)
				}

				both := [][2]netip.Addr{{left.node.addr, right.node.addr}, {right.node.addr, left.node.addr}}
				n.setCut(true, both...)
				cut := time.Now()
				time.Sleep(10 * time.Second)
				allowed := time.Duration(multiplier)*interval + n.delay + n.jitter + n.granularity
				for _, p := range []*party{left, right} {
					r := p.reports()
					if len(r) != 1 || r[0].state.Diagnostic != "Control Detection Time Expired" || r[0].at.Sub(cut) > allowed {
						t.Errorf("within %s of the cut, reported %v", allowed, r)
					}
				}

				n.setCut(false, both...)
				time.Sleep(30 * time.Second)
				if got := left.state(t); got.Status != lb.BFDUp {
					t.Errorf("after the repair, the session is %+v", got)
				}
			})
		})
	}
}

// One direction alone fails: who hears nothing says so, and both ends are down.
func TestOneWayFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		left, right := upPair(t, n, profileOf(100*ms, 3), profileOf(100*ms, 3))
		n.setCut(true, [2]netip.Addr{left.node.addr, right.node.addr})
		time.Sleep(500 * ms)
		l, r := left.state(t), right.state(t)
		if r.Status != lb.BFDDown || r.Diagnostic != "Control Detection Time Expired" {
			t.Errorf("right is %+v", r)
		}
		if l.Status != lb.BFDDown || l.Diagnostic != "Neighbor Signaled Session Down" || l.RemoteDiagnostic != r.Diagnostic {
			t.Errorf("left is %+v", l)
		}
	})
}

func TestPassive(t *testing.T) {
	passive := profileOf(100*ms, 3)
	passive.PassiveMode = true
	t.Run("two passive sides never meet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			left, right := pair(t, newNetwork(1), passive, passive)
			time.Sleep(time.Hour)
			if l, r := left.state(t), right.state(t); l.Status != lb.BFDDown || r.Status != lb.BFDDown {
				t.Errorf("they are %s and %s", l.Status, r.Status)
			}
			for _, stats := range left.Stats().Sessions {
				if stats.ControlPacketsSent != 0 {
					t.Errorf("one sent %d packets", stats.ControlPacketsSent)
				}
			}
		})
	})
	t.Run("an active side wakes a passive one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { upPair(t, newNetwork(1), passive, profileOf(100*ms, 3)) })
	})
}

func TestMultiHopMinimumTTL(t *testing.T) {
	for minimum, want := range map[int]lb.BFDState{
		254: {Status: lb.BFDUp},
		255: {Status: lb.BFDDown, Problem: "its packets arrive with a TTL of 3, and minimumTtl is 255"},
	} {
		synctest.Test(t, func(t *testing.T) { // packets arrive with a TTL of 254
			n := newNetwork(1)
			left, right := n.start(t, "192.0.2.1", 1), n.start(t, "192.0.2.2", 2)
			profile := profileOf(100*ms, 3)
			profile.MinimumTTL = minimum
			fromAfar := Arrival{
				Kind: MultiHop, TTL: 3, Source: right.node.addr, Destination: left.node.addr,
				Payload: new(packet{state: stateDown, multiplier: 3, myDiscriminator: 1}).append(nil),
			}
			left.Set([]lb.BFDSession{{Peer: right.node.addr, MultiHop: true, Profile: profile}})
			synctest.Wait()
			n.deliver(left.node.addr, fromAfar)
			right.Set([]lb.BFDSession{{Peer: left.node.addr, MultiHop: true, Profile: profileOf(100*ms, 3)}})
			time.Sleep(10 * time.Second)
			if got := left.state(t); got.Status != want.Status || got.Problem != want.Problem {
				t.Errorf("with a minimum of %d it is %+v, want %+v", minimum, got, want)
			}
			profile.MinimumTTL = 254
			left.Set([]lb.BFDSession{{Peer: right.node.addr, MultiHop: true, Profile: profile}})
			time.Sleep(10 * time.Second)
			if got := left.state(t); got.Status != lb.BFDUp || got.Problem != "" {
				t.Errorf("with another minimum than %d it is %+v", minimum, got)
			}
			n.deliver(left.node.addr, fromAfar)
			synctest.Wait()
			if got := left.state(t); got.Status != lb.BFDUp || got.Problem != "" {
				t.Errorf("after a packet from afar it is %+v", got)
			}
		})
	}
}

func TestEchoDetectsWhatControlPacketsDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		echo := profileOf(300*ms, 3)
		echo.EchoMode = true
		left, right := upPair(t, n, echo, echo)
		n.mu.Lock()
		n.deaf = true
		n.mu.Unlock()
		began := time.Now()
		time.Sleep(250 * ms)
		l, r := left.reports(), right.reports()
		if len(l) == 0 || len(r) == 0 {
			t.Fatalf("reported %v and %v", l, r)
		}
		if took := min(l[0].at.Sub(began), r[0].at.Sub(began)); took > 150*ms+n.delay {
			t.Errorf("detected after %s", took)
		}
		if a, b := l[0].state.Diagnostic, r[0].state.Diagnostic; a != "Echo Function Failed" && b != "Echo Function Failed" {
			t.Errorf("the reasons are %q and %q", a, b)
		}
	})
}

func TestProfileChangeDoesNotDisturb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := upPair(t, newNetwork(1), profileOf(300*ms, 3), profileOf(300*ms, 3))
		for _, interval := range []time.Duration{50 * ms, time.Second, 20 * ms, 10 * time.Second, 300 * ms} {
			left.Set(sessionWith(right.node, profileOf(interval, 5)))
			right.Set(sessionWith(left.node, profileOf(interval, 5)))
			time.Sleep(time.Minute)
			if l, r := left.state(t), right.state(t); l.TransmitInterval != interval || r.DetectionTime != 5*interval {
				t.Errorf("with %s they settled on %s and %s", interval, l.TransmitInterval, r.DetectionTime)
			}
		}
		if l, r := left.reports(), right.reports(); len(l)+len(r) > 0 {
			t.Errorf("the session flapped: %v %v", l, r)
		}
	})
}

func TestSetIsIdempotent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := upPair(t, newNetwork(1), profileOf(100*ms, 3), profileOf(100*ms, 3))
		before := left.state(t)
		for range 50 {
			left.Set(sessionWith(right.node, profileOf(100*ms, 3)))
			time.Sleep(7 * ms)
		}
		if after := left.state(t); after != before {
			t.Errorf("%+v became %+v", before, after)
		}
	})
}

func TestRemovalTellsThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := upPair(t, newNetwork(1), profileOf(300*ms, 3), profileOf(300*ms, 3))
		left.Set(nil)
		time.Sleep(10 * ms)
		got := right.state(t)
		if got.Status != lb.BFDDown || got.RemoteStatus != lb.BFDAdminDown || got.RemoteDiagnostic != "Administratively Down" {
			t.Errorf("the peer is %+v", got)
		}
		if states := left.States(); len(states) != 0 {
			t.Errorf("the removed session is still shown: %v", states)
		}
		if reports := left.reports(); len(reports) != 0 {
			t.Errorf("the removed session is reported: %v", reports)
		}
		if left.node.paths != 0 {
			t.Error("the socket is still open though the peer knows")
		}
		left.Set(sessionWith(right.node, profileOf(300*ms, 3)))
		time.Sleep(5 * time.Second)
		if got := right.state(t); got.Status != lb.BFDUp {
			t.Errorf("when it is wanted again, the peer is %+v", got)
		}
	})
}

func TestSessionWantedAgainWhileItLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := upPair(t, newNetwork(1), profileOf(300*ms, 3), profileOf(300*ms, 3))
		left.Set(nil)
		synctest.Wait() // no answer can have come yet
		left.Set(sessionWith(right.node, profileOf(100*ms, 3)))
		time.Sleep(5 * time.Second)
		if got := left.state(t); got.Status != lb.BFDUp || got.DetectionTime != 900*ms {
			t.Errorf("it is %+v", got)
		}
	})
}

func TestStopTellsAllPeers(t *testing.T) {
	for name, lost := range map[string]bool{"who answer": false, "who do not": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork(1)
				left, right := upPair(t, n, profileOf(300*ms, 3), profileOf(300*ms, 3))
				n.setCut(lost, [2]netip.Addr{right.node.addr, left.node.addr})
				began := time.Now()
				left.stop()
				if took := time.Since(began); took > parting || !lost && took > 2*n.delay {
					t.Errorf("the stop took %s", took)
				}
				if got := right.state(t); got.RemoteStatus != lb.BFDAdminDown {
					t.Errorf("the peer is %+v", got)
				}
			})
		})
	}
}

// A speaker that does not run for a while must not blame the peer for it.
func TestOwnDelayIsNotThePeersDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Right waits for 200 intervals, left for three: only left can lose patience.
		left, right := upPair(t, newNetwork(1), profileOf(50*ms, 200), profileOf(50*ms, 3))
		for range 20 {
			left.node.network.mu.Lock()
			left.node.stall = 2 * time.Second
			left.node.network.mu.Unlock()
			time.Sleep(3 * time.Second)
		}
		if l, r := left.reports(), right.reports(); len(l)+len(r) > 0 {
			t.Errorf("the session flapped: %v %v", l, r)
		}
	})
}

func TestProblemIsShownAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		left, right := n.start(t, "192.0.2.1", 1), n.start(t, "192.0.2.2", 2)
		left.node.broken = errors.New("listen on UDP port 3784: it is taken")
		left.Set(sessionWith(right.node, profileOf(100*ms, 3)))
		right.Set(sessionWith(left.node, profileOf(100*ms, 3)))
		time.Sleep(time.Minute)
		if got := left.state(t); got.Problem != left.node.broken.Error() || got.Status != lb.BFDDown {
			t.Errorf("it is %+v", got)
		}
		n.mu.Lock()
		left.node.broken = nil
		n.mu.Unlock()
		time.Sleep(5 * time.Second)
		if got := left.state(t); got.Problem != "" || got.Status != lb.BFDUp {
			t.Errorf("when the port is free, it is %+v", got)
		}
	})
}

// Whatever is wrong with a packet, it changes nothing but one counter.
func TestHostilePackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		left, right := upPair(t, n, profileOf(100*ms, 3), profileOf(100*ms, 3))
		before := left.state(t)
		var own, theirs uint32
		for _, w := range left.watches { // its goroutine waits: the bubble is idle
			own, theirs = w.session.localDiscr, w.session.remoteDiscr
		}
		packetWith := func(change func(*packet)) []byte {
			p := packet{state: stateDown, multiplier: 3, myDiscriminator: theirs, yourDiscriminator: own}
			change(&p)
			return p.append(nil)
		}
		good := packetWith(func(*packet) {})
		hostile := []struct {
			why drop
			a   Arrival
		}{
			{dropTTL, Arrival{TTL: 254, Source: right.node.addr, Payload: good}},
			{dropMalformed, Arrival{TTL: 255, Source: right.node.addr, Payload: good[:20]}},
			{dropUnknownDiscriminator, Arrival{TTL: 255, Source: right.node.addr, Payload: packetWith(func(p *packet) { p.yourDiscriminator++ })}},
			{dropWrongSource, Arrival{TTL: 255, Source: netip.MustParseAddr("192.0.2.3"), Payload: good}},
			{dropWrongSource, Arrival{TTL: 255, Source: right.node.addr, VRF: "red", Payload: good}},
			{dropWrongSource, Arrival{Kind: MultiHop, TTL: 255, Source: right.node.addr, Payload: good}},
			{dropUnknownPeer, Arrival{TTL: 255, Source: netip.MustParseAddr("192.0.2.3"), Payload: packetWith(func(p *packet) { p.yourDiscriminator = 0 })}},
			{dropAuthentication, Arrival{TTL: 255, Source: right.node.addr, Payload: append([]byte{good[0], good[1] | flagAuthentication}, good[2:]...)}},
			{dropUnknownEcho, Arrival{Kind: EchoReturn, Source: left.node.addr, Payload: make([]byte, echoLength)}},
			{dropUnknownPeer, Arrival{Kind: EchoLoop, TTL: 255, Source: right.node.addr, Payload: good}},
			{dropTTL, Arrival{Kind: EchoLoop, TTL: 254, Source: right.node.addr, Payload: good}},
		}
		for _, h := range hostile {
			h.a.Destination = left.node.addr
			count := left.drops[h.why].Load()
			n.deliver(left.node.addr, h.a)
			synctest.Wait()
			if got := left.drops[h.why].Load(); got != count+1 {
				t.Errorf("%+v is not counted as %s", h.a, h.why)
			}
		}
		if after := left.state(t); after != before {
			t.Errorf("%+v became %+v", before, after)
		}
	})
}

func TestChangedSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		left, _ := upPair(t, n, profileOf(100*ms, 3), profileOf(100*ms, 3))
		select {
		case <-left.Changed():
		default:
			t.Error("coming up signalled nothing")
		}
		time.Sleep(time.Minute)
		select {
		case <-left.Changed():
			t.Error("a quiet minute signalled a change")
		default:
		}
	})
}

func TestStatsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := upPair(t, newNetwork(1), profileOf(100*ms, 3), profileOf(100*ms, 3))
		right.stop()
		synctest.Wait()
		for _, got := range left.Stats().Sessions {
			if got.Up || got.UpEvents != 1 || got.DownEvents != 1 || got.Notifications != 2 {
				t.Errorf("counted %+v", got)
			}
			// Nine seconds up at 75 to 100 ms.
			if got.ControlPacketsSent < 90 || got.ControlPacketsSent > 140 || got.ControlPacketsReceived < 90 {
				t.Errorf("counted %d packets sent and %d received", got.ControlPacketsSent, got.ControlPacketsReceived)
			}
		}
	})
}
