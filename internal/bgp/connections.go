package bgp

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// connection is a TCP connection of this node that is established.
type connection struct {
	local, remote netip.AddrPort
	// device is the link or VRF that its socket is bound to; empty if it is to none.
	device string
	inode  uint32 // of its socket
}

// others lists the connections from this node to a port, and to its own port 179, that are not
// of this process.
func others(to uint16) ([]connection, error) {
	before, err := ownSockets()
	if err != nil {
		return nil, err
	}
	var all []connection
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		for _, ports := range []socketPorts{{remote: to}, {local: bgpPort}} {
			found, err := connections(family, ports)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	after, err := ownSockets() // one of ours may have come meanwhile
	ours := func(c connection) bool { return before[c.inode] || after[c.inode] }
	return slices.DeleteFunc(all, ours), err
}

// bgpPort is where routers connect to (RFC 4271, section 8).
const bgpPort = 179

// socketPorts are what both ends of a connection have; 0 is any.
type socketPorts struct{ local, remote uint16 }

// diagRequest is inet_diag_req_v2, and diagMessage is inet_diag_msg, of linux/inet_diag.h; ports
// and addresses are as on the wire. sock_diag(7) describes both.
type (
	diagRequest struct {
		Family, Protocol, Extensions, _ uint8
		States                          uint32 // one bit for each
		Socket                          diagSocket
	}
	diagMessage struct {
		Family, State, Timer, Retransmits    uint8
		Socket                               diagSocket
		Expires, Received, Sent, User, Inode uint32
	}
	diagSocket struct {
		LocalPort, RemotePort [2]byte
		Local, Remote         [16]byte // an IPv4 address is in the first four bytes
		Device                uint32
		Cookie                [2]uint32
	}
)

const tcpEstablished = 1 // TCP_ESTABLISHED, net/tcp_states.h

// connections asks the kernel for those in this network namespace. It needs no privilege, and
// the kernel sends none but those asked for.
func connections(family uint8, ports socketPorts) ([]connection, error) {
	question := diagRequest{Family: family, Protocol: unix.IPPROTO_TCP, States: 1 << tcpEstablished}
	binary.BigEndian.PutUint16(question.Socket.LocalPort[:], ports.local)
	binary.BigEndian.PutUint16(question.Socket.RemotePort[:], ports.remote)
	body, err := binary.Append(nil, binary.NativeEndian, question)
	if err != nil {
		return nil, err
	}
	request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	request.AddRawData(body)
	answers, err := request.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
	if err != nil {
		return nil, fmt.Errorf("list TCP connections: %w", err)
	}
	var all []connection
	for _, answer := range answers {
		var m diagMessage
		if _, err := binary.Decode(answer, binary.NativeEndian, &m); err != nil {
			return nil, fmt.Errorf("read a TCP connection of %d bytes: %w", len(answer), err)
		}
		all = append(all, m.connection())
	}
	return all, nil
}

func (m diagMessage) connection() connection {
	address := func(of [16]byte) netip.Addr {
		if m.Family == unix.AF_INET {
			return netip.AddrFrom4([4]byte(of[:4]))
		}
		return netip.AddrFrom16(of).Unmap()
	}
	port := func(of [2]byte) uint16 { return binary.BigEndian.Uint16(of[:]) }
	c := connection{
		local:  netip.AddrPortFrom(address(m.Socket.Local), port(m.Socket.LocalPort)),
		remote: netip.AddrPortFrom(address(m.Socket.Remote), port(m.Socket.RemotePort)),
		inode:  m.Inode,
	}
	if m.Socket.Device != 0 {
		if link, err := net.InterfaceByIndex(int(m.Socket.Device)); err == nil {
			c.device = link.Name
		}
	}
	return c
}

// ownSockets are the inodes of this process's sockets (proc_pid_fd(5)).
func ownSockets() (map[uint32]bool, error) {
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("list open files: %w", cmp.Or(err, os.ErrNotExist))
	}
	own := map[uint32]bool{}
	for _, file := range files {
		var inode uint32
		target, _ := os.Readlink(file) // one may be closed by now
		if _, err := fmt.Sscanf(target, "socket:[%d]", &inode); err == nil {
			own[inode] = true
		}
	}
	return own, nil
}
