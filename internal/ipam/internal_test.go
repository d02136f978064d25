package ipam

import (
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/internal/lb"
)

func TestSpaceRemembersAFreedAddressOnce(t *testing.T) {
	first := netip.MustParseAddr("192.0.2.1")
	p := newPool(lb.Pool{Ranges: []lb.Range{{First: first, Last: netip.MustParseAddr("192.0.2.9")}}})
	s, empty, held := p.spaces[0], map[netip.Addr]tenancy{}, map[netip.Addr]tenancy{first: {occupant{}}}
	if a, ok := s.lowest(held); !ok || a != first.Next() {
		t.Fatalf("with the first address held, the lowest is %s", a)
	}
	for range 3 {
		s.release(first)
		if a, ok := s.lowest(empty); !ok || a != first {
			t.Fatalf("after its release the first address is free, but the lowest is %s", a)
		}
	}
	if len(s.freed) != 1 {
		t.Errorf("an address let go of three times is remembered %d times", len(s.freed))
	}
	if a, ok := s.lowest(held); !ok || a != first.Next() {
		t.Errorf("held again, it is still the lowest: %s", a)
	}
}

func TestCommuneIsFullForAPortTakenOnEveryAddress(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	web := tenant{sharingKey: "k", ports: []lb.Port{{Protocol: "TCP", Number: 80}}}
	dns := tenant{sharingKey: "k", ports: []lb.Port{{Protocol: "UDP", Number: 53}}}
	c := newCommune()
	c.enter(a, web)
	c.enter(a, dns)
	c.enter(b, web)
	if !c.full(web) || c.full(dns) {
		t.Errorf("web is on both addresses, dns on one: full for web %t, for dns %t", c.full(web), c.full(dns))
	}
	if c.leave(b, web, true); !c.full(dns) {
		t.Error("of one address, where dns is, dns could join one")
	}
	c.leave(a, dns, false)
	if empty := c.leave(a, web, true); !empty || len(c.ports) > 0 {
		t.Errorf("all have left, but there remain %v and %v", c.addrs, c.ports)
	}
}

func TestOffersAreForgottenOnceMade(t *testing.T) {
	l := NewLedger()
	svc := lb.Service{Key: lb.ServiceKey{Name: "web"}, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}}
	l.SetPools([]lb.Pool{{Name: "p", AutoAssign: true, Ranges: []lb.Range{{First: svc.ClusterIPs[0], Last: svc.ClusterIPs[0]}}}}, false)
	l.Assign(svc)
	l.Release(svc.Key)
	if len(l.offers) > 0 {
		t.Errorf("nobody waits, but %v are still on offer", l.offers)
	}
}
