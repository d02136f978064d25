package bfd

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

var (
	epoch  = time.Unix(1_000_000, 0)
	normal = lb.BFDProfile{
		ReceiveInterval: 300 * ms, TransmitInterval: 300 * ms, DetectMultiplier: 3, EchoInterval: 50 * ms, MinimumTTL: 254,
	}
)

// scene is a session whose peer is played by the test.
type scene struct {
	t   *testing.T
	s   session
	now time.Time
}

func newScene(t *testing.T, profile lb.BFDProfile) *scene {
	config := lb.BFDSession{Peer: netip.MustParseAddr("192.0.2.2"), Profile: profile}
	s := newSession(config, 7, func() float64 { return 1 }, epoch)
	s.echoOpen = true
	return &scene{t: t, s: s, now: epoch}
}

// hears lets a packet of the peer arrive now.
func (c *scene) hears(st state, changes ...func(*packet)) action {
	p := packet{state: st, multiplier: 3, myDiscriminator: 9, yourDiscriminator: 7, desiredMinTx: 100 * ms, requiredMinRx: 100 * ms}
	for _, change := range changes {
		change(&p)
	}
	return c.does(c.s.receive(&p, c.now, c.now))
}

// does sends what the session asks for.
func (c *scene) does(do action) action {
	if do&transmit != 0 {
		c.s.sentAt(c.now)
	}
	if do&transmitEcho != 0 {
		c.s.echoSentAt(c.now)
	}
	return do
}

// up brings the session up, and ends the Poll Sequence.
func up(t *testing.T, profile lb.BFDProfile) *scene {
	c := newScene(t, profile)
	c.hears(stateInit)
	c.hears(stateUp, final)
	return c
}

// pass lets time pass.
func (c *scene) pass(d time.Duration) {
	for end := c.now.Add(d); c.now.Before(end); {
		c.tick(end.Sub(c.now))
	}
}

// tick lets time pass until the session does something, at most so long.
func (c *scene) tick(atMost time.Duration) action {
	end := c.now.Add(atMost)
	for due := c.s.due(); reached(due, end); due = c.s.due() {
		c.now = due
		if do := c.s.tick(c.now); do != 0 {
			return c.does(do)
		}
	}
	c.now = end
	return 0
}

func (c *scene) expect(st state, diag diagnostic) {
	c.t.Helper()
	if c.s.state != st || c.s.localDiag != diag {
		c.t.Errorf("the session is %s with %q, want %s with %q", c.s.state.status(), c.s.localDiag, st.status(), diag)
	}
}

func final(p *packet)  { p.final = true }
func asks(p *packet)   { p.poll = true }
func demand(p *packet) { p.demand = true }

func TestThreeWayHandshake(t *testing.T) { // RFC 5880 section 6.2
	c := newScene(t, normal)
	if do := c.tick(0); do != transmit {
		t.Errorf("an active session does %b at its start, want a packet", do)
	}
	if do := c.hears(stateDown); do != transmit {
		t.Errorf("on Down it does %b, want a packet", do)
	}
	c.expect(stateInit, diagNone)
	if do := c.hears(stateUp); do != transmit|notify {
		t.Errorf("on Up it does %b, want a packet and a notification", do)
	}
	c.expect(stateUp, diagNone)
}

func TestSlowUntilUp(t *testing.T) { // section 6.8.3
	c := newScene(t, normal)
	if p := c.s.packet(false); p.desiredMinTx != time.Second || p.requiredMinRx != 300*ms || p.poll {
		t.Errorf("when down it says %+v", p)
	}
	c.hears(stateInit)
	if p := c.s.packet(false); p.desiredMinTx != 300*ms || !p.poll {
		t.Errorf("when up it says %+v, want its own interval and a poll", p)
	}
	c.pass(4 * time.Second)
	if p := c.s.packet(false); p.desiredMinTx != time.Second || p.poll {
		t.Errorf("when down again it says %+v", p)
	}
}

func TestFinalEndsThePoll(t *testing.T) { // section 6.5
	c := newScene(t, normal)
	c.hears(stateInit)
	for range 3 { // lost
		c.tick(300 * ms)
		c.hears(stateUp)
		if !c.s.packet(false).poll {
			t.Fatal("the poll ended without an answer")
		}
	}
	c.hears(stateUp, final)
	if c.s.packet(false).poll {
		t.Error("the poll goes on after its answer")
	}
}

func TestPollIsAnsweredInEveryState(t *testing.T) { // section 6.8.7
	c := newScene(t, normal)
	for _, st := range []state{stateDown, stateInit, stateUp, stateDown} {
		if do := c.hears(st, asks); do&answer == 0 {
			t.Errorf("a poll from a peer that is %s is not answered", st.status())
		}
		if p := c.s.packet(true); !p.final || p.poll {
			t.Errorf("the answer is %+v", p)
		}
	}
}

// Section 6.8.3: which changes wait for the end of the Poll Sequence.
func TestWhenNewIntervalsTakeEffect(t *testing.T) {
	type inForce struct{ Transmit, Detect time.Duration }
	for _, tt := range []struct {
		name          string
		tx, rx        time.Duration
		before, after inForce
	}{
		{"sending more often, at once", 200 * ms, 300 * ms, inForce{200 * ms, 900 * ms}, inForce{200 * ms, 900 * ms}},
		{"sending less often, when confirmed", 500 * ms, 300 * ms, inForce{300 * ms, 900 * ms}, inForce{500 * ms, 900 * ms}},
		{"expecting packets more often, when confirmed", 300 * ms, 200 * ms, inForce{300 * ms, 900 * ms}, inForce{300 * ms, 600 * ms}},
		{"expecting packets less often, at once", 300 * ms, 400 * ms, inForce{300 * ms, 1200 * ms}, inForce{300 * ms, 1200 * ms}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := up(t, normal)
			profile := normal
			profile.TransmitInterval, profile.ReceiveInterval = tt.tx, tt.rx
			c.s.configure(profile, c.now)
			if p := c.s.packet(false); !p.poll || p.desiredMinTx != tt.tx || p.requiredMinRx != tt.rx {
				t.Errorf("it says %+v", p)
			}
			before := inForce{c.s.transmitInterval(), c.s.detectionTime()}
			c.hears(stateUp, final)
			after := inForce{c.s.transmitInterval(), c.s.detectionTime()}
			if diff := cmp.Diff([]inForce{tt.before, tt.after}, []inForce{before, after}); diff != "" {
				t.Errorf("in force before and after the Final (-want +got):\n%s", diff)
			}
			c.expect(stateUp, diagNone)
		})
	}
}

func TestPeersShorterIntervalIsHonouredAtOnce(t *testing.T) { // section 6.8.3
	c := up(t, normal)
	c.hears(stateUp, func(p *packet) { p.requiredMinRx = 10 * time.Second })
	c.tick(0)
	if got := c.s.sendAt.Sub(c.now); got != 10*time.Second {
		t.Errorf("the next packet follows in %s", got)
	}
	c.hears(stateUp)
	if got := c.s.sendAt.Sub(c.now); got != 300*ms {
		t.Errorf("the next packet follows in %s, want 300ms", got)
	}
}

func TestPeerThatWantsNoPeriodicPackets(t *testing.T) { // section 6.8.7
	for name, change := range map[string]func(*packet){
		"required min RX interval zero": func(p *packet) { p.requiredMinRx = 0 },
		"demand mode":                   demand,
	} {
		t.Run(name, func(t *testing.T) {
			c := up(t, normal)
			c.hears(stateUp, change)
			if do := c.tick(800 * ms); do != 0 {
				t.Errorf("it does %b", do)
			}
			c.hears(stateUp)
			if do := c.tick(300 * ms); do != transmit {
				t.Errorf("when the peer wants packets again, it does %b", do)
			}
		})
	}
}

func TestPollInPeersDemandMode(t *testing.T) { // section 6.8.7: except for a Poll Sequence
	c := up(t, normal)
	c.hears(stateUp, demand)
	c.s.configure(normal, c.now)
	if do := c.tick(300 * ms); do != transmit || !c.s.packet(false).poll {
		t.Errorf("it does %b, want a poll", do)
	}
}

func TestPassiveSessionDoesNotSpeakFirst(t *testing.T) { // section 6.1
	profile := normal
	profile.PassiveMode = true
	c := newScene(t, profile)
	if do := c.tick(time.Hour); do != 0 {
		t.Errorf("it does %b before it heard anything", do)
	}
	if do := c.hears(stateDown); do != transmit {
		t.Errorf("it does %b when it hears the peer", do)
	}
	if do := c.tick(time.Second); do != transmit {
		t.Errorf("it does %b when it knows the peer", do)
	}
	c.pass(time.Second)
	c.expect(stateDown, diagExpired)
	if do := c.tick(time.Hour); do != 0 {
		t.Errorf("it does %b after the peer fell silent", do)
	}
}

func TestSilence(t *testing.T) { // section 6.8.4
	c := up(t, normal)
	heard := c.now
	for c.s.state == stateUp {
		c.tick(time.Minute)
	}
	if got := c.now.Sub(heard); got != 900*ms {
		t.Errorf("detected after %s, want 900ms", got)
	}
	c.expect(stateDown, diagExpired)
	if p := c.s.packet(false); p.yourDiscriminator != 0 || p.diagnostic != diagExpired {
		t.Errorf("it says %+v, want no discriminator of the peer's (6.8.1)", p)
	}
}

func TestLateTickIsNotThePeersSilence(t *testing.T) {
	c := up(t, normal)
	c.now = c.now.Add(5 * time.Second) // we did not run
	arrived := c.now.Add(-600 * ms)    // but the kernel took this meanwhile
	c.s.receive(&packet{state: stateUp, multiplier: 3, myDiscriminator: 9, yourDiscriminator: 7, desiredMinTx: 100 * ms, requiredMinRx: 100 * ms}, arrived, c.now)
	c.s.tick(c.now)
	c.expect(stateUp, diagNone)
	if got := c.s.silentAt().Sub(c.now); got != 300*ms {
		t.Errorf("silence is due in %s; it is to count from the arrival", got)
	}
}

func TestPeersShutdown(t *testing.T) { // section 6.8.16
	c := up(t, normal)
	if do := c.hears(stateAdminDown); do != transmit|notify {
		t.Errorf("it does %b", do)
	}
	c.expect(stateDown, diagNeighborDown)
	got := c.s.published("")
	if got.RemoteStatus != lb.BFDAdminDown || got.Diagnostic != "Neighbor Signaled Session Down" {
		t.Errorf("it is published as %+v", got)
	}
	c.hears(stateAdminDown)
	c.expect(stateDown, diagNeighborDown)
}

func TestOwnShutdown(t *testing.T) { // section 6.8.16
	c := up(t, normal)
	if do := c.s.step(disable, c.now); do&transmit == 0 {
		t.Errorf("it does %b, want a packet", do)
	}
	for _, st := range []state{stateAdminDown, stateDown, stateInit, stateUp} {
		c.hears(st)
		c.expect(stateAdminDown, diagAdministratively)
	}
	c.s.step(enable, c.now)
	c.expect(stateDown, diagNone)
}

func TestEcho(t *testing.T) { // sections 6.8.5, 6.8.8 and 6.8.9
	profile := normal
	profile.EchoMode = true
	echoes := func(p *packet) { p.requiredMinEchoRx = 80 * ms }
	start := func() *scene {
		c := up(t, profile)
		if c.s.echo.active {
			t.Fatal("echo packets are sent though the peer takes none")
		}
		c.hears(stateUp, echoes)
		if do := c.tick(0); do != transmitEcho {
			t.Fatalf("it does %b, want an echo packet", do)
		}
		return c
	}
	t.Run("at the pace of the slower side", func(t *testing.T) {
		c := start()
		if got := c.s.echo.sendAt.Sub(c.now); got != 80*ms {
			t.Errorf("the next follows in %s", got)
		}
	})
	t.Run("lost", func(t *testing.T) {
		c := start()
		began := c.now
		for c.s.state == stateUp {
			c.tick(time.Minute)
		}
		if got := c.now.Sub(began); got != 240*ms {
			t.Errorf("detected after %s, want 240ms", got)
		}
		c.expect(stateDown, diagEchoFailed)
		if c.s.echo.active {
			t.Error("echo packets are sent while the session is down")
		}
	})
	t.Run("coming back", func(*testing.T) {
		c := start()
		for range 8 {
			c.pass(80 * ms)
			c.s.heardEcho(c.now)
		}
		c.expect(stateUp, diagNone)
	})
	t.Run("ceases when the peer takes no more", func(t *testing.T) {
		c := start()
		c.hears(stateUp)
		if c.s.echo.active {
			t.Error("it goes on")
		}
		if do := c.tick(250 * ms); do != 0 {
			t.Errorf("it does %b", do)
		}
	})
	t.Run("offered only where we loop the peer's", func(t *testing.T) {
		c := start()
		if got := c.s.packet(false).requiredMinEchoRx; got != 50*ms {
			t.Errorf("we take echo packets each %s, want 50ms", got)
		}
		c.s.echoOpen = false
		if got := c.s.packet(false).requiredMinEchoRx; got != 0 {
			t.Errorf("without sockets, we take echo packets each %s", got)
		}
	})
}
