package bfd

import "github.com/herald-lb/herald/internal/lb"

// state is a state of a session, with its number on the wire (RFC 5880 section 4.1).
type state uint8

const (
	stateAdminDown state = iota
	stateDown
	stateInit
	stateUp
)

var statuses = [...]lb.BFDStatus{lb.BFDAdminDown, lb.BFDDown, lb.BFDInit, lb.BFDUp}

func (s state) status() lb.BFDStatus { return statuses[s] }

// event is what can change the state of a session.
type event uint8

const (
	// The first four are valid packets, numbered by the state that the peer is in.
	heardAdminDown event = iota
	heardDown
	heardInit
	heardUp
	// silence: the Detection Time passed without a valid packet.
	silence
	// echoLost: no echo packet came back for as long as it takes to miss several.
	echoLost
	// disable and enable are this side's own wish.
	disable
	enable
)

// transition is where an event leads to, and the diagnostic that the peer is then told.
type transition struct {
	next       state
	diagnostic diagnostic
}

// transitions is the whole state machine (RFC 5880 section 6.2). Where a state has no line for
// an event, nothing changes.
var transitions = map[state]map[event]transition{
	stateAdminDown: { // whatever the peer says is ignored: section 6.8.6
		enable: {stateDown, diagNone}, // 6.8.16
	},
	stateDown: {
		heardDown: {stateInit, diagKeep},                  // 6.8.6
		heardInit: {stateUp, diagNone},                    // 6.8.6
		disable:   {stateAdminDown, diagAdministratively}, // 6.8.16
	},
	stateInit: {
		heardAdminDown: {stateDown, diagNeighborDown},          // 6.8.6
		heardInit:      {stateUp, diagNone},                    // 6.8.6
		heardUp:        {stateUp, diagNone},                    // 6.8.6
		silence:        {stateDown, diagExpired},               // 6.8.4
		disable:        {stateAdminDown, diagAdministratively}, // 6.8.16
	},
	stateUp: {
		heardAdminDown: {stateDown, diagNeighborDown},          // 6.8.6
		heardDown:      {stateDown, diagNeighborDown},          // 6.8.6
		silence:        {stateDown, diagExpired},               // 6.8.4
		echoLost:       {stateDown, diagEchoFailed},            // 6.8.5
		disable:        {stateAdminDown, diagAdministratively}, // 6.8.16
	},
}

// diagnostic is why a session last changed its state (RFC 5880 section 4.1).
type diagnostic uint8

const (
	diagNone diagnostic = iota
	diagExpired
	diagEchoFailed
	diagNeighborDown
	diagForwardingReset
	diagPathDown
	diagConcatenatedDown
	diagAdministratively
	diagReverseConcatenatedDown

	// diagKeep is not on the wire: the diagnostic stays as it was, so that the peer can still
	// read why the session went down while it comes up again.
	diagKeep diagnostic = 0xff
)

// String returns the words of RFC 5880 section 4.1; none for no diagnostic.
func (d diagnostic) String() string {
	words := [...]string{
		diagNone:                    "",
		diagExpired:                 "Control Detection Time Expired",
		diagEchoFailed:              "Echo Function Failed",
		diagNeighborDown:            "Neighbor Signaled Session Down",
		diagForwardingReset:         "Forwarding Plane Reset",
		diagPathDown:                "Path Down",
		diagConcatenatedDown:        "Concatenated Path Down",
		diagAdministratively:        "Administratively Down",
		diagReverseConcatenatedDown: "Reverse Concatenated Path Down",
	}
	if int(d) < len(words) {
		return words[d]
	}
	return "Reserved"
}
