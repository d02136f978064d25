package bfd

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// valid is a packet with a different value in each field, and its bytes as RFC 5880 section 4.1
// draws them.
var (
	valid = packet{
		diagnostic: diagNeighborDown, state: stateInit, poll: true, demand: true, multiplier: 5,
		myDiscriminator: 0x01020304, yourDiscriminator: 0x05060708,
		desiredMinTx: 300 * time.Millisecond, requiredMinRx: time.Second, requiredMinEchoRx: 50 * time.Millisecond,
	}
	validBytes = []byte{
		1<<5 | 3, 2<<6 | 1<<5 | 1<<1, 5, 24,
		1, 2, 3, 4,
		5, 6, 7, 8,
		0x00, 0x04, 0x93, 0xe0,
		0x00, 0x0f, 0x42, 0x40,
		0x00, 0x00, 0xc3, 0x50,
	}
)

func TestPacketOnTheWire(t *testing.T) {
	if got := valid.append(nil); !bytes.Equal(got, validBytes) {
		t.Errorf("encoded\n%x, want\n%x", got, validBytes)
	}
	var got packet
	if why := got.parse(validBytes); why != accepted {
		t.Fatalf("dropped: %s", why)
	}
	if diff := cmp.Diff(valid, got, cmp.AllowUnexported(packet{})); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
}

// The checks of RFC 5880 section 6.8.6 that need no session, in its order.
func TestPacketsThatAreDiscarded(t *testing.T) {
	with := func(i int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[i] = v; return b }
	}
	zero := func(from, to int) func([]byte) []byte {
		return func(b []byte) []byte { clear(b[from:to]); return b }
	}
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   drop
	}{
		{"unchanged", func(b []byte) []byte { return b }, accepted},
		{"version 0", with(0, 3), dropMalformed},
		{"version 2", with(0, 2<<5|3), dropMalformed},
		{"length field below the minimum of 24", with(3, 23), dropMalformed},
		{"length field beyond the payload", with(3, 25), dropMalformed},
		{"payload longer than the length field", func(b []byte) []byte { return append(b, 0) }, accepted},
		{"payload cut short", func(b []byte) []byte { return b[:23] }, dropMalformed},
		{"payload empty", func([]byte) []byte { return nil }, dropMalformed},
		{"detect multiplier zero", with(2, 0), dropMalformed},
		{"multipoint", with(1, 2<<6|flagMultipoint), dropMalformed},
		{"my discriminator zero", zero(4, 8), dropMalformed},
		{"your discriminator zero in state init", zero(8, 12), dropMalformed},
		{"your discriminator zero in state up", func(b []byte) []byte { return with(1, 3<<6)(zero(8, 12)(b)) }, dropMalformed},
		{"your discriminator zero in state down", func(b []byte) []byte { return with(1, 1<<6)(zero(8, 12)(b)) }, accepted},
		{"your discriminator zero in state AdminDown", func(b []byte) []byte { return with(1, 0)(zero(8, 12)(b)) }, accepted},
		{"authenticated, and no authentication is in use", with(1, 2<<6|flagAuthentication), dropAuthentication},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p packet
			if got := p.parse(tt.change(bytes.Clone(validBytes))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// FuzzParse: what is accepted says the same when it is encoded again; and nothing crashes.
func FuzzParse(f *testing.F) {
	f.Add(validBytes)
	f.Add(validBytes[:23])
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, again packet
		if p.parse(b) != accepted {
			return
		}
		if why := again.parse(p.append(nil)); why != accepted || again != p {
			t.Errorf("%+v became %+v, dropped as %q", p, again, why)
		}
	})
}
