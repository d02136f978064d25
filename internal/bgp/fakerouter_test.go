package bgp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/herald-lb/herald/internal/lb"
)

// fakeRouter accepts connections on a loopback address, and does with each what the test
// wants: routers that behave badly are not to be had from others.
func fakeRouter(t testing.TB, address string, behave func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go func() {
					defer conn.Close()
					behave(conn)
				}()
			}
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// peerAt is how we know a fake router.
func peerAt(name lb.PeerName, at netip.AddrPort) lb.Peer {
	return lb.Peer{
		Name: name, MyASN: 64500, ASN: 64512, Address: at.Addr(), Port: at.Port(), HoldTime: 90 * time.Second,
		RouterID: netip.MustParseAddr("192.0.2.99"), ConnectTime: time.Second,
	}
}

// routerOffer is the OPEN of a fake router.
var routerOffer = offer{
	asn: 64512, routerID: netip.MustParseAddr("192.0.2.1"), hold: 90 * time.Second,
	families: []bgp.Family{bgp.RF_IPv4_UC},
}

// greet establishes a session as any router would.
func greet(conn net.Conn, o offer) (*bufio.Reader, error) {
	open, err := o.bytes()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(append(open, keepalive...)); err != nil {
		return nil, err
	}
	from := bufio.NewReader(conn)
	for range 2 {
		if _, _, err := readMessage(from); err != nil {
			return nil, err
		}
	}
	return from, nil
}

// readMessage reads a message of ours, whatever it is.
func readMessage(from io.Reader) (kind uint8, body []byte, err error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(from, header); err != nil {
		return 0, nil, err
	}
	body = make([]byte, int(binary.BigEndian.Uint16(header[16:]))-headerLength)
	_, err = io.ReadFull(from, body)
	return header[18], body, err
}

// quiet establishes a session, and listens until it ends.
func quiet(conn net.Conn) {
	if from, err := greet(conn, routerOffer); err == nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// says is a router that says something, whatever we say.
func says(messages ...[]byte) func(net.Conn) {
	return func(conn net.Conn) {
		for _, m := range messages {
			if _, err := conn.Write(m); err != nil {
				return
			}
		}
	}
}

// frame is a message of a kind with n bytes of body that begin as given.
func frame(kind uint8, n int, body ...byte) []byte {
	m := append(slices.Repeat([]byte{0xff}, 16), byte((headerLength+n)>>8), byte(headerLength+n), kind)
	return append(append(m, body...), make([]byte, n-len(body))...)
}

// with is a fake router's OPEN with a difference.
func with(change func(*offer)) offer {
	o := routerOffer
	change(&o)
	return o
}

func mustOpen(o offer) []byte {
	b, err := o.bytes()
	if err != nil {
		panic(err)
	}
	return b
}

// lastNotification reads until the end, and returns the code of a NOTIFICATION of ours, or 0.
func lastNotification(from io.Reader) (code uint8) {
	for {
		kind, body, err := readMessage(from)
		if err != nil {
			return code
		}
		if kind == bgp.BGP_MSG_NOTIFICATION {
			code = body[0]
		}
	}
}
