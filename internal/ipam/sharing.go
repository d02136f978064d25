package ipam

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// tenant is what decides whether a service may live beside others on one address.
// The zero tenant shares with nobody.
type tenant struct {
	sharingKey string
	// backendKey is empty unless externalTrafficPolicy is Local: then a node answers
	// only where the pods run, so services on one address need the same pods.
	backendKey string
	ports      []lb.Port
}

func newTenant(svc lb.Service) tenant {
	if svc.Request.SharingKey == "" {
		return tenant{}
	}
	t := tenant{sharingKey: svc.Request.SharingKey, ports: svc.Ports}
	if svc.LocalTraffic {
		t.backendKey = svc.PodSelector
	}
	return t
}

func (t tenant) equal(o tenant) bool {
	return t.sharingKey == o.sharingKey && t.backendKey == o.backendKey && slices.Equal(t.ports, o.ports)
}

// conflict says why the two cannot hold one address, or nothing.
func (t tenant) conflict(o tenant) string {
	switch {
	case t.sharingKey == "" || o.sharingKey == "":
		return "it is in use and not shared"
	case t.sharingKey != o.sharingKey:
		return "the sharing keys differ"
	case t.backendKey != o.backendKey:
		return "externalTrafficPolicy Local shares only between equal pod selectors"
	}
	for _, p := range t.ports {
		if slices.Contains(o.ports, p) {
			return "both want port " + p.String()
		}
	}
	return ""
}

// tenancy is the services that hold one address.
type tenancy []occupant

type occupant struct {
	key lb.ServiceKey
	tenant
}

// nobody is the key of a service that holds nothing, so that no holder is itself.
var nobody lb.ServiceKey

// conflict says who among the holders, other than the service itself, keeps it off
// the address, and why; empty when nobody does.
func (t tenancy) conflict(key lb.ServiceKey, newcomer tenant) (lb.ServiceKey, string) {
	var rival lb.ServiceKey
	why := ""
	for _, o := range t {
		if o.key == key {
			continue
		}
		if c := newcomer.conflict(o.tenant); c != "" && (why == "" || o.key.Compare(rival) < 0) {
			rival, why = o.key, c
		}
	}
	return rival, why
}

// admits reports whether a service that holds nothing yet may join the holders.
func (t tenancy) admits(newcomer tenant) bool {
	_, why := t.conflict(nobody, newcomer)
	return why == ""
}

// without returns the holders but for one.
func (t tenancy) without(key lb.ServiceKey) tenancy {
	return slices.DeleteFunc(t, func(o occupant) bool { return o.key == key })
}

// commune is the addresses that are held under one sharing key. All who hold one
// address do so under the same key, or it has one holder only.
type commune struct {
	addrs map[netip.Addr]struct{}
	// ports counts the addresses on which each port is taken.
	ports map[lb.Port]int
}

func newCommune() *commune {
	return &commune{addrs: map[netip.Addr]struct{}{}, ports: map[lb.Port]int{}}
}

func (c *commune) enter(addr netip.Addr, t tenant) {
	c.addrs[addr] = struct{}{}
	for _, p := range t.ports {
		c.ports[p]++
	}
}

// leave reports whether the commune has no address any more.
func (c *commune) leave(addr netip.Addr, t tenant, last bool) bool {
	for _, p := range t.ports {
		if c.ports[p]--; c.ports[p] == 0 {
			delete(c.ports, p)
		}
	}
	if last {
		delete(c.addrs, addr)
	}
	return len(c.addrs) == 0
}

// full reports whether a port of the newcomer is taken on every address. It spares
// thousands of services that all want the same port the search for one to join.
func (c *commune) full(newcomer tenant) bool {
	return slices.ContainsFunc(newcomer.ports, func(p lb.Port) bool { return c.ports[p] == len(c.addrs) })
}
