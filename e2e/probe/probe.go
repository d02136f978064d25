// Package probe measures an outage as a client sees it: it opens a new connection at a steady pace, each with a short
// patience and none waiting for another, and tells how long connections failed.
package probe

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Dial opens a connection, say from a host of the lab.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Options say what to probe. Only Dial and Address are needed.
type Options struct {
	Dial    Dial
	Address netip.AddrPort
	Path    string        // ask for this path by HTTP, rather than only connect
	Every   time.Duration // pace; default: 10 ms
	Timeout time.Duration // of one attempt; default: 250 ms, well below TCP's retransmission after 1 s
}

// Attempt is one connection that was tried.
type Attempt struct {
	Start  time.Time
	Took   time.Duration
	Err    error  // nil: it was answered
	Answer string // with a Path: the body
}

// Probe is a series of attempts under way.
type Probe struct {
	options Options
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex // guards attempts
	attempts []Attempt
}

// Start begins to probe; Stop must follow.
func Start(o Options) *Probe {
	o.Every = cmp.Or(o.Every, 10*time.Millisecond)
	o.Timeout = cmp.Or(o.Timeout, 250*time.Millisecond)
	ctx, cancel := context.WithCancel(context.Background())
	p := &Probe{options: o, cancel: cancel}
	p.running.Go(func() { p.run(ctx) })
	return p
}

// run starts attempts at its pace, whether or not earlier ones have ended.
func (p *Probe) run(ctx context.Context) {
	tick := time.NewTicker(p.options.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.running.Go(p.attempt)
		}
	}
}

func (p *Probe) attempt() {
	a := Attempt{Start: time.Now()}
	a.Answer, a.Err = p.options.ask()
	a.Took = time.Since(a.Start)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts = append(p.attempts, a)
}

func (o Options) ask() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	conn, err := o.Dial(ctx, "tcp", o.Address.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if o.Path == "" {
		return "", nil
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	return get(conn, o.Path, o.Address.String())
}

// get is HTTP/1.0 by hand: a client with a pool of connections would reuse one.
func get(conn io.ReadWriter, path, host string) (string, error) {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", path, host); err != nil {
		return "", err
	}
	response, err := io.ReadAll(conn)
	if err != nil {
		return "", err
	}
	head, body, ok := strings.Cut(string(response), "\r\n\r\n")
	if !ok || !strings.Contains(head, " 200 ") {
		return "", fmt.Errorf("answered %q", head)
	}
	return strings.TrimSpace(body), nil
}

// Attempts returns those that have ended so far, in the order of their starts.
func (p *Probe) Attempts() []Attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	attempts := slices.Clone(p.attempts)
	slices.SortFunc(attempts, func(a, b Attempt) int { return a.Start.Compare(b.Start) })
	return attempts
}

// AwaitSuccess waits until an attempt that started after this moment is answered.
func (p *Probe) AwaitSuccess(ctx context.Context, after time.Time) error {
	for {
		for _, a := range p.Attempts() {
			if a.Err == nil && a.Start.After(after) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s to answer: %w", p.options.Address, ctx.Err())
		case <-time.After(p.options.Every):
		}
	}
}

// Stop ends the probe, waits for the attempts under way, and tells what was seen.
func (p *Probe) Stop() Report {
	p.cancel()
	p.running.Wait()
	return Summarize(p.Attempts())
}
