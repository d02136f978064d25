package lb_test

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func ranged(first, last string) lb.Range { return lb.Range{First: addr(first), Last: addr(last)} }

func TestRangesOverlapWhereTheyShareAnAddress(t *testing.T) {
	for name, tc := range map[string]struct {
		a, b lb.Range
		want bool
	}{
		"one within the other":         {ranged("10.0.0.0", "10.0.0.255"), ranged("10.0.0.7", "10.0.0.9"), true},
		"the last of one is the first": {ranged("10.0.0.0", "10.0.0.7"), ranged("10.0.0.7", "10.0.0.9"), true},
		"neighbours":                   {ranged("10.0.0.0", "10.0.0.6"), ranged("10.0.0.7", "10.0.0.9"), false},
		"the same":                     {ranged("2001:db8::", "2001:db8::9"), ranged("2001:db8::", "2001:db8::9"), true},
		"of different families":        {ranged("0.0.0.0", "255.255.255.255"), ranged("::", "ffff::"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.a.Overlaps(tc.b) != tc.want || tc.b.Overlaps(tc.a) != tc.want {
				t.Errorf("%s and %s overlap: %t and %t, want %t", tc.a, tc.b, tc.a.Overlaps(tc.b), tc.b.Overlaps(tc.a), tc.want)
			}
		})
	}
}

func TestAPoolHandsOutWhatLiesInItsRanges(t *testing.T) {
	pool := lb.Pool{Ranges: []lb.Range{ranged("10.0.0.0", "10.0.0.255"), ranged("2001:db8::", "2001:db8::ff")}}
	careful := pool
	careful.AvoidBuggyIPs = true
	for text, want := range map[string]struct{ pool, careful bool }{
		"10.0.0.0":       {true, false},
		"10.0.0.255":     {true, false},
		"10.0.0.1":       {true, true},
		"10.0.1.1":       {false, false},
		"2001:db8::":     {true, true},
		"2001:db8::ff":   {true, true},
		"2001:db8::1:ff": {false, false},
	} {
		if got := pool.Contains(addr(text)); got != want.pool {
			t.Errorf("%s in the pool: %t, want %t", text, got, want.pool)
		}
		if got := careful.Contains(addr(text)); got != want.careful {
			t.Errorf("%s in the pool that avoids buggy addresses: %t, want %t", text, got, want.careful)
		}
	}
}

func TestSelectors(t *testing.T) {
	front := map[string]string{"tier": "front"}
	selector := func(text string) lb.Selector {
		s, err := labels.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return lb.NewSelector(s)
	}
	if (lb.Selector{}).Contains(front) || (lb.Selectors{}).Contains(front) {
		t.Error("nothing selects something")
	}
	if !(lb.Selectors{}).ContainsOrEmpty(front) || !selector("").Contains(front) {
		t.Error("an empty selection does not select everything")
	}
	either := lb.Selectors{selector("tier=back"), selector("tier=front")}
	if !either.Contains(front) || either.ContainsOrEmpty(nil) {
		t.Error("a list of selectors selects other than what any of them does")
	}
	if !selector("a=1,b=2").Equal(selector("b=2,a=1")) || selector("a=1").Equal(selector("a=2")) {
		t.Error("selectors are compared by more or less than what they require")
	}
}

func TestAnnouncementsDifferByAddressAndLinks(t *testing.T) {
	all := lb.Announcement{Address: addr("192.0.2.1")}
	none := lb.Announcement{Address: addr("192.0.2.1"), Links: []string{}}
	some := lb.Announcement{Address: addr("192.0.2.1"), Links: []string{"eth0", "eth1"}}
	for _, a := range []lb.Announcement{all, none, some} {
		for _, b := range []lb.Announcement{all, none, some} {
			if same := a.String() == b.String() && (a.Links == nil) == (b.Links == nil); a.Equal(b) != same {
				t.Errorf("%s equals %s: %t", a, b, a.Equal(b))
			}
		}
	}
	if !all.Contains("eth7") || none.Contains("eth0") || !some.Contains("eth1") || some.Contains("eth7") {
		t.Error("links are permitted that are not, or the other way round")
	}
}

func TestALinkCanAnnounceTheFamiliesThatItSays(t *testing.T) {
	up := lb.Link{Name: "eth0", Index: 2, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, ARP: true, Addrs: []netip.Prefix{
		netip.MustParsePrefix("10.0.0.5/24"), netip.MustParsePrefix("2001:db8::5/64"), netip.MustParsePrefix("fe80::5/64"),
	}}
	if !up.Usable(addr("192.0.2.1")) || up.Usable(addr("2001:db8::1")) {
		t.Error("a link without NDP is usable for other than IPv4")
	}
	if got := up.LinkLocal(); got != addr("fe80::5") {
		t.Errorf("link-local address %s, want fe80::5", got)
	}
	if (lb.Link{}).LinkLocal().IsValid() {
		t.Error("a link without addresses has a link-local one")
	}
	down := up
	down.ARP, down.Unusable = false, "no carrier"
	if up.Equal(down) || !up.Equal(up) || up.String() != "eth0(2)" || down.String() != "eth0(2): no carrier" {
		t.Errorf("links %s and %s", up, down)
	}
}

func TestServicesAreOrderedByNamespaceThenName(t *testing.T) {
	sorted := []lb.ServiceKey{{"a", "y"}, {"a", "z"}, {"ab", "a"}, {"b", "a"}}
	shuffled := []lb.ServiceKey{sorted[3], sorted[1], sorted[2], sorted[0]}
	slices.SortFunc(shuffled, lb.ServiceKey.Compare)
	if !slices.Equal(shuffled, sorted) {
		t.Errorf("order %v, want %v", shuffled, sorted)
	}
}

// Whether anything is to be told of is decided by comparing: each part counts.
func TestVerdictsAndDecisionsDifferInEachPart(t *testing.T) {
	verdicts := []lb.Verdict{
		{},
		{Reason: lb.Announced},
		{Why: "why"},
		{Owner: "node-a"},
		{Links: []string{}},
		{Links: []string{"eth0"}},
		{Announcements: []lb.Announcement{{Address: addr("192.0.2.1")}}},
		{Announcements: []lb.Announcement{{Address: addr("192.0.2.1"), Links: []string{"eth0"}}}},
	}
	for i, a := range verdicts {
		for j, b := range verdicts {
			if a.Equal(b) != (i == j) {
				t.Errorf("%+v equals %+v: %t", a, b, a.Equal(b))
			}
		}
	}
	decisions := []lb.Decision{
		{},
		{Addresses: []netip.Addr{addr("192.0.2.1")}},
		{Addresses: []netip.Addr{addr("192.0.2.2")}},
		{Pool: "blue"},
		{Reason: lb.IPKept},
		{Message: "message"},
		{Cleared: "cleared"},
	}
	for i, a := range decisions {
		for j, b := range decisions {
			if a.Equal(b) != (i == j) {
				t.Errorf("%+v equals %+v: %t", a, b, a.Equal(b))
			}
		}
	}
}

func TestProblemsReadAsASentence(t *testing.T) {
	pool := lb.ObjectRef{Kind: "IPAddressPool", Namespace: "metallb-system", Name: "blue"}
	for want, p := range map[string]lb.Problem{
		"IPAddressPool metallb-system/blue: spec.addresses[1]: is bad": {Object: pool, Field: "spec.addresses[1]", Message: "is bad"},
		"IPAddressPool metallb-system/blue: is bad":                    {Object: pool, Message: "is bad"},
		"Node node-a: is bad": {Object: lb.ObjectRef{Kind: "Node", Name: "node-a"}, Message: "is bad"},
		"blue is bad":         {Object: pool, Field: "spec.addresses[1]", Message: "blue is bad", Verbatim: true},
	} {
		if got := p.String(); got != want {
			t.Errorf("problem %q, want %q", got, want)
		}
	}
}
