package bfd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/lb"
)

// network joins the transports of several speakers, for tests in a synctest bubble.
type network struct {
	random *rand.Rand
	// delay is how long packets take at least, and jitter how much longer some take: those overtake
	// each other.
	delay, jitter time.Duration
	// loss is the share of packets that are lost, but never more than burst in a row on one way.
	loss  float64
	burst int
	// granularity is that of everybody's timers.
	granularity time.Duration

	mu    sync.Mutex // guards all below, and the nodes
	nodes map[netip.Addr]*node
	lost  map[[2]netip.Addr]int
	cut   map[[2]netip.Addr]bool // from one to the other
	deaf  bool                   // nobody forwards echo packets
}

func newNetwork(seed uint64) *network {
	return &network{
		random: rand.New(rand.NewPCG(seed, seed)),
		delay:  ms,
		nodes:  map[netip.Addr]*node{},
		lost:   map[[2]netip.Addr]int{},
		cut:    map[[2]netip.Addr]bool{},
	}
}

// join adds a host.
func (n *network) join(addr string) *node {
	out := &node{network: n, addr: netip.MustParseAddr(addr), wake: make(chan struct{}, 1)}
	n.nodes[out.addr] = out
	return out
}

func (n *network) setCut(cut bool, ways ...[2]netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, way := range ways {
		n.cut[way] = cut
	}
}

// send carries a packet, unless it is lost.
func (n *network) send(from, to netip.Addr, a Arrival) {
	n.mu.Lock()
	defer n.mu.Unlock()
	way := [2]netip.Addr{from, to}
	dropped := n.random.Float64() < n.loss && n.lost[way] < n.burst
	n.lost[way]++
	if !dropped {
		n.lost[way] = 0
	}
	if dropped || n.cut[way] || n.deaf && a.Kind == EchoReturn {
		return
	}
	delay := n.delay + time.Duration(n.random.Float64()*float64(n.jitter))
	time.AfterFunc(delay, func() { n.deliver(to, a) })
}

func (n *network) deliver(to netip.Addr, a Arrival) {
	n.mu.Lock()
	defer n.mu.Unlock()
	node := n.nodes[to]
	if node == nil || !node.open {
		return
	}
	a.At = time.Now()
	node.inbox = append(node.inbox, a)
	signal(node.wake)
}

// node is the Transport of one host.
type node struct {
	network *network
	addr    netip.Addr
	wake    chan struct{}

	open   bool
	inbox  []Arrival
	paths  int   // open ones
	broken error // of every OpenPath
	stall  time.Duration
}

func (d *node) Open() error {
	d.network.mu.Lock()
	defer d.network.mu.Unlock()
	d.open = true
	return nil
}

func (d *node) Close() {
	d.network.mu.Lock()
	defer d.network.mu.Unlock()
	d.open, d.inbox = false, nil
}

func (d *node) Wake() { signal(d.wake) }

func (d *node) Wait(until time.Time) {
	var timer <-chan time.Time
	if !until.IsZero() {
		if g := d.network.granularity; g > 0 {
			until = until.Add(g - 1).Truncate(g)
		}
		timer = time.After(time.Until(until))
	}
	select {
	case <-timer:
	case <-d.wake:
	}
	d.network.mu.Lock()
	stall := d.stall
	d.stall = 0
	d.network.mu.Unlock()
	time.Sleep(stall)
}

func (d *node) Receive(_ time.Time, handle func(*Arrival)) {
	d.network.mu.Lock()
	inbox := d.inbox
	d.inbox = nil
	d.network.mu.Unlock()
	for i := range inbox {
		handle(&inbox[i])
	}
}

func (d *node) OpenPath(s lb.BFDSession) (Path, error) {
	d.network.mu.Lock()
	defer d.network.mu.Unlock()
	if d.broken != nil {
		return nil, d.broken
	}
	d.paths++
	return &nodePath{node: d, session: s}, nil
}

func (d *node) OpenEcho(s lb.BFDSession, _ Path) (EchoPath, error) {
	return &nodePath{node: d, session: s, echo: true}, nil
}

type nodePath struct {
	node    *node
	session lb.BFDSession
	echo    bool
}

func (p *nodePath) Send(b []byte) error {
	a := Arrival{Payload: append([]byte(nil), b...), Source: p.node.addr, Destination: p.session.Peer, TTL: 255}
	switch {
	case p.echo:
		a.Kind = EchoReturn
		p.node.network.send(p.node.addr, p.node.addr, a)
		return nil
	case p.session.MultiHop:
		a.Kind, a.TTL = MultiHop, 254
	}
	p.node.network.send(p.node.addr, p.session.Peer, a)
	return nil
}

func (p *nodePath) Reflect([]byte, netip.AddrPort) error { return errors.ErrUnsupported }

func (p *nodePath) Link() int { return 0 }

func (p *nodePath) Close() {
	p.node.network.mu.Lock()
	defer p.node.network.mu.Unlock()
	if !p.echo {
		p.node.paths--
	}
}

// party is a running Speaker, with what it reported.
type party struct {
	*Speaker
	node *node
	stop func() // returns when Start has

	mu       sync.Mutex
	reported []notice
}

type notice struct {
	key   lb.BFDKey
	state lb.BFDState
	at    time.Time
}

func (n *network) start(t *testing.T, addr string, seed uint64) *party {
	t.Helper()
	p := &party{node: n.join(addr)}
	p.Speaker = New(log.NewNopLogger(), Config{
		Transport: p.node,
		Random:    rand.New(rand.NewPCG(seed, 1)),
		OnChange: func(key lb.BFDKey, state lb.BFDState) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.reported = append(p.reported, notice{key, state, time.Now()})
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Start(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (r notice) String() string {
	return fmt.Sprintf("%s with %q at %s", r.state.Status, r.state.Diagnostic, r.at.Format("15:04:05.000"))
}

// reports are those since the last call.
func (p *party) reports() []notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.reported
	p.reported = nil
	return out
}

// state is that of the only session.
func (p *party) state(t *testing.T) lb.BFDState {
	t.Helper()
	synctest.Wait()
	for _, state := range p.States() {
		return state
	}
	t.Fatal("there is no session")
	return lb.BFDState{}
}

func sessionWith(peer *node, profile lb.BFDProfile) []lb.BFDSession {
	return []lb.BFDSession{{Peer: peer.addr, Profile: profile}}
}
