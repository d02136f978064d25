package bfd

import "time"

// slowInterval is the least Desired Min TX Interval of a session that is not up, so that one
// that never comes up costs next to nothing (RFC 5880 section 6.8.3).
const slowInterval = time.Second

// desiredMinTx is the interval that a session in a state says it wishes to send at (RFC 5880
// section 6.8.3).
func desiredMinTx(s state, configured time.Duration) time.Duration {
	if s == stateUp {
		return configured
	}
	return max(configured, slowInterval)
}

// transmitInterval is the interval between our packets before jitter: that of the slower of
// both sides (RFC 5880 section 6.8.7).
func transmitInterval(desiredMinTx, remoteMinRx time.Duration) time.Duration {
	return max(desiredMinTx, remoteMinRx)
}

// detectionTime is how long the peer may be silent: what it sends at, as many times as it says
// may be missed (RFC 5880 section 6.8.4, Asynchronous mode).
func detectionTime(remoteMultiplier int, requiredMinRx, remoteDesiredMinTx time.Duration) time.Duration {
	return time.Duration(remoteMultiplier) * max(requiredMinRx, remoteDesiredMinTx)
}

// jitter shortens an interval to between 75 and 100 % of it, or 90 % where the peer may miss no
// packet at all. Random is from 0 up to 1 (RFC 5880 section 6.8.7).
func jitter(interval time.Duration, multiplier int, random float64) time.Duration {
	longest := 1.0
	if multiplier == 1 {
		longest = 0.9
	}
	return time.Duration(float64(interval) * (0.75 + (longest-0.75)*random))
}

// nextTransmission is when to send after a packet that was due at one time and sent at another,
// later one. It counts from when the packet was due: being late once must not slow us down. But
// two packets are never closer than jitter could have put them.
func nextTransmission(due, sent time.Time, interval time.Duration, multiplier int, random float64) time.Time {
	next, earliest := due.Add(jitter(interval, multiplier, random)), sent.Add(jitter(interval, multiplier, 0))
	if next.Before(earliest) {
		return earliest
	}
	return next
}

// negotiated is an interval of ours that the peer learns by a Poll Sequence: a change that could
// make one side miss the other is in force only when the peer has confirmed it (RFC 5880 section
// 6.8.3).
type negotiated struct {
	// advertised is in our packets, inForce in our timers.
	advertised, inForce time.Duration
}

// set changes what is advertised. A careful change waits for confirm.
func (n *negotiated) set(interval time.Duration, careful bool) {
	n.advertised = interval
	if !careful {
		n.inForce = interval
	}
}

func (n *negotiated) confirm() { n.inForce = n.advertised }

// poll is a Poll Sequence (RFC 5880 section 6.5).
type poll struct {
	active bool
	// again: something changed since the sequence began, so that a Final may be the answer to a
	// packet from before the change. Another sequence has to follow.
	again bool
}

func (p *poll) begin() {
	p.again = p.active
	p.active = true
}

// final takes in the Final bit, and reports whether the peer has now confirmed our intervals.
func (p *poll) final() bool {
	confirmed := p.active && !p.again
	p.active, p.again = p.again, false
	return confirmed
}
