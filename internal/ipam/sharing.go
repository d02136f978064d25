package ipam

import (
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

// without returns the holders but for one.
func (t tenancy) without(key lb.ServiceKey) tenancy {
	return slices.DeleteFunc(t, func(o occupant) bool { return o.key == key })
}
