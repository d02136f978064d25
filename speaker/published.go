package main

import (
	"net/netip"
	"sync"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/metrics"
)

// How metrics, events and logs call the ways of announcing.
const (
	layer2Protocol = "layer2"
	bgpProtocol    = "bgp"
)

// published is what metrics see of what this node announces.
type published struct {
	mu    sync.Mutex
	addrs map[publication][]netip.Addr
}

type publication struct {
	service  lb.ServiceKey
	protocol string
}

// set notes what is announced of a service by a protocol from now on.
func (p *published) set(service lb.ServiceKey, protocol string, addrs []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := publication{service, protocol}
	if len(addrs) == 0 {
		delete(p.addrs, key)
		return
	}
	if p.addrs == nil {
		p.addrs = map[publication][]netip.Addr{}
	}
	p.addrs[key] = addrs
}

// all is what is announced now, in no order.
func (p *published) all(node lb.NodeName) []metrics.Announced {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []metrics.Announced
	for key, addrs := range p.addrs {
		for _, a := range addrs {
			out = append(out, metrics.Announced{Service: key.service.String(), Protocol: key.protocol, Node: string(node), IP: a.String()})
		}
	}
	return out
}
