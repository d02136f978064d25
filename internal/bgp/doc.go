// Package bgp is the edge to routers: it holds this node's BGP sessions (RFC 4271), offers
// each router the routes meant for it, and reports how the sessions fare.
//
// The tour, from the outside in:
//
//   - A [Speaker] is handed the whole desired state by Set, as often as the caller likes.
//     It keeps one session for each peer, and begins one anew only if what identifies it
//     has changed.
//   - A session connects, and connects again after a pause. It knows why it is down.
//   - A conversation is one connection, from the OPEN to the NOTIFICATION: the state
//     machine, readable beside the RFC. It compares what the router holds with what is
//     wanted, and sends the difference.
//   - An offer is our side of the OPEN, terms are what both sides agree on, an encoder makes
//     UPDATEs under those terms. They are pure.
//   - routers learns who is at the other end of an unnumbered link, and tells that we are here.
//   - A rival is another program of this node that holds the router's session with it, as the
//     kernel's list of connections shows: ours waits until it has left.
//
// # Why GoBGP's codec, and not its server
//
// Messages are GoBGP's (github.com/osrg/gobgp/v4/pkg/packet/bgp). Its server was tried in both
// ways that it can be used in, one for all sessions with export policies and one for each
// session, and measured against what is here (bench_test.go holds the three side by side;
// on two cores that were busy with other things):
//
//	                                   here      one server   one for each
//	memory of an idle session          53 KiB    440 KiB      10 MiB
//	from Set to 50 established         0.1 s     2.1 s        9 s
//	for each route that a router sends  none        650 B         650 B
//
// The server waits up to 2 s before it first connects. It keeps in memory what it receives,
// even if a policy rejects it: only a limit that ends the session helps. It logs, but does not
// report, why a connection did not come about; of a NOTIFICATION that comes before the
// session is established nothing is left, so that nobody could be told that the router
// wants another ASN. One server has one ASN, router ID and BFD port for all peers. And a
// panic in one of its goroutines, which nobody else can recover from, ends all sessions.
//
// We send routes and accept none, connect and do not listen: that leaves a small part of
// BGP. What a router sends is never parsed beyond its OPEN and NOTIFICATION; each session
// has its own goroutines and recovers from its own faults. GoBGP's server is the router
// in the tests, beside FRR and BIRD.
package bgp
