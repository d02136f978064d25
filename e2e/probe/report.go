package probe

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Parted says whether an attempt was answered and then reset: it was between its first packet and its third when its way
// moved to another node, which knows nothing of it, as it knows of no connection that was open.
func (a Attempt) Parted() bool { return errors.Is(a.Err, syscall.ECONNRESET) }

// Report sums attempts up.
type Report struct {
	Attempts int
	Failed   int
	Parted   int // neither failed nor served: see Attempt.Parted
	// Outage is the time from the start of the first failed attempt to the start of the first that was answered after
	// the last failed one; zero if none failed.
	Outage time.Duration
	// Over is false if nothing was answered after the last failure: Outage then ends with the last failed attempt.
	Over bool
	// First is when the first failed attempt started.
	First time.Time
	// FirstErr says why it failed.
	FirstErr error
}

// Summarize reads attempts that are in the order of their starts. Failures with answers between them are one outage:
// a client that was served now and then was not served.
func Summarize(attempts []Attempt) Report {
	r := Report{Attempts: len(attempts), Over: true}
	for _, a := range attempts {
		switch {
		case a.Parted():
			r.Parted++
		case a.Err != nil:
			if r.Failed == 0 {
				r.First, r.FirstErr = a.Start, a.Err
			}
			r.Failed++
			r.Over = false
			r.Outage = a.Start.Sub(r.First)
		case !r.Over:
			r.Over = true
			r.Outage = a.Start.Sub(r.First)
		}
	}
	return r
}

func (r Report) String() string {
	switch {
	case r.Parted > 0:
		rest := r
		rest.Parted = 0
		return fmt.Sprintf("%s, %d reset as their way moved", rest, r.Parted)
	case r.Failed == 0:
		return fmt.Sprintf("no outage in %d probes", r.Attempts)
	case !r.Over:
		return fmt.Sprintf("an outage of %d ms that is not over, %d of %d probes failed", r.Outage.Milliseconds(), r.Failed, r.Attempts)
	}
	return fmt.Sprintf("an outage of %d ms, %d of %d probes failed", r.Outage.Milliseconds(), r.Failed, r.Attempts)
}
