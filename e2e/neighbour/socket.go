// Package neighbour asks for addresses by ARP, at a steady pace, from a packet socket: it measures how long answers
// take, and makes the noise of a busy segment. Its sockets are of the network namespace of the process.
package neighbour

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	etherTypeARP = 0x0806
	frameLength  = 14 + 28
	opRequest    = 1
	opReply      = 2
)

// socket is a packet socket on one link.
type socket struct {
	fd  int
	mac [6]byte
}

// open opens a socket that hears ARP replies, or nothing.
func open(link string, hears bool) (*socket, error) {
	ifi, err := net.InterfaceByName(link)
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", link, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", link, err)
	}
	s := &socket{fd: fd, mac: [6]byte(ifi.HardwareAddr)}
	to := &unix.SockaddrLinklayer{Ifindex: ifi.Index}
	if hears {
		to.Protocol = etherTypeARP>>8 | etherTypeARP&0xff<<8 // in network byte order: packet(7)
	}
	program := unix.SockFprog{Len: uint16(len(onlyReplies)), Filter: &onlyReplies[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		return nil, fmt.Errorf("set filter of packet socket on %s: %w", link, err)
	}
	if err := unix.Bind(fd, to); err != nil {
		return nil, fmt.Errorf("bind packet socket to %s: %w", link, err)
	}
	return s, nil
}

// onlyReplies keeps the noise of others from the socket.
var onlyReplies = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 20},                     // the operation
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: opReply}, // or skip one
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// request is a broadcast ARP request (RFC 826).
func (s *socket) request(from, target netip.Addr) []byte {
	frame := make([]byte, frameLength)
	copy(frame, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	copy(frame[6:], s.mac[:])
	binary.BigEndian.PutUint16(frame[12:], etherTypeARP)
	copy(frame[14:], []byte{0, 1, 8, 0, 6, 4, 0, opRequest})
	copy(frame[22:], s.mac[:])
	copy(frame[28:], from.AsSlice())
	copy(frame[38:], target.AsSlice())
	return frame
}

// parseReply returns who answers for what to whom.
func parseReply(frame []byte) (sender [6]byte, address, to netip.Addr, ok bool) {
	if len(frame) < frameLength || binary.BigEndian.Uint16(frame[12:]) != etherTypeARP || binary.BigEndian.Uint16(frame[20:]) != opReply {
		return sender, address, to, false
	}
	return [6]byte(frame[22:28]), netip.AddrFrom4([4]byte(frame[28:32])), netip.AddrFrom4([4]byte(frame[38:42])), true
}
