// Package lb is the vocabulary of Herald: the values that its parts hand to
// each other, with no behaviour beyond String, Equal and Contains.
//
// The tour, in the order in which traffic comes to be:
//
//   - A [Pool] holds ranges of addresses and says who may draw from them. An
//     [L2Advertisement] says from which nodes, and on which links, the
//     addresses of which pools are announced. Both come out of a [Config],
//     together with the list of [Problem] that were found in it.
//   - A [Service] is what Herald needs to know of a Kubernetes Service of
//     type LoadBalancer: what it asks for, what it holds, and where its
//     endpoints run.
//   - A [Decision] is the controller's verdict: which addresses the service
//     holds, and if it holds none, for which [Reason].
//   - A [Verdict] is one speaker's answer to "do I announce this service?",
//     again with a reason.
//   - An [Announcement] is a fact on one node: this address, on these links.
//     A [Link] is a network interface with the facts that answering needs.
//   - A [Peer] is a configured router, a [BGPAdvertisement] says which addresses it is
//     offered and how, a [Session] is one conversation with it from this node with its
//     [Route] list, and a [SessionState] says how that goes. A [BFDSession] watches the
//     path of one.
//
// Package lb imports no other package of Herald, and every other may import it.
package lb
