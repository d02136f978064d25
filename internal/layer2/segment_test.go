package layer2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// segment is a network in memory that records what is sent, and when. It
// panics where the contract of Segment is broken.
type segment struct {
	started time.Time

	mu     sync.Mutex
	refuse map[string]error // by the name of the connection
	conns  map[string]*wire // that are open, by name
	sent   []string         // "0s ARP eth0: who-has 192.0.2.1 tell 192.0.2.1"
	groups []string         // "0s eth0: join ff02::1:ff00:1"
	opened []string         // "0s ARP eth0"
}

func newSegment() *segment {
	return &segment{started: time.Now(), refuse: map[string]error{}, conns: map[string]*wire{}}
}

func (s *segment) OpenARP(link lb.Link) (Conn, error) { return s.open("ARP " + link.Name) }

func (s *segment) OpenNDP(link lb.Link) (GroupConn, error) { return s.open("NDP " + link.Name) }

func (s *segment) open(name string) (*wire, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened = append(s.opened, fmt.Sprintf("%s %s", s.now(), name))
	if err := s.refuse[name]; err != nil {
		return nil, err
	}
	if s.conns[name] != nil {
		panic("opened twice: " + name)
	}
	w := &wire{segment: s, name: name, frames: make(chan []byte), closed: make(chan struct{}), broken: make(chan struct{}), joined: map[netip.Addr]bool{}}
	s.conns[name] = w
	return w, nil
}

func (s *segment) now() time.Duration { return time.Since(s.started) }

// take returns what was recorded since it was last called.
func (s *segment) take(record *[]string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := *record
	*record = nil
	return out
}

func (s *segment) conn(name string) *wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[name] == nil {
		panic("not open: " + name)
	}
	return s.conns[name]
}

func (s *segment) openNames() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.conns {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// wire is one connection to a segment.
type wire struct {
	segment *segment
	name    string
	frames  chan []byte
	closed  chan struct{}
	broken  chan struct{}

	// Guarded by the segment's lock.
	watched []span
	joined  map[netip.Addr]bool
	fails   bool // whether nothing can be sent
}

var errBroken = errors.New("network is down")

func (w *wire) Read(frame []byte) (int, error) {
	select {
	case <-w.closed:
		return 0, net.ErrClosed
	case <-w.broken:
		return 0, errBroken
	case f := <-w.frames:
		return copy(frame, f), nil
	}
}

func (w *wire) Write(frame []byte) (int, error) {
	s := w.segment
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[w.name] != w {
		return 0, net.ErrClosed
	}
	if w.fails {
		return 0, errBroken
	}
	s.sent = append(s.sent, fmt.Sprintf("%s %s: %s", s.now(), w.name, describe(frame)))
	return len(frame), nil
}

func (w *wire) Close() error {
	w.segment.mu.Lock()
	defer w.segment.mu.Unlock()
	if w.segment.conns[w.name] != w {
		panic("closed twice: " + w.name)
	}
	delete(w.segment.conns, w.name)
	close(w.closed)
	return nil
}

func (w *wire) Watch(targets []span) error {
	w.segment.mu.Lock()
	defer w.segment.mu.Unlock()
	w.watched = targets
	return nil
}

func (w *wire) Join(group netip.Addr) error  { return w.change("join", group, true) }
func (w *wire) Leave(group netip.Addr) error { return w.change("leave", group, false) }

func (w *wire) change(verb string, group netip.Addr, joined bool) error {
	w.segment.mu.Lock()
	defer w.segment.mu.Unlock()
	w.segment.groups = append(w.segment.groups, fmt.Sprintf("%s %s: %s %s", w.segment.now(), w.name, verb, group))
	if joined && w.segment.refuse[group.String()] != nil {
		return w.segment.refuse[group.String()]
	}
	if w.joined[group] == joined {
		panic(fmt.Sprintf("%s: %s %s twice", w.name, verb, group))
	}
	w.joined[group] = joined
	return nil
}

// describe reads a frame that was sent, much like tcpdump.
func describe(frame []byte) string {
	if frame[12] == 0x08 { // ARP
		sender, target := netip.AddrFrom4([4]byte(frame[28:32])), netip.AddrFrom4([4]byte(frame[38:42]))
		if frame[21] == arpRequest {
			return fmt.Sprintf("who-has %s tell %s", target, sender)
		}
		return fmt.Sprintf("%s is-at %s", sender, mac(frame[22:28]))
	}
	to, target := netip.AddrFrom16([16]byte(frame[38:54])), netip.AddrFrom16([16]byte(frame[62:78]))
	return fmt.Sprintf("advertise %s to %s", target, to)
}
