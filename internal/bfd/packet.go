package bfd

import (
	"encoding/binary"
	"time"
)

// packet is a BFD Control packet without an Authentication Section (RFC 5880 section 4.1).
type packet struct {
	diagnostic diagnostic
	state      state
	// poll asks for an answer, final is one.
	poll, final bool
	// demand says that the sender runs in Demand mode, and wishes no periodic packets.
	demand            bool
	multiplier        uint8
	myDiscriminator   uint32
	yourDiscriminator uint32
	// On the wire, intervals are whole microseconds of 32 bits.
	desiredMinTx, requiredMinRx, requiredMinEchoRx time.Duration
}

// The Mandatory Section of RFC 5880 section 4.1:
//
//	 0  version (3 bits), diagnostic (5 bits)
//	 1  state (2 bits), flags: poll, final, control plane independent, authentication, demand, multipoint
//	 2  detect multiplier
//	 3  length
//	 4  my discriminator
//	 8  your discriminator
//	12  desired min TX interval
//	16  required min RX interval
//	20  required min echo RX interval
const (
	packetLength = 24
	version      = 1

	flagPoll           = 1 << 5
	flagFinal          = 1 << 4
	flagAuthentication = 1 << 2
	flagDemand         = 1 << 1
	flagMultipoint     = 1 << 0
)

// parse reads a packet, and makes those checks of RFC 5880 section 6.8.6 that need no
// session: their order is the RFC's. We have no authentication in use, so that a packet with
// the A bit is discarded.
func (p *packet) parse(b []byte) drop {
	switch {
	case len(b) < packetLength || b[0]>>5 != version:
		return dropMalformed
	case b[3] < packetLength || int(b[3]) > len(b) || b[2] == 0 || b[1]&flagMultipoint != 0:
		return dropMalformed
	case b[1]&flagAuthentication != 0:
		return dropAuthentication
	}
	*p = packet{
		diagnostic:        diagnostic(b[0] & 0x1f),
		state:             state(b[1] >> 6),
		poll:              b[1]&flagPoll != 0,
		final:             b[1]&flagFinal != 0,
		demand:            b[1]&flagDemand != 0,
		multiplier:        b[2],
		myDiscriminator:   binary.BigEndian.Uint32(b[4:]),
		yourDiscriminator: binary.BigEndian.Uint32(b[8:]),
		desiredMinTx:      microseconds(b[12:]),
		requiredMinRx:     microseconds(b[16:]),
		requiredMinEchoRx: microseconds(b[20:]),
	}
	if p.myDiscriminator == 0 || p.yourDiscriminator == 0 && p.state > stateDown {
		return dropMalformed
	}
	return accepted
}

// append writes the packet behind b.
func (p *packet) append(b []byte) []byte {
	flags := bit(p.poll, flagPoll) | bit(p.final, flagFinal) | bit(p.demand, flagDemand)
	b = append(b, version<<5|byte(p.diagnostic), byte(p.state)<<6|flags, p.multiplier, packetLength)
	b = binary.BigEndian.AppendUint32(b, p.myDiscriminator)
	b = binary.BigEndian.AppendUint32(b, p.yourDiscriminator)
	for _, interval := range [...]time.Duration{p.desiredMinTx, p.requiredMinRx, p.requiredMinEchoRx} {
		b = binary.BigEndian.AppendUint32(b, uint32(interval.Microseconds()))
	}
	return b
}

func microseconds(b []byte) time.Duration {
	return time.Duration(binary.BigEndian.Uint32(b)) * time.Microsecond
}

func bit(set bool, mask byte) byte {
	if set {
		return mask
	}
	return 0
}
