package neighbour

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Questions are ARP requests for several addresses in turn.
type Questions struct {
	Link string
	// As are the addresses that ask, in turn: an answer is known by whom it is for.
	As      []netip.Addr
	Targets []netip.Addr
	Every   time.Duration
	For     time.Duration
}

// Answers are how long the answers for one target took, and how many requests had none.
type Answers struct {
	Target netip.Addr
	Took   []time.Duration
	Lost   int
}

// Ask asks, and returns what came back for each target. A request that is not answered until its asker's turn comes
// again counts as lost.
func Ask(q Questions) ([]Answers, error) {
	s, err := open(q.Link, true)
	if err != nil {
		return nil, err
	}
	defer s.close()
	a := newAsked(q)
	ended := make(chan error, 1)
	go func() { ended <- a.receive(s) }()
	for sent, start := 0, time.Now(); time.Since(start) < q.For; sent++ {
		time.Sleep(time.Until(start.Add(time.Duration(sent) * q.Every)))
		target, as := sent%len(q.Targets), sent/len(q.Targets)%len(q.As)
		frame := s.request(q.As[as], q.Targets[target])
		a.begin(target, as)
		if _, err := unix.Write(s.fd, frame); err != nil {
			return nil, fmt.Errorf("send ARP request: %w", err)
		}
	}
	a.ending.Store(true)
	if err := <-ended; err != nil {
		return nil, fmt.Errorf("receive ARP replies: %w", err)
	}
	return a.answers(), nil
}

// asked are the requests under way, of each target by each asker, as the moment at which they were sent; 0 is none.
type asked struct {
	Questions
	began  time.Time
	slots  [][]atomic.Int64
	lost   []int
	took   [][]time.Duration
	ending atomic.Bool
}

func newAsked(q Questions) *asked {
	a := &asked{Questions: q, began: time.Now(), lost: make([]int, len(q.Targets)), took: make([][]time.Duration, len(q.Targets))}
	for range q.Targets {
		a.slots = append(a.slots, make([]atomic.Int64, len(q.As)))
	}
	return a
}

func (a *asked) begin(target, as int) {
	if a.slots[target][as].Swap(int64(time.Since(a.began))) != 0 {
		a.lost[target]++
	}
}

// patience is how long the last answers are waited for.
const patience = 200 * time.Millisecond

// receive notes replies, on a thread that does nothing else, until none come after the last request.
func (a *asked) receive(s *socket) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	timeout := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	frame := make([]byte, 256)
	for {
		n, err := unix.Read(s.fd, frame)
		now := time.Since(a.began)
		switch {
		case errors.Is(err, unix.EAGAIN) && a.ending.Load():
			return nil
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		default:
			a.note(frame[:n], now)
		}
	}
}

func (a *asked) note(frame []byte, now time.Duration) {
	_, address, to, ok := parseReply(frame)
	if !ok {
		return
	}
	for t, target := range a.Targets {
		for i, as := range a.As {
			if target != address || as != to {
				continue
			}
			if sent := a.slots[t][i].Swap(0); sent != 0 {
				a.took[t] = append(a.took[t], now-time.Duration(sent))
			}
		}
	}
}

func (a *asked) answers() []Answers {
	var out []Answers
	for t, target := range a.Targets {
		lost := a.lost[t]
		for i := range a.slots[t] {
			if a.slots[t][i].Load() != 0 {
				lost++
			}
		}
		out = append(out, Answers{Target: target, Took: a.took[t], Lost: lost})
	}
	return out
}
