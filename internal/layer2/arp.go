package layer2

import (
	"encoding/binary"
	"net/netip"
)

// An ARP packet for IPv4 over Ethernet (RFC 826) in its frame:
//
//	 0  destination, source, EtherType
//	14  hardware type, protocol type, their lengths, operation
//	22  sender hardware address, sender protocol address
//	32  target hardware address, target protocol address
const (
	arpLength  = 28
	arpRequest = 1
	arpReply   = 2
)

// arpPrefix is what all ARP packets for IPv4 over Ethernet begin with, up to
// the operation: hardware type 1, protocol type IPv4, lengths 6 and 4.
var arpPrefix = [6]byte{0, 1, 8, 0, 6, 4}

// answerARP answers a request for an address of the table, as a host that
// holds the address would (RFC 826; probes: RFC 5227 section 2.1.1).
func answerARP(frame []byte, t *table, id *identity, buf *frameBuffer) ([]byte, *entry, drop) {
	if len(frame) < ethernetLength+arpLength || [6]byte(frame[14:20]) != arpPrefix {
		return nil, nil, dropMalformed
	}
	if binary.BigEndian.Uint16(frame[20:22]) != arpRequest {
		return nil, nil, dropNotRequest
	}
	sender, target := mac(frame[22:28]), netip.AddrFrom4([4]byte(frame[38:42]))
	if why := addressee(frame, sender, id); why != answered {
		return nil, nil, why
	}
	e, why := lookUp(t, target, id)
	if why != answered {
		return nil, nil, why
	}
	// A request whose sender is the target asks nothing: another host announces
	// the address for itself (RFC 5227 section 1.2.1), the new owner perhaps.
	senderIP := netip.AddrFrom4([4]byte(frame[28:32]))
	if senderIP == target {
		return nil, nil, dropOtherClaims
	}
	return putARP(buf, arpPacket{to: sender, op: arpReply, sender: id.mac, senderIP: target, target: sender, targetIP: senderIP}), e, answered
}

// addressee checks that a frame is meant for us, and that its sender is someone
// else whom an answer can reach.
func addressee(frame []byte, sender mac, id *identity) drop {
	to, from := mac(frame[0:6]), mac(frame[6:12])
	switch {
	case from == id.mac || sender == id.mac:
		return dropOwnFrame
	case !sender.unicast():
		return dropMalformed
	case to != id.mac && to.unicast():
		return dropOtherDestination
	case id.protocol == protocolARP && to != id.mac && to != broadcast:
		return dropOtherDestination
	}
	return answered
}

// lookUp finds the entry that answers for an address on this link.
func lookUp(t *table, target netip.Addr, id *identity) (*entry, drop) {
	e := t.find(target)
	if e == nil {
		return nil, dropUnknownAddress
	}
	if !e.Contains(id.link) {
		return nil, dropNotOnLink
	}
	return e, answered
}

// announcementARP is the ARP announcement of RFC 5227 section 2.3: a broadcast
// request for the sender's own address.
func announcementARP(buf *frameBuffer, id *identity, addr netip.Addr) []byte {
	return putARP(buf, arpPacket{to: broadcast, op: arpRequest, sender: id.mac, senderIP: addr, targetIP: addr})
}

// announcementARPReply is the same as a broadcast reply. Its target hardware
// address is the sender's: Linux takes a reply for gratuitous, and so updates
// an entry that is less than a second old, only in that form.
func announcementARPReply(buf *frameBuffer, id *identity, addr netip.Addr) []byte {
	return putARP(buf, arpPacket{to: broadcast, op: arpReply, sender: id.mac, senderIP: addr, target: id.mac, targetIP: addr})
}

// arpPacket is what differs between the ARP packets that we send.
type arpPacket struct {
	to                 mac
	op                 uint16
	sender, target     mac
	senderIP, targetIP netip.Addr
}

// putARP writes the frame into buf and returns it.
func putARP(buf *frameBuffer, p arpPacket) []byte {
	putEthernet(buf, p.to, p.sender, etherTypeARP)
	copy(buf[14:20], arpPrefix[:])
	binary.BigEndian.PutUint16(buf[20:22], p.op)
	senderIP, targetIP := p.senderIP.As4(), p.targetIP.As4()
	copy(buf[22:28], p.sender[:])
	copy(buf[28:32], senderIP[:])
	copy(buf[32:38], p.target[:])
	copy(buf[38:42], targetIP[:])
	return buf[:ethernetLength+arpLength]
}

func putEthernet(buf *frameBuffer, to, from mac, etherType uint16) {
	copy(buf[0:6], to[:])
	copy(buf[6:12], from[:])
	binary.BigEndian.PutUint16(buf[12:14], etherType)
}
