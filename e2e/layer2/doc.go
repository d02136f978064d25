// Package layer2 is the end-to-end tests of ARP and NDP: who announces what, on which links, what that looks like on the
// wire, and who announces when nodes, speakers, links and gossip fail. They take root and the programs of make binaries:
//
//	go test -tags e2e ./layer2
package layer2
