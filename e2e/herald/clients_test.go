package herald

import (
	"errors"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/probe"
)

func TestConnectionsAreSteadyWhenNoneHasFailedForAWhile(t *testing.T) {
	start := time.Unix(0, 0)
	// Every 10 ms for that long, failing between the two moments.
	series := func(length, from, to time.Duration) (attempts []probe.Attempt) {
		for at := time.Duration(0); at <= length; at += 10 * time.Millisecond {
			a := probe.Attempt{Start: start.Add(at)}
			if at >= from && at < to {
				a.Err = errors.New("timeout")
			}
			attempts = append(attempts, a)
		}
		return attempts
	}
	const s = time.Second
	for _, c := range []struct {
		name     string
		attempts []probe.Attempt
		since    time.Duration
		want     bool
	}{
		{"none", nil, 0, false},
		{"all answered, but not for long", series(1*s, 0, 0), 0, false},
		{"all answered for long", series(2*s, 0, 0), 0, true},
		{"all answered for long, but not since then", series(2*s, 0, 0), 1 * s, false},
		{"failing to the end", series(4*s, 1*s, 5*s), 0, false},
		{"answered again, but not for long", series(4*s, 1*s, 3*s), 0, false},
		{"answered again for long", series(4*s, 1*s, 2*s), 0, true},
		{"failing long before then", series(4*s, 0, 2*s), 2 * s, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := steady(c.attempts, start.Add(c.since)); got != c.want {
				t.Errorf("steady is %v, want %v", got, c.want)
			}
		})
	}
}
