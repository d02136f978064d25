// Package link is the edge to the kernel that knows this node's network
// interfaces: all of them as a snapshot of values, taken anew when netlink says
// that a link or an address has changed, and each with the verdict whether
// addresses can be announced there. It needs no privilege.
package link
