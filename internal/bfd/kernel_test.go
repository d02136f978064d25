package bfd

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/bpf"
)

func TestArrivedAt(t *testing.T) {
	now := time.Now()
	emptied := now.Add(-time.Second)
	for _, tt := range []struct {
		name        string
		stamp, want time.Duration // before now
	}{
		{"a while ago", 300 * ms, 300 * ms},
		{"just now", 0, 0},
		{"later than now, since the clock was set back", -time.Hour, 0},
		{"before the queue was seen empty, since the clock was set forward", time.Hour, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := arrivedAt(now.Round(0).Add(-tt.stamp), emptied, now)
			if now.Sub(got) != tt.want {
				t.Errorf("got %s before now, want %s", now.Sub(got), tt.want)
			}
		})
	}
}

func ownEcho() []byte {
	header := echoHeader(netip.MustParseAddr("192.0.2.1"))
	return append(header[:], make([]byte, echoLength)...)
}

func TestEchoPacket(t *testing.T) {
	b := ownEcho()
	if checksum(b[:ipLength]) != 0 {
		t.Errorf("the header's checksum is wrong: %x", b[:ipLength])
	}
	a := Arrival{Payload: b}
	if !a.unwrapEcho() || a.TTL != 255 || a.Source != netip.MustParseAddr("192.0.2.1") || !bytes.Equal(a.Payload, make([]byte, echoLength)) {
		t.Errorf("unwrapped as %+v", a)
	}
	if a := (Arrival{Payload: b[:len(b)-1]}); a.unwrapEcho() {
		t.Error("a packet that is too short is unwrapped")
	}
}

func TestEchoFilter(t *testing.T) {
	vm, err := bpf.NewVM(echoFilter)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		at    int
		value byte
		want  bool
	}{
		{"ours", 0, 4<<4 | 5, true},
		{"ours, forwarded", 8, 254, true},
		{"ours, not to be fragmented", 6, 0x40, true},
		{"IPv6", 0, 6 << 4, false},
		{"with options", 0, 4<<4 | 6, false},
		{"first of several fragments", 6, 0x20, false},
		{"later fragment", 7, 1, false},
		{"TCP", 9, 6, false},
		{"another port", 23, 0xca, false},
		{"from another address", 15, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := ownEcho()
			b[tt.at] = tt.value
			n, err := vm.Run(b)
			if err != nil {
				t.Fatal(err)
			}
			if (n > 0) != tt.want {
				t.Errorf("passed: %t, want %t", n > 0, tt.want)
			}
		})
	}
}
