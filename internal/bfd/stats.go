package bfd

import (
	"sync/atomic"

	"github.com/herald-lb/herald/internal/lb"
)

// Stats is what a Speaker has counted so far.
type Stats struct {
	// Sessions are the sessions that States shows.
	Sessions map[lb.BFDKey]SessionStats
	// Drops are the packets that changed nothing, for every reason, sorted.
	Drops []DropStats
}

// SessionStats counts what became of one session since it was first wanted.
type SessionStats struct {
	Up                                         bool
	ControlPacketsReceived, ControlPacketsSent uint64
	// EchoPacketsReceived are those of ours that came back.
	EchoPacketsReceived, EchoPacketsSent uint64
	// UpEvents and DownEvents are how often it came up, and was up no more.
	UpEvents, DownEvents uint64
	// Notifications are the calls of Config.OnChange.
	Notifications uint64
}

// DropStats counts the packets that were dropped for one reason.
type DropStats struct {
	Reason string
	Count  uint64
}

// Stats returns the counters as they are now. It may be called at any time, by anyone.
func (s *Speaker) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Sessions: make(map[lb.BFDKey]SessionStats, len(s.shown)), Drops: s.drops.stats()}
	for key, w := range s.shown {
		stats := w.counters.stats()
		stats.Up = w.state.Load().Status == lb.BFDUp
		out.Sessions[key] = stats
	}
	return out
}

// counters are those of one session.
type counters struct {
	controlIn, controlOut, echoIn, echoOut, upEvents, downEvents, notifications atomic.Uint64
}

// count counts that a session came up, or is up no more and now in another state.
func (c *counters) count(s state) {
	if s == stateUp {
		c.upEvents.Add(1)
	} else {
		c.downEvents.Add(1)
	}
}

func (c *counters) stats() SessionStats {
	return SessionStats{
		ControlPacketsReceived: c.controlIn.Load(),
		ControlPacketsSent:     c.controlOut.Load(),
		EchoPacketsReceived:    c.echoIn.Load(),
		EchoPacketsSent:        c.echoOut.Load(),
		UpEvents:               c.upEvents.Load(),
		DownEvents:             c.downEvents.Load(),
		Notifications:          c.notifications.Load(),
	}
}

// drop is why a packet changed nothing.
type drop int

const (
	accepted drop = iota // not dropped
	dropAuthentication
	dropMalformed
	dropSendError
	dropTTL
	dropUnknownDiscriminator
	dropUnknownEcho
	dropUnknownPeer
	dropWrongSource
	dropReasons // how many there are
)

// String returns the reason as it appears in metrics.
func (d drop) String() string {
	return [dropReasons]string{
		accepted:                 "",
		dropAuthentication:       "authentication",       // signed, and we have no key
		dropMalformed:            "malformed",            // not what RFC 5880 section 6.8.6 asks of a packet
		dropSendError:            "sendError",            // could not be reflected
		dropTTL:                  "ttl",                  // from further away than the session permits
		dropUnknownDiscriminator: "unknownDiscriminator", // for a session that we do not have
		dropUnknownEcho:          "unknownEcho",          // no echo of a packet of ours
		dropUnknownPeer:          "unknownPeer",          // from somebody with whom we have no session
		dropWrongSource:          "wrongSource",          // for a session of ours, and not from its peer
	}[d]
}

// dropCounters counts drops by reason.
type dropCounters [dropReasons]atomic.Uint64

func (c *dropCounters) stats() []DropStats {
	var out []DropStats
	for d := accepted + 1; d < dropReasons; d++ {
		out = append(out, DropStats{Reason: d.String(), Count: c[d].Load()})
	}
	return out
}
