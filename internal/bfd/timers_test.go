package bfd

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func TestDesiredMinTx(t *testing.T) { // RFC 5880 section 6.8.3
	for _, tt := range []struct {
		state            state
		configured, want time.Duration
	}{
		{stateUp, 50 * ms, 50 * ms},
		{stateInit, 50 * ms, time.Second},
		{stateDown, 50 * ms, time.Second},
		{stateAdminDown, 50 * ms, time.Second},
		{stateDown, 5 * time.Second, 5 * time.Second},
	} {
		if got := desiredMinTx(tt.state, tt.configured); got != tt.want {
			t.Errorf("%s with %s: got %s, want %s", tt.state.status(), tt.configured, got, tt.want)
		}
	}
}

func TestTransmitInterval(t *testing.T) { // RFC 5880 section 6.8.7
	for _, tt := range []struct{ desired, remote, want time.Duration }{
		{300 * ms, 300 * ms, 300 * ms},
		{50 * ms, 300 * ms, 300 * ms},
		{300 * ms, 50 * ms, 300 * ms},
		{time.Second, time.Microsecond, time.Second}, // nothing heard yet
	} {
		if got := transmitInterval(tt.desired, tt.remote); got != tt.want {
			t.Errorf("desired %s, remote %s: got %s, want %s", tt.desired, tt.remote, got, tt.want)
		}
	}
}

func TestDetectionTime(t *testing.T) { // RFC 5880 section 6.8.4
	for _, tt := range []struct {
		multiplier       int
		required, remote time.Duration
		want             time.Duration
	}{
		{3, 300 * ms, 300 * ms, 900 * ms},
		{5, 300 * ms, 50 * ms, 1500 * ms},
		{2, 50 * ms, time.Second, 2 * time.Second},
		{1, 50 * ms, 50 * ms, 50 * ms},
		{255, time.Minute, 10 * ms, 255 * time.Minute},
	} {
		if got := detectionTime(tt.multiplier, tt.required, tt.remote); got != tt.want {
			t.Errorf("%d of %s and %s: got %s, want %s", tt.multiplier, tt.required, tt.remote, got, tt.want)
		}
	}
}

func TestJitter(t *testing.T) { // RFC 5880 section 6.8.7
	for _, tt := range []struct {
		multiplier int
		random     float64
		want       time.Duration
	}{
		{3, 0, 750 * ms},
		{3, 0.5, 875 * ms},
		{3, 1, 1000 * ms},
		{2, 1, 1000 * ms},
		{1, 0, 750 * ms},
		{1, 1, 900 * ms},
	} {
		if got := jitter(time.Second, tt.multiplier, tt.random).Round(time.Microsecond); got != tt.want {
			t.Errorf("multiplier %d, random %.1f: got %s, want %s", tt.multiplier, tt.random, got, tt.want)
		}
	}
}

func TestNextTransmission(t *testing.T) {
	due := time.Unix(1000, 0)
	for _, tt := range []struct {
		name       string
		late, want time.Duration // the packet was sent so late; the next follows so long after it was due
		random     float64
	}{
		{name: "in time", want: 900 * ms, random: 0.6},
		{name: "late, which the next one makes up for", late: 100 * ms, want: 900 * ms, random: 0.6},
		{name: "so late that the next would follow too soon", late: 200 * ms, want: 950 * ms, random: 0.6},
		{name: "later than a whole interval, which is not made up for", late: 5 * time.Second, want: 5750 * ms, random: 0.6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := nextTransmission(due, due.Add(tt.late), time.Second, 3, tt.random).Sub(due).Round(time.Microsecond)
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// RFC 5880 section 6.5: a Final that may answer a packet from before the last change confirms
// nothing; another sequence follows.
func TestPollSequence(t *testing.T) {
	var p poll
	if p.final() {
		t.Error("a Final nobody asked for confirms something")
	}
	p.begin()
	if !p.final() || p.active {
		t.Error("the Final does not end the sequence")
	}
	p.begin()
	p.begin()
	if p.final() || !p.active {
		t.Error("the first Final after a change confirms it")
	}
	if !p.final() || p.active {
		t.Error("the second Final after a change does not confirm it")
	}
}
