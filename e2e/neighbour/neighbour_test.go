package neighbour

import (
	"net/netip"
	"testing"
	"time"
)

func TestRequestsAndRepliesAreReadAsWritten(t *testing.T) {
	s := &socket{mac: [6]byte{2, 0, 0, 0, 0, 1}}
	asker, target := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	frame := s.request(asker, target)
	if _, _, _, ok := parseReply(frame); ok {
		t.Error("a request is taken for a reply")
	}
	frame[21] = opReply
	sender, address, to, ok := parseReply(frame)
	if sender != s.mac || address != asker || to != target || !ok {
		t.Errorf("%v answers for %s to %s, %t", sender, address, to, ok)
	}
	if _, _, _, ok := parseReply(frame[:41]); ok {
		t.Error("a frame that was cut short is read")
	}
}

func TestAnswersAreCountedByTargetAndAsker(t *testing.T) {
	addr := func(last byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, last}) }
	a := newAsked(Questions{As: []netip.Addr{addr(1), addr(2)}, Targets: []netip.Addr{addr(8), addr(9)}})
	reply := func(of, to byte) []byte {
		frame := (&socket{}).request(addr(of), addr(to))
		frame[21] = opReply
		return frame
	}
	a.slots[0][0].Store(int64(time.Second))
	a.slots[0][1].Store(int64(2 * time.Second))
	a.slots[1][0].Store(int64(3 * time.Second))
	a.note(reply(8, 1), 4*time.Second)
	a.note(reply(8, 1), 5*time.Second) // a second answer counts for nothing
	a.note(reply(7, 1), 5*time.Second) // nor does one that was not asked for
	a.begin(1, 0)                      // asked again, without an answer
	got := a.answers()
	if len(got[0].Took) != 1 || got[0].Took[0] != 3*time.Second || got[0].Lost != 1 {
		t.Errorf("for the first target: %+v, want one answer after 3 s and one lost", got[0])
	}
	if len(got[1].Took) != 0 || got[1].Lost != 2 {
		t.Errorf("for the second target: %+v, want two lost", got[1])
	}
}

func TestHowLongSeveralAnsweredTogether(t *testing.T) {
	start := time.Now()
	seen := func(request int, mac string) Sighting {
		return Sighting{Request: request, At: start.Add(time.Duration(request) * time.Second), MAC: mac}
	}
	for name, c := range map[string]struct {
		sightings []Sighting
		want      time.Duration
	}{
		"nobody":                          {nil, 0},
		"one":                             {[]Sighting{seen(1, "a"), seen(2, "a"), seen(2, "a")}, 0},
		"one after the other":             {[]Sighting{seen(1, "a"), seen(2, "b")}, 0},
		"two, from the first to the last": {[]Sighting{seen(1, "a"), seen(2, "a"), seen(2, "b"), seen(3, "b"), seen(4, "b"), seen(4, "a"), seen(5, "b")}, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Together(c.sightings); got != c.want {
				t.Errorf("together for %v, want %v", got, c.want)
			}
		})
	}
}
