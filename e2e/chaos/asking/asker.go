package asking

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// asker has a packet socket on a link.
type asker struct {
	from   From
	mac    mac
	socket int
	last   map[netip.Addr][]string
}

func newAsker(link *net.Interface, from From) (*asker, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", link.Name, err)
	}
	program := unix.SockFprog{Len: uint16(len(onlyAnswers)), Filter: &onlyAnswers[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return nil, fmt.Errorf("set filter of packet socket on %s: %w", link.Name, err)
	}
	to := &unix.SockaddrLinklayer{Ifindex: link.Index, Protocol: unix.ETH_P_ALL << 8} // in network byte order: packet(7)
	if err := unix.Bind(fd, to); err != nil {
		return nil, fmt.Errorf("bind packet socket to %s: %w", link.Name, err)
	}
	return &asker{from: from, mac: mac(link.HardwareAddr), socket: fd, last: map[netip.Addr][]string{}}, nil
}

// round asks for those whose turn it is, and returns what is news when it is over.
func (a *asker) round(n int, wanted Targets) (Told, error) {
	start := time.Now()
	answers := map[netip.Addr][]string{}
	for address, every := range wanted {
		if n%every != 0 {
			continue
		}
		answers[address] = nil
		if _, err := unix.Write(a.socket, a.question(address)); err != nil {
			return Told{}, fmt.Errorf("ask for %s: %w", address, err)
		}
	}
	for left := Round; left > 0; left = Round - time.Since(start) {
		if err := a.hear(answers, left); err != nil {
			return Told{}, fmt.Errorf("hear answers: %w", err)
		}
	}
	return Told{At: start, Answers: a.news(answers)}, nil
}

// question is a frame that asks who has an address.
func (a *asker) question(address netip.Addr) []byte {
	if address.Is4() {
		return arpRequest(a.mac, a.from.V4, address)
	}
	return neighbourSolicitation(a.mac, a.from.V6, address)
}

// hear waits for one frame, and notes it if it answers a question of this round.
func (a *asker) hear(answers map[netip.Addr][]string, limit time.Duration) error {
	timeout := unix.NsecToTimeval(int64(max(limit, time.Millisecond)))
	if err := unix.SetsockoptTimeval(a.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	frame := make([]byte, 256)
	n, err := unix.Read(a.socket, frame)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return err
	}
	address, by, ok := parseAnswer(frame[:n])
	if seen, asked := answers[address]; ok && asked && !slices.Contains(seen, by.String()) {
		answers[address] = append(seen, by.String())
	}
	return nil
}

// news are the answers that differ from the last ones.
func (a *asker) news(answers map[netip.Addr][]string) map[netip.Addr][]string {
	changed := map[netip.Addr][]string{}
	for address, by := range answers {
		slices.Sort(by)
		if before, known := a.last[address]; !known || !slices.Equal(before, by) {
			changed[address], a.last[address] = by, by
		}
	}
	return changed
}
