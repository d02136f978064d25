package asking

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

var (
	us   = mac{2, 0, 0, 0, 0, 1}
	them = mac{2, 0, 0, 0, 0, 2}
	as4  = netip.MustParseAddr("192.0.2.1")
	of4  = netip.MustParseAddr("192.0.2.2")
	as6  = netip.MustParseAddr("2001:db8::1")
	of6  = netip.MustParseAddr("2001:db8::2")
)

// advice is an answer to a solicitation.
func advice() []byte {
	frame := neighbourSolicitation(them, of6, of6)
	frame[icmpType], frame[icmpType+4], frame[icmpOption] = advertisement, flagSolicited, optionTarget
	return frame
}

func reply() []byte {
	frame := arpRequest(them, of4, as4)
	frame[arpOperation+1] = arpReply
	return frame
}

func TestAnswersAreRead(t *testing.T) {
	for of, frame := range map[netip.Addr][]byte{of4: reply(), of6: advice()} {
		if address, by, ok := parseAnswer(frame); address != of || by != them || !ok {
			t.Errorf("%v answers for %v, %t; want %v for %v", by, address, ok, them, of)
		}
	}
}

func TestWhatIsNoAnswerIsNotReadAsOne(t *testing.T) {
	unasked := advice()
	unasked[icmpType+4] = 0
	gratuitous := reply()
	copy(gratuitous[38:], gratuitous[28:32])
	for name, frame := range map[string][]byte{
		"an ARP request": arpRequest(us, as4, of4), "a solicitation": neighbourSolicitation(us, as6, of6), "an advertisement that was not asked for": unasked,
		"gratuitous ARP": gratuitous, "a reply that is cut short": reply()[:arpLength-1], "an advertisement that is cut short": advice()[:adviceLength-1], "nothing": nil,
	} {
		if _, _, ok := parseAnswer(frame); ok {
			t.Errorf("%s is taken for an answer", name)
		}
	}
}

// A receiver adds up what was sent, the checksum included, and gets all ones (RFC 1071).
func TestTheChecksumMakesTheSumAllOnes(t *testing.T) {
	frame := neighbourSolicitation(us, as6, of6)
	if got := checksum(frame); got != 0 {
		t.Errorf("what is left is %#x, want 0", got)
	}
	binary.BigEndian.PutUint16(frame[icmpTarget:], 1)
	if checksum(frame) == 0 {
		t.Error("a change is not noticed")
	}
}
