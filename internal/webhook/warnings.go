package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// named is how many Services a warning names: it has to be short.
const named = 3

// warnings tell of what is legal and surely not meant.
func (r review) warnings() []string {
	return slices.Concat(r.advertisingNothing(), r.unadvertised(), r.peeringNowhere(), r.deprecated())
}

// advertisingNothing warns of an advertisement that selects no pool.
func (r review) advertisingNothing() []string {
	var pools []lb.PoolName
	switch r.kind.name {
	case "L2Advertisement":
		i := slices.IndexFunc(r.after.L2Advertisements, func(ad lb.L2Advertisement) bool { return ad.Name == r.name })
		if i < 0 {
			return nil
		}
		pools = r.after.L2Advertisements[i].Pools
	case "BGPAdvertisement":
		i := slices.IndexFunc(r.after.BGPAdvertisements, func(ad lb.BGPAdvertisement) bool { return ad.Name == r.name })
		if i < 0 {
			return nil
		}
		pools = r.after.BGPAdvertisements[i].Pools
	default:
		return nil
	}
	if len(pools) > 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s %s selects no IPAddressPool that exists: it announces nothing", r.kind.name, r.name)}
}

// unadvertised warns of the pool under review, and of any that the change leaves so, if
// no advertisement selects it.
func (r review) unadvertised() []string {
	before := advertised(r.before)
	after := advertised(r.after)
	var out []string
	for _, p := range r.after.Pools {
		subject := r.kind.name == "IPAddressPool" && string(p.Name) == r.name
		if !after[p.Name] && (subject || before[p.Name]) {
			out = append(out, fmt.Sprintf("no advertisement selects IPAddressPool %s: Services are given its addresses, and nobody announces them", p.Name))
		}
	}
	return out
}

func advertised(c lb.Config) map[lb.PoolName]bool {
	out := map[lb.PoolName]bool{}
	for _, ad := range c.L2Advertisements {
		for _, p := range ad.Pools {
			out[p] = true
		}
	}
	for _, ad := range c.BGPAdvertisements {
		for _, p := range ad.Pools {
			out[p] = true
		}
	}
	return out
}

// peeringNowhere warns of a peer that no node will talk to.
func (r review) peeringNowhere() []string {
	for _, p := range r.after.Peers {
		if r.kind.name == "BGPPeer" && string(p.Name) == r.name && len(p.Nodes) == 0 && len(r.world.Nodes) > 0 {
			return []string{fmt.Sprintf("the nodeSelectors of BGPPeer %s match no node: nobody opens a session", r.name)}
		}
	}
	return nil
}

func (r review) deprecated() []string {
	if peer, ok := r.object.(*v1beta2.BGPPeer); ok && peer.Spec.DisableMP { //nolint:staticcheck // that it is deprecated is what this is about
		return []string{"spec.disableMP is deprecated and has no effect: a session carries the family that it runs over, and both with spec.dualStackAddressFamily"}
	}
	return nil
}

// losses warns of Services that are about to lose addresses.
func (r review) losses(ctx context.Context, world World) []string {
	if pools(r.before).Equal(pools(r.after)) {
		return nil
	}
	losers := world.Losing(ctx, r.after)
	if len(losers) == 0 {
		return nil
	}
	var names []string
	for _, key := range losers[:min(named, len(losers))] {
		names = append(names, key.String())
	}
	if len(losers) > named {
		names = append(names, "…")
	}
	return []string{fmt.Sprintf("this takes addresses from Services (%d): %s", len(losers), strings.Join(names, ", "))}
}

// pools is that part of the configuration which decides about addresses.
func pools(c lb.Config) lb.Config {
	return lb.Config{Pools: c.Pools, PoolsIncomplete: c.PoolsIncomplete}
}
