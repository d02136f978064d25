package layer2

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// span is a run of targets, both ends included, each as the last 32 bits of its
// address. Of IPv6 addresses those are nearly always enough to tell them apart.
type span struct{ first, last uint32 }

// maxSpans bounds the length of the filter, whose jumps reach 255 instructions
// far. The kernel goes through all of it, in a tenth of a microsecond.
const maxSpans = 100

// key is what a span knows of a target.
func key(addr netip.Addr) uint32 {
	raw := addr.As16()
	return binary.BigEndian.Uint32(raw[12:])
}

// spansOf returns spans that cover these keys, at most maxSpans: they are joined
// over ever wider gaps until they are that few. A filter may let more pass than it
// must. It sorts the keys.
func spansOf(keys []uint32) []span {
	slices.Sort(keys)
	for gap := uint32(1); ; gap *= 2 {
		if spans := join(keys, gap); len(spans) <= maxSpans {
			return spans
		}
	}
}

// join returns the spans of sorted keys that are not further apart than the gap;
// if there are too many, not all of them.
func join(keys []uint32, gap uint32) []span {
	var spans []span
	for _, key := range keys {
		n := len(spans)
		switch {
		case n > 0 && key-spans[n-1].last <= gap:
			spans[n-1].last = key
		case n > maxSpans:
			return spans
		default:
			spans = append(spans, span{key, key})
		}
	}
	return spans
}

// everything is what is let pass before it is known what is announced.
var everything = []span{{0, ^uint32(0)}}

// The kernel runs a filter on each frame before it reaches a socket, so that what
// others ask each other does not wake us. Frames for other hosts are dropped first:
// those are frames heard in promiscuous mode and those of VLANs that this node has no
// interface for, whose tag is gone here, so that an answer would go to the wrong network.

// arpFilter passes ARP requests for these targets.
func arpFilter(targets []span) []bpf.Instruction {
	return filter([]check{
		{bpf.LoadAbsolute{Off: 20, Size: 2}, arpRequest}, // operation
	}, bpf.LoadAbsolute{Off: 38, Size: 4}, targets)
}

// solicitationFilter passes neighbor solicitations for these targets.
func solicitationFilter(targets []span) []bpf.Instruction {
	return filter([]check{
		{bpf.LoadAbsolute{Off: 20, Size: 1}, protocolICMPv6},   // next header
		{bpf.LoadAbsolute{Off: 54, Size: 1}, typeSolicitation}, // type
	}, bpf.LoadAbsolute{Off: 74, Size: 4}, targets)
}

// check is a field of the frame and what it must be.
type check struct {
	load bpf.Instruction
	is   uint32
}

// filter is the program that makes the checks and looks for the target among sorted
// spans. Frames that end before a field are dropped by the load.
func filter(checks []check, target bpf.Instruction, targets []span) []bpf.Instruction {
	pass, drop := bpf.RetConstant{Val: 1 << 16}, bpf.RetConstant{Val: 0}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipFalse: 1},
		drop,
	}
	for _, c := range checks {
		program = append(program, c.load, bpf.JumpIf{Cond: bpf.JumpEqual, Val: c.is, SkipTrue: 1}, drop)
	}
	program = append(program, target)
	for i, s := range targets {
		toPass := uint8(2*(len(targets)-1-i) + 1) // over the spans that follow, and the drop behind them
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: s.last, SkipTrue: 1},
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: s.first, SkipTrue: toPass, SkipFalse: toPass - 1})
	}
	return append(program, drop, pass)
}
