package herald

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/probe"
)

// Clients are on one host, one per address, and open a new connection to port 80 every 10 ms.
type Clients []*probe.Probe

// StartClients returns when each address has answered; Stop must follow.
func StartClients(ctx context.Context, l *lab.Lab, on lab.Host, addresses []netip.Addr) (Clients, error) {
	return startClients(ctx, l, on, addresses, 0)
}

// StartPatientClients are for those who want no connection to fail: they bear with a busy machine. A packet that is lost
// fails them all the same, as TCP sends it again after a second (RFC 6298, section 2).
func StartPatientClients(ctx context.Context, l *lab.Lab, on lab.Host, addresses []netip.Addr) (Clients, error) {
	return startClients(ctx, l, on, addresses, 900*time.Millisecond)
}

func startClients(ctx context.Context, l *lab.Lab, on lab.Host, addresses []netip.Addr, timeout time.Duration) (clients Clients, err error) {
	start := time.Now()
	for _, address := range addresses {
		clients = append(clients, probe.Start(probe.Options{
			Dial: l.DialFrom(on), Address: netip.AddrPortFrom(address, 80), Timeout: timeout,
		}))
	}
	for _, p := range clients {
		if err := p.AwaitSuccess(ctx, start); err != nil {
			clients.Stop()
			return nil, err
		}
	}
	return clients, nil
}

// calm is how long connections must be answered on end for an outage to be over. It is much longer than a probe's
// patience, as failures are known only when that has ended.
const calm = 1500 * time.Millisecond

// AwaitSteady waits until each address has answered all connections for a while, which began after the given moment.
func (c Clients) AwaitSteady(ctx context.Context, since time.Time) error {
	return Await(ctx, "connections to be answered again", func(context.Context) error {
		for _, p := range c {
			if attempts := p.Attempts(); !steady(attempts, since) {
				return fmt.Errorf("%s", probe.Summarize(attempts))
			}
		}
		return nil
	})
}

func steady(attempts []probe.Attempt, since time.Time) bool {
	lastFailure := since
	for _, a := range attempts {
		if a.Err != nil && a.Start.After(since) {
			lastFailure = a.Start
		}
	}
	return len(attempts) > 0 && attempts[len(attempts)-1].Start.Sub(lastFailure) > calm
}

// Stop ends the clients and tells what each saw.
func (c Clients) Stop() (reports []probe.Report) {
	for _, p := range c {
		reports = append(reports, p.Stop())
	}
	return reports
}

// Failures ends the clients and lists the connections that failed. One that was parted from its node is none: Herald moves
// an address, and no connections.
func (c Clients) Failures() (failed []probe.Attempt) {
	c.Stop()
	for _, p := range c {
		for _, a := range p.Attempts() {
			if a.Err != nil && !a.Parted() {
				failed = append(failed, a)
			}
		}
	}
	return failed
}

// Drain moves the pods with a label away from a node that is about to be cut off, and keeps others from coming.
// Connections to them would fail until the cluster notices, which takes it some 50 seconds, and an outage would not be
// Herald's. Herald does not mind the cordon.
func Drain(ctx context.Context, l *lab.Lab, node lab.Host, label string) error {
	drain := l.Kubectl(ctx, "drain", string(node), "--pod-selector", label)
	if output, err := drain.CombinedOutput(); err != nil {
		return fmt.Errorf("drain %s: %w: %s", node, err, output)
	}
	return nil
}

// Uncordon lets pods onto a node again.
func Uncordon(ctx context.Context, l *lab.Lab, node lab.Host) error {
	if output, err := l.Kubectl(ctx, "uncordon", string(node)).CombinedOutput(); err != nil {
		return fmt.Errorf("uncordon %s: %w: %s", node, err, output)
	}
	return nil
}
