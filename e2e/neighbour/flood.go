package neighbour

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Noise is a flood of ARP requests for addresses that nobody has.
type Noise struct {
	Link      string
	As        netip.Addr
	Network   netip.Prefix // of the addresses asked for, one after the other
	PerSecond int
}

// Flood makes noise until the context ends, and returns how many requests were sent.
func Flood(ctx context.Context, n Noise) (sent int, err error) {
	s, err := open(n.Link, false)
	if err != nil {
		return 0, err
	}
	defer s.close()
	target := n.Network.Addr()
	for start := time.Now(); ctx.Err() == nil; time.Sleep(time.Millisecond) {
		for due := int(time.Since(start).Seconds() * float64(n.PerSecond)); sent < due; sent++ {
			if _, err := unix.Write(s.fd, s.request(n.As, target)); err != nil {
				return sent, fmt.Errorf("send ARP request: %w", err)
			}
			if target = target.Next(); !n.Network.Contains(target) {
				target = n.Network.Addr()
			}
		}
	}
	return sent, nil
}
