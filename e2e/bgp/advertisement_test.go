//go:build e2e

package bgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// Each row is a BGPAdvertisement, and what routers must see of a Service's route from node1, over an external and over an
// internal session.
func TestAdvertisementFields(t *testing.T) {
	type row struct {
		name     string
		spec     []string
		route    func(external bool) func(router.Route) error
		prefixes []netip.Prefix // nil: the addresses alone
	}
	rows := []row{
		{name: "nothing but the pool", route: func(external bool) func(router.Route) error {
			return func(r router.Route) error {
				return errors.Join(carries(r.Communities, nil), carries(r.LargeCommunities, nil), prepended(r, external, 1), med(r, nil))
			}
		}},
		{
			name: "communities by number, alias and well-known name",
			spec: []string{"communities: ['64512:100', 'large:64512:1:2', vpn, big, NO_EXPORT, GRACEFUL_SHUTDOWN]"},
			route: always(func(r router.Route) error {
				return errors.Join(carries(r.Communities, []string{"64512:100", "64512:7", "65535:0", "65535:65281"}), carries(r.LargeCommunities, []string{"64512:1:2", "64512:8:9"}))
			}),
		},
		{
			name: "localPref, for internal routers alone", spec: []string{"localPref: 321"},
			route: func(external bool) func(router.Route) error {
				return func(r router.Route) error {
					told := r.LocalPref != nil && *r.LocalPref == 321
					return want("local preference told", told, !external)
				}
			},
		},
		{
			name: "med", spec: []string{"med: 50"},
			route: always(func(r router.Route) error { fifty := uint32(50); return med(r, &fifty) }),
		},
		{
			name: "asPathPrepend, for external routers alone", spec: []string{"asPathPrepend: 3"},
			route: func(external bool) func(router.Route) error {
				return func(r router.Route) error { return prepended(r, external, 4) }
			},
		},
		{
			name: "aggregationLength and aggregationLengthV6", spec: []string{"aggregationLength: 26", "aggregationLengthV6: 122"}, route: always(anyRoute),
			prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/26"), netip.MustParsePrefix("2001:db8:51::/122")},
		},
	}
	ctx := begin(t)
	addresses := service(ctx, t, "fields")
	create(ctx, t, `
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: aliases}
spec:
  communities:
  - {name: vpn, value: "64512:7"}
  - {name: big, value: "large:64512:8:9"}
`)
	configure(ctx, t, frr, router.Neighbour{Address: node1.V4, ASN: nodesASN, DualStack: true})
	configure(ctx, t, bird, router.Neighbour{Address: node1.V4, ASN: routerASN, DualStack: true})
	create(ctx, t, peer("external", lab.AddressesOf(lab.Router).V4, append(slices.Clone(external), "dualStackAddressFamily: true", on("node1"))...))
	create(ctx, t, peer("internal", lab.AddressesOf(lab.Router2).V4, "myASN: 64513", "peerASN: 64513", "dualStackAddressFamily: true", on("node1")))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			ctx := begin(t)
			create(ctx, t, advertisement("fields", row.spec...))
			if row.prefixes == nil {
				row.prefixes = []netip.Prefix{host(addresses[0]), host(addresses[1])}
			}
			for _, prefix := range row.prefixes {
				awaitRoutes(ctx, t, frr, prefix, []netip.Addr{node1.V4}, row.route(true))
				awaitRoutes(ctx, t, bird, prefix, []netip.Addr{node1.V4}, row.route(false))
			}
		})
	}
}

func always(check func(router.Route) error) func(bool) func(router.Route) error {
	return func(bool) func(router.Route) error { return check }
}

func carries(got, wanted []string) error {
	if !slices.Equal(got, wanted) {
		return fmt.Errorf("communities are %v, want %v", got, wanted)
	}
	return nil
}

func med(r router.Route, wanted *uint32) error {
	// FRR and BIRD show none as none; FRR also shows one of zero so.
	if (r.MED == nil) != (wanted == nil) || (wanted != nil && *r.MED != *wanted) {
		return fmt.Errorf("the MED is %v, want %v", r.MED, wanted)
	}
	return nil
}

// prepended wants our number so many times in the path of external routers, and an empty path elsewhere.
func prepended(r router.Route, external bool, times int) error {
	var wanted []uint32
	if external {
		wanted = slices.Repeat([]uint32{nodesASN}, times)
	}
	return path(r, wanted)
}

// An aggregate is offered as long as one Service needs it.
func TestAggregateStaysUntilTheLastServiceGoes(t *testing.T) {
	ctx := begin(t)
	everyNode(ctx, t, frr, "frr")
	create(ctx, t, advertisement("aggregate", "aggregationLength: 24"))
	service(ctx, t, "first")
	service(ctx, t, "second")
	aggregate := netip.MustParsePrefix("198.51.100.0/24")
	awaitRoutes(ctx, t, frr, aggregate, nodes4(), anyRoute)
	removeService(t, "first")
	stays(ctx, t, frr, aggregate)
	removeService(t, "second")
	awaitRoutes(ctx, t, frr, aggregate, nil, anyRoute)
}

// stays makes sure that what the router sees does not change on account of what was done before: it has another route come
// and go.
func stays(ctx context.Context, t *testing.T, r aRouter, prefix netip.Prefix) {
	t.Helper()
	marker := service(ctx, t, "marker")
	create(ctx, t, advertisement("marker"))
	awaitRoutes(ctx, t, r, host(marker[0]), nodes4(), anyRoute)
	awaitRoutes(ctx, t, r, prefix, nodes4(), anyRoute)
	removeService(t, "marker")
	awaitRoutes(ctx, t, r, host(marker[0]), nil, anyRoute)
}

// Who is offered what: each row is one BGPAdvertisement of Service "chosen", which both routers' peers could have.
func TestAdvertisementChooses(t *testing.T) {
	rows := []struct {
		name      string
		spec      []string
		frr, bird []netip.Addr
	}{
		{"all peers and nodes", nil, nodes4(), nodes4()},
		{"some peers", []string{"peers: [bird]"}, nil, nodes4()},
		{"some nodes", []string{on("node2")}, []netip.Addr{node2.V4}, []netip.Addr{node2.V4}},
		{"pools by label", []string{"ipAddressPoolSelectors: [{matchLabels: {kind: routed}}]"}, nodes4(), nodes4()},
		{"no pool by label", []string{"ipAddressPoolSelectors: [{matchLabels: {kind: other}}]"}, nil, nil},
		{"another pool", []string{"ipAddressPools: [other]"}, nil, nil},
		{"Services by label", []string{"serviceSelectors: [{matchLabels: {tier: gold}}]"}, nodes4(), nodes4()},
		{"other Services by label", []string{"serviceSelectors: [{matchLabels: {tier: tin}}]"}, nil, nil},
	}
	ctx := begin(t)
	everyNode(ctx, t, frr, "frr")
	everyNode(ctx, t, bird, "bird")
	chosen := service(ctx, t, "chosen", labelled("tier", "gold"))
	marker := service(ctx, t, "mark", labelled("tier", "mark"))
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			ctx := begin(t)
			create(ctx, t, advertisement("chosen", row.spec...))
			// When this route is there, the other one would be.
			create(ctx, t, advertisement("mark", "serviceSelectors: [{matchLabels: {tier: mark}}]"))
			for r, from := range map[aRouter][]netip.Addr{frr: row.frr, bird: row.bird} {
				awaitRoutes(ctx, t, r, host(marker[0]), nodes4(), anyRoute)
				awaitRoutes(ctx, t, r, host(chosen[0]), from, anyRoute)
			}
		})
	}
}
