package layer2

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"
)

func TestSpans(t *testing.T) {
	addr := func(last ...byte) []netip.Addr {
		var out []netip.Addr
		for _, l := range last {
			out = append(out, netip.AddrFrom4([4]byte{192, 0, 2, l}))
		}
		return out
	}
	at := func(first, last uint32) span { return span{0xc0000200 + first, 0xc0000200 + last} }
	for name, c := range map[string]struct {
		addrs []netip.Addr
		want  []span
	}{
		"none":                                 {nil, nil},
		"one":                                  {addr(7), []span{at(7, 7)}},
		"a run, one apart, and the end of all": {addr(7, 8, 9, 11, 255), []span{at(7, 9), at(11, 11), at(255, 255)}},
		"IPv6 addresses by their end, whatever their beginning": {
			[]netip.Addr{netip.MustParseAddr("2001:db8::c000:209"), netip.MustParseAddr("2001:db8:1::c000:208")}, []span{at(8, 9)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, spansOf(keysOf(c.addrs)), cmp.AllowUnexported(span{})); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSpansAreFewAndCoverAll(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 99, 100, 101, 102, 1000, 20_000} {
		var addrs []netip.Addr
		for range n {
			raw := [4]byte{}
			binary.BigEndian.PutUint32(raw[:], r.Uint32()>>r.IntN(24))
			addrs = append(addrs, netip.AddrFrom4(raw))
		}
		spans := spansOf(keysOf(addrs))
		if len(spans) > maxSpans {
			t.Errorf("%d addresses: %d spans", n, len(spans))
		}
		for i := range spans {
			if spans[i].first > spans[i].last || i > 0 && spans[i].first <= spans[i-1].last {
				t.Errorf("%d addresses: spans out of order: %v", n, spans)
			}
		}
		for _, a := range addrs {
			if !passes(spans, a) {
				t.Errorf("%d addresses: %s is in no span", n, a)
			}
		}
	}
}

func passes(spans []span, a netip.Addr) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.first <= key(a) && key(a) <= s.last })
}

func keysOf(addrs []netip.Addr) []uint32 {
	var out []uint32
	for _, a := range addrs {
		out = append(out, key(a))
	}
	return out
}

// withoutType is a filter less the check of the packet's type, which only the kernel knows.
func withoutType(t *testing.T, program []bpf.Instruction) *bpf.VM {
	t.Helper()
	if _, err := bpf.Assemble(program); err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program[3:])
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

func TestFiltersPassRequestsForTheirTargets(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{0, 1, 2, 3, 50, maxSpans} {
		var v4, v6 []netip.Addr
		for i := range n {
			v4 = append(v4, netip.AddrFrom4([4]byte{10, 0, byte(i), byte(r.IntN(250))}))
			v6 = append(v6, netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 14: byte(i), 15: byte(r.IntN(250))}))
		}
		spans4, spans6 := spansOf(keysOf(v4)), spansOf(keysOf(v6))
		arp, ndp := withoutType(t, arpFilter(spans4)), withoutType(t, solicitationFilter(spans6))
		check := func(vm *bpf.VM, frame []byte, addr netip.Addr, want bool) {
			t.Helper()
			got, err := vm.Run(frame)
			if err != nil || (got > 0) != want {
				t.Errorf("%d targets: a request for %s passes: %v %v, want %t", n, addr, got, err, want)
			}
		}
		for i := range n {
			for _, a := range []netip.Addr{v4[i], v4[i].Next(), v4[i].Prev()} {
				check(arp, requestFrame(t, broadcast, client4, a), a, passes(spans4, a))
			}
			for _, a := range []netip.Addr{v6[i], v6[i].Next(), v6[i].Prev()} {
				check(ndp, solicitFrame(t, a), a, passes(spans6, a))
			}
		}
		check(arp, requestFrame(t, broadcast, client4, foreign4), foreign4, false)
	}
}

func TestFiltersDropWhatIsNoRequest(t *testing.T) {
	arp, ndp := withoutType(t, arpFilter(everything)), withoutType(t, solicitationFilter(everything))
	reply, advertisement := new(frameBuffer), new(frameBuffer)
	id := identity{mac: mac{2, 0, 0, 0, 0, 1}}
	for name, c := range map[string]struct {
		vm    *bpf.VM
		frame []byte
		want  bool
	}{
		"ARP request":             {arp, requestFrame(t, broadcast, client4, vip4), true},
		"ARP reply":               {arp, announcementARPReply(reply, &id, vip4), false},
		"ARP request, cut short":  {arp, requestFrame(t, broadcast, client4, vip4)[:40], false},
		"neighbor solicitation":   {ndp, solicitFrame(t, vip6), true},
		"neighbor advertisement":  {ndp, announcementNDP(advertisement, &id, vip6), false},
		"solicitation, cut short": {ndp, solicitFrame(t, vip6)[:70], false},
		"nothing":                 {ndp, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := c.vm.Run(c.frame); err != nil || (got > 0) != c.want {
				t.Errorf("passes: %v %v, want %t", got, err, c.want)
			}
		})
	}
}

// BenchmarkFilter is what a change of one address costs until the kernel is told.
func BenchmarkFilter(b *testing.B) {
	for _, n := range []int{10, 5000} {
		b.Run(fmt.Sprintf("of %d", n), func(b *testing.B) {
			var keys []uint32
			for i := range n {
				keys = append(keys, key(netip.AddrFrom4([4]byte{10, 0, byte(i / 80), byte(i % 80 * 3)})))
			}
			b.ReportAllocs()
			for b.Loop() {
				spansOf(keys)
			}
		})
	}
}
