package layer2

import (
	"net/netip"
	"slices"
)

// groups are the solicited-node groups of one link. Addresses that share their
// last 24 bits share a group.
type groups struct {
	needed  map[netip.Addr]int // how many entries need the group
	missing []netip.Addr       // needed, but not joined yet
	failing bool               // the last attempt to join left some missing
}

// need takes note that these entries need their groups.
func (g *groups) need(entries []*entry) {
	for _, e := range entries {
		group := solicitedNode(e.Address)
		if g.needed[group]++; g.needed[group] == 1 {
			g.missing = append(g.missing, group)
		}
	}
}

// release takes note that these entries no longer need their groups, and
// returns the joined groups that nobody needs now.
func (g *groups) release(entries []*entry) (unneeded []netip.Addr) {
	for _, e := range entries {
		group := solicitedNode(e.Address)
		if g.needed[group]--; g.needed[group] > 0 {
			continue
		}
		delete(g.needed, group)
		if i := slices.Index(g.missing, group); i >= 0 {
			g.missing = slices.Delete(g.missing, i, i+1)
			continue
		}
		unneeded = append(unneeded, group)
	}
	return unneeded
}

// take returns the groups to join. They no longer count as missing.
func (g *groups) take() []netip.Addr {
	missing := g.missing
	g.missing = nil
	return missing
}
