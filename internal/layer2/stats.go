package layer2

import (
	"net/netip"
	"sync/atomic"
)

// Stats is what an Announcer has counted so far.
type Stats struct {
	// Addresses are the addresses that are announced now, sorted.
	Addresses []AddressStats
	// Drops are the frames that got no answer, for every reason, sorted.
	Drops []DropStats
}

// AddressStats counts the frames of one address since this node gained it.
type AddressStats struct {
	Address netip.Addr
	// Requests are the ARP requests and neighbor solicitations for the address
	// that arrived on a permitted link.
	Requests uint64
	// Responses are the answers to those.
	Responses uint64
	// Gratuitous are the frames sent without having been asked.
	Gratuitous uint64
}

// DropStats counts the frames that got no answer for one reason.
type DropStats struct {
	Reason string
	Count  uint64
}

// Stats returns the counters as they are now. It may be called at any time, by
// anyone.
func (a *Announcer) Stats() Stats {
	t := a.table.Load()
	s := Stats{Addresses: make([]AddressStats, 0, t.len()), Drops: a.drops.stats()}
	for e := range t.all() {
		s.Addresses = append(s.Addresses, AddressStats{
			Address:    e.Address,
			Requests:   e.requests.Load(),
			Responses:  e.responses.Load(),
			Gratuitous: e.gratuitous.Load(),
		})
	}
	return s
}

// drop is why a frame got no answer.
type drop int

const (
	answered drop = iota // not dropped
	dropMalformed
	dropNotOnLink
	dropNotRequest
	dropOtherClaims
	dropOtherDestination
	dropOwnFrame
	dropSendError
	dropUnknownAddress
	dropReasons // how many there are
)

// String returns the reason as it appears in logs and metrics.
func (d drop) String() string {
	return [dropReasons]string{
		answered:             "",
		dropMalformed:        "malformed",        // not what the RFC asks of a request
		dropNotOnLink:        "notOnLink",        // announced, but not on this link
		dropNotRequest:       "notRequest",       // a reply, or another protocol
		dropOtherClaims:      "otherClaims",      // another host announces an address of ours
		dropOtherDestination: "otherDestination", // to a unicast MAC that is not ours
		dropOwnFrame:         "ownFrame",         // sent by ourselves, heard back
		dropSendError:        "sendError",        // the answer could not be sent
		dropUnknownAddress:   "unknownAddress",   // we do not announce that address; most such frames are filtered before
	}[d]
}

// dropCounters counts drops by reason.
type dropCounters [dropReasons]atomic.Uint64

func (c *dropCounters) stats() []DropStats {
	var out []DropStats
	for d := answered + 1; d < dropReasons; d++ {
		out = append(out, DropStats{Reason: d.String(), Count: c[d].Load()})
	}
	return out
}
