package plan_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

// large is a cluster of 100 nodes and 10,000 services over five pools, each service
// served on three nodes; every tenth keeps its traffic local.
func large() (plan.View, []lb.Service, [][]lb.Endpoint) {
	v := plan.View{Links: []lb.Link{{Name: "eth0", ARP: true, NDP: true}}}
	for i := range 100 {
		name := lb.NodeName(fmt.Sprintf("node-%03d", i))
		v.Nodes = append(v.Nodes, lb.Node{Name: name})
		v.Speakers = append(v.Speakers, name)
	}
	v.Node = v.Speakers[42]
	for i := range 5 {
		name := lb.PoolName(fmt.Sprintf("pool-%d", i))
		first := netip.AddrFrom4([4]byte{10, byte(i), 0, 0})
		last := netip.AddrFrom4([4]byte{10, byte(i), 255, 255})
		v.Config.Pools = append(v.Config.Pools, lb.Pool{Name: name, Ranges: []lb.Range{{First: first, Last: last}}})
		v.Config.L2Advertisements = append(v.Config.L2Advertisements, lb.L2Advertisement{Name: string(name), Pools: []lb.PoolName{name}, Nodes: v.Speakers})
	}
	var services []lb.Service
	var endpoints [][]lb.Endpoint
	for i := range 10_000 {
		services = append(services, lb.Service{
			Key:          lb.ServiceKey{Namespace: "default", Name: fmt.Sprintf("service-%d", i)},
			Held:         []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i % 5), byte(i >> 8), byte(i)})},
			LocalTraffic: i%10 == 0,
		})
		var where []lb.Endpoint
		for j := range 3 {
			where = append(where, lb.Endpoint{Node: v.Speakers[(i+j*7)%len(v.Speakers)], Serving: true})
		}
		endpoints = append(endpoints, where)
	}
	return v, services, endpoints
}

// What a change of members, nodes, links or configuration costs.
func BenchmarkPlanAllOf10000ServicesOn100Nodes(b *testing.B) {
	view, services, endpoints := large()
	b.ReportAllocs()
	for b.Loop() {
		p := plan.New(view)
		for i := range services {
			p.Layer2(services[i], endpoints[i])
		}
	}
}

// What a change of one service costs.
func BenchmarkPlanOneOf10000ServicesOn100Nodes(b *testing.B) {
	view, services, endpoints := large()
	p := plan.New(view)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Layer2(services[i%len(services)], endpoints[i%len(services)])
	}
}
