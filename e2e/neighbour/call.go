package neighbour

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// RollCall asks again and again who has an address, to see who answers when.
type RollCall struct {
	Link   string
	As     netip.Addr
	Target netip.Addr
	Every  time.Duration
}

// Sighting is an answer: which of the requests it came after, when that was sent, and who answered.
type Sighting struct {
	Request int
	At      time.Time
	MAC     string
}

// Call calls until the context ends.
func Call(ctx context.Context, r RollCall) ([]Sighting, error) {
	s, err := open(r.Link, true)
	if err != nil {
		return nil, err
	}
	defer s.close()
	timeout := unix.NsecToTimeval(int64(r.Every))
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, fmt.Errorf("set timeout of packet socket: %w", err)
	}
	var all []Sighting
	for request := 0; ctx.Err() == nil; request++ {
		sent := time.Now()
		if _, err := unix.Write(s.fd, s.request(r.As, r.Target)); err != nil {
			return nil, fmt.Errorf("send ARP request: %w", err)
		}
		for time.Since(sent) < r.Every {
			mac, err := s.answer(r.Target)
			if err != nil {
				return nil, fmt.Errorf("receive ARP replies: %w", err)
			}
			if mac != "" {
				all = append(all, Sighting{Request: request, At: sent, MAC: mac})
			}
		}
	}
	return all, nil
}

// answer reads one frame, and returns who answers for the address with it, if anybody does.
func (s *socket) answer(address netip.Addr) (mac string, err error) {
	frame := make([]byte, 256)
	n, err := unix.Read(s.fd, frame)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if sender, of, to, ok := parseReply(frame[:n]); ok && of == address && to != of {
		return net.HardwareAddr(sender[:]).String(), nil
	}
	return "", nil
}

// Together is for how long several hosts answered: from the first to the last request that more than one answered.
func Together(sightings []Sighting) time.Duration {
	first := map[int]Sighting{}
	var from, to time.Time
	for _, s := range sightings {
		other, seen := first[s.Request]
		if !seen {
			first[s.Request] = s
			continue
		}
		if other.MAC == s.MAC {
			continue
		}
		if from.IsZero() {
			from = s.At
		}
		to = s.At
	}
	return to.Sub(from)
}
