// Package election ranks the nodes that may announce an address. The order
// depends on the candidates and the address alone, so every speaker computes the
// same one from the same view, and no message is needed to agree.
package election

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// Candidate is a node eligible for an address.
type Candidate struct {
	Node lb.NodeName
	// Score is the sum of the weights of the preferences that pick the node.
	Score int
}

// Rank orders the candidates for an address: the highest score first, and among
// equals by the SHA-256 of "node#address". The first is the owner. The result is
// new; candidates keep their order.
func Rank(addr netip.Addr, candidates []Candidate) []lb.NodeName {
	ranked := make([]contender, len(candidates))
	for i, c := range candidates {
		ranked[i] = contender{Candidate: c, hash: hash(c.Node, addr)}
	}
	slices.SortFunc(ranked, contender.compare)
	nodes := make([]lb.NodeName, len(ranked))
	for i, r := range ranked {
		nodes[i] = r.Node
	}
	return nodes
}

// Owner returns the first of Rank without computing the rest; false without candidates.
func Owner(addr netip.Addr, candidates []Candidate) (lb.NodeName, bool) {
	if len(candidates) == 0 {
		return "", false
	}
	best := contender{Candidate: candidates[0], hash: hash(candidates[0].Node, addr)}
	for _, c := range candidates[1:] {
		if c.Score < best.Score {
			continue
		}
		if next := (contender{Candidate: c, hash: hash(c.Node, addr)}); next.compare(best) < 0 {
			best = next
		}
	}
	return best.Node, true
}

type contender struct {
	Candidate
	hash [sha256.Size]byte
}

func (c contender) compare(o contender) int {
	if byScore := cmp.Compare(o.Score, c.Score); byScore != 0 {
		return byScore
	}
	if byHash := bytes.Compare(c.hash[:], o.hash[:]); byHash != 0 {
		return byHash
	}
	return cmp.Compare(c.Node, o.Node)
}

func hash(node lb.NodeName, addr netip.Addr) [sha256.Size]byte {
	buf := make([]byte, 0, 128)
	buf = append(buf, node...)
	buf = append(buf, '#')
	return sha256.Sum256(addr.AppendTo(buf))
}
