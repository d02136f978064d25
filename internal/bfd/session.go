package bfd

import (
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// session is one BFD session as a value: the state variables of RFC 5880 section 6.8.1 and the
// times of its timers. It opens no socket and reads no clock; what has to be done for it, its
// methods return.
type session struct {
	profile  lb.BFDProfile
	echoOpen bool // echo packets can be sent, received and looped back

	state, remoteState           state
	localDiscr, remoteDiscr      uint32
	localDiag, remoteDiag        diagnostic
	desiredMinTx, requiredMinRx  negotiated
	remoteMinRx, remoteDesiredTx time.Duration
	remoteMinEchoRx              time.Duration
	remoteMultiplier             int
	remoteDemand                 bool

	poll     poll
	since    time.Time  // when the state was entered
	lastDown diagnostic // why the session was last left up

	heard        time.Time // when the last valid packet arrived; zero if none within the Detection Time
	sent, sendAt time.Time // the last packet, and the next
	pace         time.Duration
	random       func() float64

	echo echo
}

// echo is the Echo function of a session (RFC 5880 section 6.8.8).
type echo struct {
	active bool
	// heard is when the last echo arrived; until one has, when the function became active.
	heard  time.Time
	sendAt time.Time
}

// action is what has to be done after a session was changed.
type action uint8

const (
	// transmit: send a packet now.
	transmit action = 1 << iota
	// answer: send a packet with the Final bit now.
	answer
	// transmitEcho: send an echo packet now.
	transmitEcho
	// notify: the session came up, or is up no more.
	notify
)

// newSession returns a session that is down.
func newSession(s lb.BFDSession, discriminator uint32, random func() float64, now time.Time) session {
	out := session{
		profile:     s.Profile,
		state:       stateDown,
		remoteState: stateDown,
		localDiscr:  discriminator,
		remoteMinRx: time.Microsecond, // until the peer says otherwise: section 6.8.1
		since:       now,
		sent:        now,
		sendAt:      now,
		random:      random,
	}
	out.desiredMinTx.set(desiredMinTx(stateDown, s.Profile.TransmitInterval), false)
	out.requiredMinRx.set(s.Profile.ReceiveInterval, false)
	out.pace = out.transmitInterval()
	return out
}

// configure changes the profile without a reset. While the session is up, a Poll Sequence tells
// the peer, and changes that could make one side miss the other wait for its end: to send less
// often, and to expect packets sooner (RFC 5880 section 6.8.3).
func (s *session) configure(profile lb.BFDProfile, now time.Time) {
	up, tx, rx := s.state == stateUp, desiredMinTx(s.state, profile.TransmitInterval), profile.ReceiveInterval
	s.profile = profile
	s.desiredMinTx.set(tx, up && tx > s.desiredMinTx.inForce)
	s.requiredMinRx.set(rx, up && rx < s.requiredMinRx.inForce)
	if up {
		s.poll.begin()
	}
	s.adjust(now)
}

// receive takes in a valid packet for this session that arrived at a time which may be before
// now (RFC 5880 section 6.8.6, in its order).
func (s *session) receive(p *packet, at, now time.Time) action {
	s.remoteDiscr, s.remoteState, s.remoteDiag = p.myDiscriminator, p.state, p.diagnostic
	s.remoteDemand, s.remoteMultiplier = p.demand, int(p.multiplier)
	s.remoteMinRx, s.remoteDesiredTx, s.remoteMinEchoRx = p.requiredMinRx, p.desiredMinTx, p.requiredMinEchoRx
	if p.final && s.poll.final() {
		s.desiredMinTx.confirm()
		s.requiredMinRx.confirm()
	}
	if s.state == stateAdminDown {
		return 0
	}
	if at.After(s.heard) {
		s.heard = at
	}
	do := s.step(event(p.state), now)
	s.adjust(now)
	if p.poll {
		do |= answer
	}
	return do
}

// heardEcho takes in an echo packet that came back.
func (s *session) heardEcho(at time.Time) {
	if s.echo.active && at.After(s.echo.heard) {
		s.echo.heard = at
	}
}

// tick does what is due. All that had arrived by now must have been taken in before: then a
// tick that comes late does not take our own delay for the peer's silence.
func (s *session) tick(now time.Time) action {
	var do action
	if t := s.silentAt(); reached(t, now) {
		s.heard, s.remoteDiscr, s.remoteState = time.Time{}, 0, stateDown // 6.8.1
		do |= s.step(silence, now)
	}
	if t := s.echoLostAt(); reached(t, now) {
		do |= s.step(echoLost, now)
	}
	s.adjust(now)
	if s.periodic() && reached(s.sendAt, now) {
		do |= transmit
	}
	if s.echo.active && reached(s.echo.sendAt, now) {
		do |= transmitEcho
	}
	return do
}

// due is when to call tick next; zero is never.
func (s *session) due() time.Time {
	first := earliest(s.silentAt(), s.echoLostAt())
	if s.periodic() {
		first = earliest(first, s.sendAt)
	}
	if s.echo.active {
		first = earliest(first, s.echo.sendAt)
	}
	return first
}

// step makes the transition that follows an event, and what comes with it.
func (s *session) step(e event, now time.Time) action {
	t, ok := transitions[s.state][e]
	if !ok {
		return 0
	}
	var do action
	if t.next == stateUp || s.state == stateUp {
		do = notify
	}
	if s.state == stateUp {
		s.lastDown = t.diagnostic
	}
	s.state, s.since = t.next, now
	if t.diagnostic != diagKeep {
		s.localDiag = t.diagnostic
	}
	s.renegotiate()
	s.adjust(now)
	// A change of state is not held back until the next packet is due: section 6.8.7.
	if s.mayTransmit() {
		do |= transmit
	}
	return do
}

// renegotiate begins the Poll Sequence of a session that came up, to leave the slow interval
// behind. What another state advertises is in force at once (RFC 5880 section 6.8.3).
func (s *session) renegotiate() {
	s.poll = poll{}
	s.desiredMinTx.set(desiredMinTx(s.state, s.profile.TransmitInterval), false)
	s.requiredMinRx.set(s.profile.ReceiveInterval, false)
	if s.state == stateUp {
		s.poll.begin()
	}
}

// adjust makes the timers follow a change of the intervals, at once (RFC 5880 section 6.8.3),
// and turns the Echo function on or off.
func (s *session) adjust(now time.Time) {
	if pace := s.transmitInterval(); pace != s.pace {
		s.pace = pace
		s.sendAt = nextTransmission(s.sent, s.sent, pace, s.profile.DetectMultiplier, s.random())
	}
	if active := s.echoPermitted(); active != s.echo.active {
		s.echo = echo{active: active, heard: now, sendAt: now}
	}
}

// sentAt schedules the next packet after one was sent. Finals are not scheduled, and move nothing.
func (s *session) sentAt(now time.Time) {
	due := now
	if reached(s.sendAt, now) {
		due = s.sendAt
	}
	s.sent = now
	s.sendAt = nextTransmission(due, now, s.pace, s.profile.DetectMultiplier, s.random())
}

// echoSentAt schedules the next echo packet after one was sent.
func (s *session) echoSentAt(now time.Time) {
	s.echo.sendAt = nextTransmission(s.echo.sendAt, now, s.echoInterval(), s.profile.DetectMultiplier, s.random())
}

// packet is what the session has to say (RFC 5880 section 6.8.7).
func (s *session) packet(final bool) packet {
	return packet{
		diagnostic:        s.localDiag,
		state:             s.state,
		poll:              s.poll.active && !final,
		final:             final,
		multiplier:        uint8(s.profile.DetectMultiplier),
		myDiscriminator:   s.localDiscr,
		yourDiscriminator: s.remoteDiscr,
		desiredMinTx:      s.desiredMinTx.advertised,
		requiredMinRx:     s.requiredMinRx.advertised,
		requiredMinEchoRx: s.requiredMinEchoRx(),
	}
}

// periodic reports whether packets are sent at all (RFC 5880 section 6.8.7).
func (s *session) periodic() bool {
	demand := s.remoteDemand && s.state == stateUp && s.remoteState == stateUp && !s.poll.active
	return s.mayTransmit() && s.remoteMinRx != 0 && !demand
}

// mayTransmit: the passive side does not speak first (RFC 5880 section 6.1).
func (s *session) mayTransmit() bool { return !s.profile.PassiveMode || s.remoteDiscr != 0 }

func (s *session) transmitInterval() time.Duration {
	return transmitInterval(s.desiredMinTx.inForce, s.remoteMinRx)
}

func (s *session) detectionTime() time.Duration {
	return detectionTime(s.remoteMultiplier, s.requiredMinRx.inForce, s.remoteDesiredTx)
}

// remoteDetectionTime is how long the peer waits for us.
func (s *session) remoteDetectionTime() time.Duration {
	return detectionTime(s.profile.DetectMultiplier, s.remoteMinRx, s.desiredMinTx.inForce)
}

// silentAt is when the peer will have been silent for the Detection Time; zero if it is silent.
func (s *session) silentAt() time.Time {
	if s.heard.IsZero() {
		return time.Time{}
	}
	return s.heard.Add(s.detectionTime())
}

// echoPermitted says when echo packets may be sent (RFC 5880 section 6.8.9).
func (s *session) echoPermitted() bool {
	return s.profile.EchoMode && s.echoOpen && s.state == stateUp && s.remoteMinEchoRx != 0
}

func (s *session) echoInterval() time.Duration { return max(s.profile.EchoInterval, s.remoteMinEchoRx) }

// echoLostAt is when too many echoes will be missing (RFC 5880 section 6.8.5); zero without any.
func (s *session) echoLostAt() time.Time {
	if !s.echo.active {
		return time.Time{}
	}
	return s.echo.heard.Add(time.Duration(s.profile.DetectMultiplier) * s.echoInterval())
}

// requiredMinEchoRx is zero where we do not loop the peer's echo packets back. Where we send
// echoes ourselves we can assume that we do, since both need a node that forwards.
func (s *session) requiredMinEchoRx() time.Duration {
	if !s.profile.EchoMode || !s.echoOpen {
		return 0
	}
	return s.profile.EchoInterval
}

// published is the session as others see it.
func (s *session) published(problem string) lb.BFDState {
	return lb.BFDState{
		Status:           s.state.status(),
		RemoteStatus:     s.remoteState.status(),
		Since:            s.since,
		Diagnostic:       s.lastDown.String(),
		RemoteDiagnostic: s.remoteDiag.String(),
		TransmitInterval: s.transmitInterval(),
		DetectionTime:    s.detectionTime(),
		Problem:          problem,
	}
}

// reached reports whether a timer that is set has run out.
func reached(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// earliest returns the earlier of two times, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
