// Package members is the edge to the other speakers: this node's place in the
// memberlist ring, who else is alive in it, and a signal when that changes.
//
// Membership is gossip (SWIM): each member probes others, and what it learns
// spreads by rumour, so that a dead node is noticed in a fraction of a second
// without anybody watching everybody. See https://github.com/hashicorp/memberlist.
package members
