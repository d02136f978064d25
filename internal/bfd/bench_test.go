package bfd

import (
	"net/netip"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/lb"
)

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	var p packet
	for b.Loop() {
		if p.parse(validBytes) != accepted {
			b.Fatal("dropped")
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	b.ReportAllocs()
	var buffer [64]byte
	for b.Loop() {
		valid.append(buffer[:0])
	}
}

// still is a Transport on which nothing happens.
type still struct{}

func (still) Open() error                                    { return nil }
func (still) Close()                                         {}
func (still) OpenPath(lb.BFDSession) (Path, error)           { return still{}, nil }
func (still) OpenEcho(lb.BFDSession, Path) (EchoPath, error) { return still{}, nil }
func (still) Receive(time.Time, func(*Arrival))              {}
func (still) Wait(time.Time)                                 {}
func (still) Wake()                                          {}
func (still) Send([]byte) error                              { return nil }
func (still) Link() int                                      { return 0 }
func (still) Reflect([]byte, netip.AddrPort) error           { return nil }

// busy returns a speaker with so many sessions that are up, and a packet for one of them.
func busy(sessions int) (*Speaker, *Arrival) {
	s := New(log.NewNopLogger(), Config{Transport: still{}})
	s.clock = time.Now()
	s.journal = openJournal(s.logger)
	var wanted []lb.BFDSession
	for i := range sessions {
		wanted = append(wanted, lb.BFDSession{Peer: netip.AddrFrom4([4]byte{10, 0, byte(i / 250), byte(i % 250)}), Profile: profileOf(300*ms, 3)})
	}
	s.apply(&wanted)
	var last Arrival
	for _, w := range s.watches {
		p := packet{
			state: stateInit, multiplier: 3, myDiscriminator: 9, yourDiscriminator: w.session.localDiscr,
			desiredMinTx: 300 * ms, requiredMinRx: 300 * ms,
		}
		last = Arrival{TTL: 255, Source: w.key.Peer, Payload: p.append(nil), At: s.clock}
		s.handle(&last)
		p.state, p.final = stateUp, true
		last.Payload = p.append(nil)
		s.handle(&last)
	}
	return s, &last
}

// BenchmarkReceive takes in one packet of 500 sessions.
func BenchmarkReceive(b *testing.B) {
	s, a := busy(500)
	defer s.journal.close()
	b.ReportAllocs()
	for b.Loop() {
		s.clock = s.clock.Add(ms)
		a.At = s.clock
		s.handle(a)
	}
	if s.drops[accepted].Load() == 0 {
		b.Fatal("all was dropped")
	}
}

// BenchmarkTransmit sends one packet of 500 sessions.
func BenchmarkTransmit(b *testing.B) {
	s, _ := busy(500)
	defer s.journal.close()
	b.ReportAllocs()
	for b.Loop() {
		w := s.queue.first()
		s.clock = w.due
		w.session.heard = s.clock
		s.serve(w)
	}
}

func TestPacketsAreHandledWithoutAllocation(t *testing.T) {
	s, a := busy(10)
	defer s.journal.close()
	if n := testing.AllocsPerRun(1000, func() {
		s.clock = s.clock.Add(ms)
		a.At = s.clock
		s.handle(a)
	}); n != 0 {
		t.Errorf("%.0f allocations for each packet received", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		w := s.queue.first()
		s.clock = w.due
		w.session.heard = s.clock
		s.serve(w)
	}); n != 0 {
		t.Errorf("%.0f allocations for each packet sent", n)
	}
}

// FuzzHandle: whatever arrives, nothing crashes, and every packet is either accepted or counted
// as dropped for one reason.
func FuzzHandle(f *testing.F) {
	f.Add(validBytes, uint8(0), uint8(255), true)
	f.Add(validBytes, uint8(1), uint8(254), false)
	f.Add(ownEcho(), uint8(2), uint8(254), true)
	f.Fuzz(func(t *testing.T, payload []byte, kind, ttl uint8, known bool) {
		s, a := busy(2)
		defer s.journal.close()
		a.Kind, a.TTL, a.Payload = Kind(kind%4), int(ttl), payload
		if !known {
			a.Source = netip.MustParseAddr("192.0.2.9")
		}
		before := total(s)
		s.handle(a)
		if total(s) != before+1 {
			t.Error("the packet is not counted once")
		}
	})
}

func total(s *Speaker) (n uint64) {
	for i := range s.drops {
		n += s.drops[i].Load()
	}
	return n
}
