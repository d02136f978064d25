package router

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// Script is what a Peer does on each connection that it accepts. The connection is closed when it returns.
type Script func(*Connection)

// Peer is a BGP speaker on a host that does what its script says, no more, and remembers all that it is told.
type Peer struct {
	listener net.Listener
	script   Script
	running  sync.WaitGroup

	mu          sync.Mutex // guards connections
	connections []*Connection
}

// Connection is one that a Peer has accepted.
type Connection struct {
	At   time.Time
	From netip.AddrPort

	conn net.Conn

	mu       sync.Mutex // guards what is below
	received []Message
	serving  bool
	ended    time.Time
}

// Listen begins to accept connections on a host; Close must follow.
func Listen(ctx context.Context, l *lab.Lab, host lab.Host, at netip.AddrPort, script Script) (*Peer, error) {
	listener, err := l.Listen(ctx, host, "tcp", at.String())
	if err != nil {
		return nil, fmt.Errorf("listen for BGP on %s: %w", host, err)
	}
	p := &Peer{listener: listener, script: script}
	p.running.Go(p.accept)
	return p, nil
}

func (p *Peer) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		c := &Connection{At: time.Now(), From: conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn: conn}
		p.mu.Lock()
		p.connections = append(p.connections, c)
		p.mu.Unlock()
		p.running.Go(func() {
			p.script(c)
			c.close()
		})
	}
}

func (c *Connection) close() {
	_ = c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = time.Now()
}

// Connections are all so far, those that have ended too.
func (p *Peer) Connections() []*Connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.connections)
}

// Last is the latest connection, or nil.
func (p *Peer) Last() *Connection {
	all := p.Connections()
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// Close ends all connections.
func (p *Peer) Close() {
	_ = p.listener.Close()
	for _, c := range p.Connections() {
		_ = c.conn.Close()
	}
	p.running.Wait()
}

// Received is what the connection has been told so far.
func (c *Connection) Received() []Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.received)
}

// Ended is when the connection was closed; zero while it is open.
func (c *Connection) Ended() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// Served says whether the script has said all that it had to, and only keeps the session alive.
func (c *Connection) Served() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.serving
}

// Open is the OPEN message that was received.
func (c *Connection) Open() (Open, error) {
	for _, m := range c.Received() {
		if m.Type == OpenMessage {
			return m.Open()
		}
	}
	return Open{}, errors.New("no OPEN message has come")
}

// Updates are the UPDATE messages that were received; one that cannot be read is an error.
func (c *Connection) Updates() (all []Update, err error) {
	for _, m := range c.Received() {
		if m.Type != UpdateMessage {
			continue
		}
		u, err := m.Update()
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// Notification is the NOTIFICATION message that was received.
func (c *Connection) Notification() (Notification, error) {
	for _, m := range c.Received() {
		if m.Type == NotificationMessage {
			return m.Notification()
		}
	}
	return Notification{}, errors.New("no NOTIFICATION message has come")
}

// Read waits for the next message and remembers it.
func (c *Connection) Read() (Message, error) {
	m, err := readMessage(c.conn)
	if err == nil {
		c.mu.Lock()
		c.received = append(c.received, m)
		c.mu.Unlock()
	}
	return m, err
}

// Send sends bytes as they are.
func (c *Connection) Send(text []byte) error {
	_, err := c.conn.Write(text)
	return err
}

// Keepalive sends a KEEPALIVE message.
func (c *Connection) Keepalive() error { return c.Send(encode(KeepaliveMessage, nil)) }

// Notify sends a NOTIFICATION message.
func (c *Connection) Notify(n Notification) error {
	return c.Send(encode(NotificationMessage, append([]byte{n.Code, n.Subcode}, n.Data...)))
}

// Reset ends the connection as a crash would: with a TCP reset.
func (c *Connection) Reset() error {
	return errors.Join(c.conn.(*net.TCPConn).SetLinger(0), c.conn.Close())
}

// Establish answers an OPEN message with its own, and comes back when the session is established.
func (c *Connection) Establish(o Open) error {
	if _, err := c.Read(); err != nil {
		return err
	}
	if err := errors.Join(c.Send(o.encode()), c.Keepalive()); err != nil {
		return err
	}
	_, err := c.Read()
	return err
}

// Serve reads, and keeps the session alive, until it ends.
func (c *Connection) Serve() {
	c.mu.Lock()
	c.serving = true
	c.mu.Unlock()
	done := make(chan struct{})
	go c.keepAlive(done)
	defer close(done)
	c.Drain()
}

func (c *Connection) keepAlive(done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_ = c.Keepalive() // the reader notices the end
		}
	}
}

// Drain reads until the connection ends, and says nothing.
func (c *Connection) Drain() {
	for {
		if _, err := c.Read(); err != nil {
			return
		}
	}
}
