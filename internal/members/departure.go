package members

import (
	"encoding/json"
	"time"

	"github.com/hashicorp/memberlist"
)

// Departure is how a member went.
type Departure struct {
	// Left says that it said goodbye. Else it was found dead.
	Left bool
	// LastAlive is when it last answered a probe of this member, or showed itself otherwise.
	LastAlive time.Time
}

// Departure returns how a member went that is not alive. It is the zero value for one
// that was never seen.
func (m *Members) Departure(name string) Departure {
	m.ring.mu.Lock()
	defer m.ring.mu.Unlock()
	life := m.ring.lives[name]
	return Departure{Left: life.left, LastAlive: life.lastAlive}
}

// life is what was last seen of a member.
type life struct {
	lastAlive time.Time
	left      bool
}

// farewell is what a member sends to each of the others right before it leaves. Memberlist does not
// tell those who have left from those who have died.
type farewell struct {
	Leaving string `json:"leaving"`
}

// sayFarewell tells the others that this member is about to leave.
func (m *Members) sayFarewell() {
	text, err := json.Marshal(farewell{m.config.Name})
	if err != nil {
		return
	}
	for _, other := range m.list.Members() {
		if other.Name != m.config.Name {
			_ = m.list.SendBestEffort(other, text) // as its name says
		}
	}
}

// NotifyMsg is called with what a member has sent to this one.
func (r *ring) NotifyMsg(text []byte) {
	var f farewell
	if json.Unmarshal(text, &f) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, known := r.lives[f.Leaving]; known {
		l.left = true
		r.lives[f.Leaving] = l
	}
}

// AckPayload returns nothing to send with answers to probes.
func (r *ring) AckPayload() []byte { return nil }

// NotifyPingComplete is called when a member has answered a probe.
func (r *ring) NotifyPingComplete(other *memberlist.Node, _ time.Duration, _ []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lives[other.Name]
	l.lastAlive = time.Now()
	r.lives[other.Name] = l
}
