// Package asking asks a LAN who has which addresses, of either family, many times a second, and tells of each change of
// who answers. The asking is done by a process of its own on a host of the lab, whose pace nothing else disturbs.
package asking
