package router

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

func TestMessagesAreReadAsTheyWereWritten(t *testing.T) {
	open := Open{ASN: 4200000000, HoldTime: 9 * time.Second, RouterID: node1, Capabilities: map[byte][]byte{GracefulRestartCapability: {0, 120}}}
	m := read(t, open.encode())
	got, err := m.Open()
	if err != nil || got.ASN != open.ASN || got.HoldTime != open.HoldTime || got.RouterID != open.RouterID || !bytes.Equal(got.Capabilities[GracefulRestartCapability], []byte{0, 120}) {
		t.Errorf("got %+v, %v; want %+v", got, err, open)
	}

	u, err := read(t, updateOf(open, 0, 2)).Update()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, u.Announced, []netip.Prefix{netip.MustParsePrefix("1.0.0.0/24"), netip.MustParsePrefix("1.0.1.0/24")})
	equal(t, u.Attributes[3], node1.AsSlice())
}

func read(t *testing.T, text []byte) Message {
	t.Helper()
	m, err := readMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestUpdates(t *testing.T) {
	for _, c := range []struct {
		name     string
		body     []byte
		want     Update
		endOfRIB bool
	}{
		{"withdrawn", []byte{0, 5, 32, 192, 168, 10, 200, 0, 0}, Update{Withdrawn: []netip.Prefix{service4}, Attributes: map[byte][]byte{}}, false},
		{"the end of all IPv4 routes", []byte{0, 0, 0, 0}, Update{Attributes: map[byte][]byte{}}, true},
		{"the end of all IPv6 routes", []byte{0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1}, Update{Attributes: map[byte][]byte{15: {0, 2, 1}}}, true},
		{
			"IPv6 in attributes",
			[]byte{0, 0, 0, 12, 0x80, 14, 9, 0, 2, 1, 1, 9, 0, 16, 0xfd, 0x99},
			Update{Announced: []netip.Prefix{netip.MustParsePrefix("fd99::/16")}, Attributes: map[byte][]byte{14: {0, 2, 1, 1, 9, 0, 16, 0xfd, 0x99}}},
			false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Message{Type: UpdateMessage, Body: c.body}.Update()
			if err != nil {
				t.Fatal(err)
			}
			equal(t, got, c.want)
			if got.EndOfRIB() != c.endOfRIB {
				t.Errorf("end of RIB: got %v", got.EndOfRIB())
			}
		})
	}
}

func TestUpdatesThatEndTooEarly(t *testing.T) {
	for _, body := range [][]byte{nil, {0}, {0, 9, 1}, {0, 0, 0, 9}, {0, 0, 0, 3, 64, 1, 9}, {0, 0, 0, 0, 32, 1}} {
		if _, err := (Message{Type: UpdateMessage, Body: body}).Update(); err == nil {
			t.Errorf("%v is read", body)
		}
	}
}
