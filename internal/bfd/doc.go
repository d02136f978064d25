// Package bfd watches paths to neighbours with Bidirectional Forwarding Detection, so that the
// end of one is known in a fraction of a second: RFC 5880, over one hop as of RFC 5881, over
// several as of RFC 5883, in Asynchronous mode with the Echo function, over IPv4 and IPv6.
//
// The tour, from the inside out:
//
//   - A packet is what goes over the wire; parse makes the checks that need no session.
//   - transitions is the state machine as a table, and timers.go the arithmetic of its timers:
//     each line has the section of the RFC that it follows.
//   - A session puts those together: the state variables of RFC 5880. Packets, and the time,
//     go in; what has to be done comes out.
//   - A [Speaker] is handed the whole desired state by Set. One goroutine on a thread of its own
//     keeps all sessions, so that nothing else on the node holds their packets up.
//   - [Transport] is the network: the sockets of the kernel, or a test's own.
//   - A [Process] is a Speaker that runs in a process of its own, whose main is [Serve].
//
// Not here: authentication (packets that carry it are discarded) and the initiation of Demand
// mode (a peer's wish for it is honoured).
package bfd
