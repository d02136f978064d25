package asking

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// mac is a link-layer address.
type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

const (
	ethernetLength = 14
	arpLength      = ethernetLength + 28
	ipv6Length     = ethernetLength + 40
	icmpType       = ipv6Length // where an ICMPv6 message begins
	icmpTarget     = icmpType + 8
	icmpOption     = icmpTarget + 16
	adviceLength   = icmpOption + 8
)

const (
	arpOperation    = 20
	arpReply        = 2
	nextHeader      = 20
	protocolICMP6   = 58
	solicitation    = 135
	advertisement   = 136
	flagSolicited   = 0x40
	optionSource    = 1
	optionTarget    = 2
	greatestHops    = 255
	lengthOfOptions = 1 // in units of eight bytes
)

// arpRequest is a broadcast ARP request (RFC 826).
func arpRequest(from mac, as, target netip.Addr) []byte {
	frame := make([]byte, arpLength)
	ethernet(frame, mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, from, unix.ETH_P_ARP)
	copy(frame[ethernetLength:], []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(frame[22:], from[:])
	copy(frame[28:], as.AsSlice())
	copy(frame[38:], target.AsSlice())
	return frame
}

// neighbourSolicitation is one to the solicited-node multicast address of the target (RFC 4861, section 4.3).
func neighbourSolicitation(from mac, as, target netip.Addr) []byte {
	t := target.As16()
	frame := make([]byte, adviceLength)
	ethernet(frame, mac{0x33, 0x33, 0xff, t[13], t[14], t[15]}, from, unix.ETH_P_IPV6)
	frame[ethernetLength] = 6 << 4
	binary.BigEndian.PutUint16(frame[ethernetLength+4:], adviceLength-ipv6Length)
	frame[nextHeader], frame[nextHeader+1] = protocolICMP6, greatestHops
	copy(frame[ethernetLength+8:], as.AsSlice())
	copy(frame[ethernetLength+24:], []byte{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, t[13], t[14], t[15]})
	frame[icmpType] = solicitation
	copy(frame[icmpTarget:], t[:])
	copy(frame[icmpOption:], []byte{optionSource, lengthOfOptions})
	copy(frame[icmpOption+2:], from[:])
	binary.BigEndian.PutUint16(frame[icmpType+2:], checksum(frame))
	return frame
}

func ethernet(frame []byte, to, from mac, kind uint16) {
	copy(frame, to[:])
	copy(frame[6:], from[:])
	binary.BigEndian.PutUint16(frame[12:], kind)
}

// checksum is that of ICMPv6, which covers a pseudo-header (RFC 8200, section 8.1).
func checksum(frame []byte) uint16 {
	sum := uint32(len(frame)-ipv6Length) + protocolICMP6
	for covered := frame[ethernetLength+8:]; len(covered) > 0; covered = covered[2:] {
		sum += uint32(binary.BigEndian.Uint16(covered))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// parseAnswer returns who answers for what. What is announced unasked is no answer.
func parseAnswer(frame []byte) (address netip.Addr, by mac, ok bool) {
	if len(frame) < arpLength {
		return address, by, false
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case unix.ETH_P_ARP:
		of, to := netip.AddrFrom4([4]byte(frame[28:32])), netip.AddrFrom4([4]byte(frame[38:42]))
		return of, mac(frame[22:28]), binary.BigEndian.Uint16(frame[arpOperation:]) == arpReply && of != to
	case unix.ETH_P_IPV6:
		return parseAdvertisement(frame)
	}
	return address, by, false
}

// parseAdvertisement reads one that has the target's link-layer address as its first option, as answers to a multicast
// must (RFC 4861, section 7.2.4).
func parseAdvertisement(frame []byte) (address netip.Addr, by mac, ok bool) {
	if len(frame) < adviceLength || frame[nextHeader] != protocolICMP6 || frame[icmpType] != advertisement ||
		frame[icmpType+4]&flagSolicited == 0 || frame[icmpOption] != optionTarget {
		return address, by, false
	}
	return netip.AddrFrom16([16]byte(frame[icmpTarget:icmpOption])), mac(frame[icmpOption+2 : adviceLength]), true
}

// onlyAnswers keeps all but ARP replies and neighbour advertisements from the socket, the noise of others and what it
// sends itself.
var onlyAnswers = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 12}, // the kind of packet
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_ARP, Jt: 0, Jf: 2},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: arpOperation},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: arpReply, Jt: 5, Jf: 6},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.ETH_P_IPV6, Jt: 0, Jf: 5},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: nextHeader},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: protocolICMP6, Jt: 0, Jf: 3},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: icmpType},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: advertisement, Jt: 0, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}
