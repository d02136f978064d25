// Package layer2 is the edge to the wire: it makes this node answer, on its
// links, for addresses that no interface of its kernel holds. IPv4 addresses
// are answered for by ARP (RFC 826, RFC 5227), IPv6 addresses by Neighbor
// Discovery (RFC 4861).
//
// The tour, from the outside in:
//
//   - An [Announcer] is handed the whole desired state by Set, as often as the
//     caller likes. It turns the announcements into an immutable table, and
//     keeps one responder for each usable link and protocol.
//   - A responder owns one socket. One goroutine reads requests and answers
//     them out of the table, without locks; another sends the burst of
//     gratuitous frames for what the table has gained, and the slow refresh,
//     and has the kernel filter out requests for addresses far from all of ours.
//   - answerARP and answerNDP decide what a frame is worth: a reply, or a
//     reason to drop it. They are pure, and allocate nothing.
//   - [Segment] opens the sockets: those of the kernel, or a test's own.
//
// All that is needed of the kernel is CAP_NET_RAW.
package layer2
