package layer2

import (
	"encoding/binary"
	"net/netip"
)

// A neighbor solicitation or advertisement (RFC 4861 sections 4.3, 4.4) in its
// frame:
//
//	 0  destination, source, EtherType
//	14  IPv6: version, payload length, next header, hop limit
//	22  IPv6: source
//	38  IPv6: destination
//	54  ICMPv6: type, code, checksum, flags
//	62  target address
//	78  options: type, length in units of 8 octets, value
const (
	ipv6Length          = 40
	solicitationLength  = 24     // without options
	advertisementLength = 24 + 8 // with the target link-layer address
	protocolICMPv6      = 58
	hopLimit            = 255 // what was not forwarded by a router (RFC 4861 section 7.1)

	typeSolicitation  = 135
	typeAdvertisement = 136

	optionSourceLinkLayer = 1
	optionTargetLinkLayer = 2

	flagSolicited = 0x40
	flagOverride  = 0x20
)

var allNodes = netip.MustParseAddr("ff02::1")

// answerNDP answers a solicitation for an address of the table (RFC 4861
// section 7.2.4). Override is always set: the address is nobody else's, and
// what a neighbor had cached before is out of date.
func answerNDP(frame []byte, t *table, id *identity, buf *frameBuffer) ([]byte, *entry, drop) {
	ns, why := parseSolicitation(frame)
	if why != answered {
		return nil, nil, why
	}
	if why := addressee(frame, ns.from, id); why != answered {
		return nil, nil, why
	}
	e, why := lookUp(t, ns.target, id)
	if why != answered {
		return nil, nil, why
	}
	na := advertisement{target: ns.target, to: ns.from, toIP: ns.source, flags: flagOverride | flagSolicited}
	if ns.source.IsUnspecified() {
		// Duplicate address detection: its sender has no address to answer to.
		na = unsolicited(ns.target)
	}
	return putAdvertisement(buf, id, na), e, answered
}

// announcementNDP is the unsolicited advertisement of RFC 4861 section 7.2.6.
func announcementNDP(buf *frameBuffer, id *identity, addr netip.Addr) []byte {
	return putAdvertisement(buf, id, unsolicited(addr))
}

// solicitation is what an answer needs to know of a neighbor solicitation.
type solicitation struct {
	source, target netip.Addr
	from           mac // the source link-layer option, or else the frame's source
}

// parseSolicitation accepts what RFC 4861 section 7.1.1 lets a node accept.
func parseSolicitation(frame []byte) (solicitation, drop) {
	const fixed = ethernetLength + ipv6Length + solicitationLength
	if len(frame) < fixed || frame[20] != protocolICMPv6 || frame[54] != typeSolicitation {
		return solicitation{}, dropNotRequest
	}
	length := int(binary.BigEndian.Uint16(frame[18:20]))
	if length < solicitationLength || len(frame) < ethernetLength+ipv6Length+length {
		return solicitation{}, dropMalformed
	}
	frame = frame[:ethernetLength+ipv6Length+length] // without the padding of Ethernet
	if frame[14]>>4 != 6 || frame[21] != hopLimit || frame[55] != 0 || checksum(frame) != 0 {
		return solicitation{}, dropMalformed
	}
	ns := solicitation{
		source: netip.AddrFrom16([16]byte(frame[22:38])),
		target: netip.AddrFrom16([16]byte(frame[62:78])),
		from:   mac(frame[6:12]),
	}
	option, ok := sourceLinkLayer(frame[78:])
	if !ok || ns.target.IsMulticast() || ns.source.IsMulticast() {
		return solicitation{}, dropMalformed
	}
	if ns.source.IsUnspecified() && (len(option) > 0 || netip.AddrFrom16([16]byte(frame[38:54])) != solicitedNode(ns.target)) {
		return solicitation{}, dropMalformed
	}
	if len(option) > 0 {
		ns.from = mac(option)
	}
	return ns, answered
}

// sourceLinkLayer walks the options for the source link-layer address, and
// reports whether all of them are well formed.
func sourceLinkLayer(options []byte) (address []byte, ok bool) {
	for len(options) > 0 {
		if len(options) < 8 || options[1] == 0 || len(options) < 8*int(options[1]) {
			return nil, false
		}
		if options[0] == optionSourceLinkLayer && options[1] == 1 {
			address = options[2:8]
		}
		options = options[8*int(options[1]):]
	}
	return address, true
}

// solicitedNode returns the group that solicitations for an address are sent
// to: ff02::1:ff00:0/104 and its last 24 bits (RFC 4291 section 2.7.1).
func solicitedNode(addr netip.Addr) netip.Addr {
	a := addr.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
}

// groupMAC returns the Ethernet address of an IPv6 multicast group (RFC 2464 section 7).
func groupMAC(group netip.Addr) mac {
	g := group.As16()
	return mac{0x33, 0x33, g[12], g[13], g[14], g[15]}
}

// advertisement is what differs between the advertisements that we send.
type advertisement struct {
	target netip.Addr
	to     mac
	toIP   netip.Addr
	flags  byte
}

func unsolicited(addr netip.Addr) advertisement {
	return advertisement{target: addr, to: groupMAC(allNodes), toIP: allNodes, flags: flagOverride}
}

// putAdvertisement writes the frame into buf and returns it. Its source is the
// target, as when a host advertises an address of its own; some neighbors do
// not believe a link-local source about a global address.
func putAdvertisement(buf *frameBuffer, id *identity, na advertisement) []byte {
	*buf = frameBuffer{}
	putEthernet(buf, na.to, id.mac, etherTypeIPv6)
	buf[14] = 6 << 4
	binary.BigEndian.PutUint16(buf[18:20], advertisementLength)
	buf[20], buf[21] = protocolICMPv6, hopLimit
	to, target := na.toIP.As16(), na.target.As16()
	copy(buf[22:38], target[:])
	copy(buf[38:54], to[:])
	buf[54], buf[58] = typeAdvertisement, na.flags
	copy(buf[62:78], target[:])
	buf[78], buf[79] = optionTargetLinkLayer, 1
	copy(buf[80:86], id.mac[:])
	binary.BigEndian.PutUint16(buf[56:58], checksum(buf[:]))
	return buf[:]
}

// checksum computes the ICMPv6 checksum of a frame (RFC 4443 section 2.3), over
// the pseudo-header and the message; over a message that carries its checksum
// it is zero.
func checksum(frame []byte) uint16 {
	message := frame[54:]
	sum := uint32(len(message)) + protocolICMPv6
	for b := frame[22:54]; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for ; len(message) > 1; message = message[2:] {
		sum += uint32(binary.BigEndian.Uint16(message))
	}
	if len(message) == 1 {
		sum += uint32(message[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
