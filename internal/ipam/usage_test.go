package ipam_test

import (
	"math"
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

func TestUsageCountsWhatAPoolCanGive(t *testing.T) {
	const huge = math.MaxInt64
	cases := []struct {
		name   string
		pool   lb.Pool
		v4, v6 int64
	}{
		{"every address of its ranges", pool("p", "192.0.2.0-192.0.2.255", "198.51.100.7"), 257, 0},
		{"both families", pool("p", "192.0.2.1-192.0.2.4", "2001:db8::1-2001:db8::3"), 4, 3},
		{"all of IPv4", pool("p", "0.0.0.0-255.255.255.255"), 1 << 32, 0},
		{"an IPv6 /67, the largest network that is counted", pool("p", "2001:db8::-2001:db8:0:0:1fff:ffff:ffff:ffff"), 0, 1 << 61},
		{"an IPv6 /66 as more than can be counted", pool("p", "2001:db8::-2001:db8:0:0:3fff:ffff:ffff:ffff"), 0, huge},
		{"an IPv6 /64 as more than can be counted", pool("p", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff"), 0, huge},
		{"all of IPv6 as more than can be counted", pool("p", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), 0, huge},
		{"a huge range and a small one", pool("p", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff", "fd00::1"), 0, huge},
		{"several networks that together cannot be counted", pool("p",
			"2001:db8:1::-2001:db8:1:0:1fff:ffff:ffff:ffff", "2001:db8:2::-2001:db8:2:0:1fff:ffff:ffff:ffff",
			"2001:db8:3::-2001:db8:3:0:1fff:ffff:ffff:ffff", "2001:db8:4::-2001:db8:4:0:1fff:ffff:ffff:ffff"), 0, huge},
		{"a /24 without .0 and .255", with(pool("p", "192.0.2.0-192.0.2.255"), avoidingBuggyIPs), 254, 0},
		{"a /22 without four times .0 and .255", with(pool("p", "192.0.0.0-192.0.3.255"), avoidingBuggyIPs), 1024 - 8, 0},
		{"a /25 without its .0", with(pool("p", "192.0.2.0-192.0.2.127"), avoidingBuggyIPs), 127, 0},
		{"a /25 without its .255", with(pool("p", "192.0.2.128-192.0.2.255"), avoidingBuggyIPs), 127, 0},
		{"a range over the edge of two networks without .255 and .0", with(pool("p", "192.0.2.250-192.0.3.5"), avoidingBuggyIPs), 10, 0},
		{"a range without buggy addresses as it is", with(pool("p", "192.0.2.1-192.0.2.254"), avoidingBuggyIPs), 254, 0},
		{"nothing of a single buggy address", with(pool("p", "192.0.2.0"), avoidingBuggyIPs), 0, 0},
		{"IPv6 addresses however they end", with(pool("p", "2001:db8::-2001:db8::ff"), avoidingBuggyIPs), 0, 256},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := ipam.NewLedger()
			l.SetPools([]lb.Pool{c.pool}, false)
			want := ipam.Usage{Pool: "p", AvailableIPv4: c.v4, AvailableIPv6: c.v6}
			if got := l.Usage()[0]; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestUsageFollowsTheServices(t *testing.T) {
	usage := func(want ...ipam.Usage) step {
		return func(t *testing.T, c *cluster) {
			t.Helper()
			for i, got := range c.ledger.Usage() {
				if got != want[i] {
					t.Errorf("got %+v, want %+v", got, want[i])
				}
			}
		}
	}
	both := pool("both", "192.0.2.1-192.0.2.4", "2001:db8::1-2001:db8::2")
	vast := pool("vast", "2001:db8:1::-2001:db8:1:0:ffff:ffff:ffff:ffff")
	tell(t, []story{
		{"addresses count by family", []step{
			pools(both),
			assign(service("a", dual(lb.RequireDualStack)), "given 192.0.2.1,2001:db8::1 from both"),
			assign(service("b"), "given 192.0.2.2 from both"),
			usage(ipam.Usage{Pool: "both", AssignedIPv4: 2, AvailableIPv4: 2, AssignedIPv6: 1, AvailableIPv6: 1}),
			release("a"),
			usage(ipam.Usage{Pool: "both", AssignedIPv4: 1, AvailableIPv4: 3, AvailableIPv6: 2}),
		}},
		{"a shared address counts once", []step{
			pools(both),
			assign(service("a", shares("k", "TCP/1")), "given 192.0.2.1 from both"),
			assign(service("b", shares("k", "TCP/2")), "given 192.0.2.1 from both"),
			usage(ipam.Usage{Pool: "both", AssignedIPv4: 1, AvailableIPv4: 3, AvailableIPv6: 2}),
			release("a"),
			usage(ipam.Usage{Pool: "both", AssignedIPv4: 1, AvailableIPv4: 3, AvailableIPv6: 2}),
			release("b"),
			usage(ipam.Usage{Pool: "both", AvailableIPv4: 4, AvailableIPv6: 2}),
		}},
		{"what cannot be counted does not become less", []step{
			pools(vast),
			assign(service("a", ipv6()), "given 2001:db8:1:: from vast"),
			usage(ipam.Usage{Pool: "vast", AssignedIPv6: 1, AvailableIPv6: math.MaxInt64}),
		}},
		{"assignments count for the pool that their address has moved to", []step{
			pools(both),
			assign(service("a"), "given 192.0.2.1 from both"),
			pools(vast, pool("new", "192.0.2.1-192.0.2.2")),
			usage(ipam.Usage{Pool: "vast", AvailableIPv6: math.MaxInt64}, ipam.Usage{Pool: "new", AssignedIPv4: 1, AvailableIPv4: 1}),
		}},
		{"an address of a pool that cannot be read counts nowhere", []step{
			poolsAndAnInvalidOne(both),
			assign(service("a", holdsFromLost("203.0.113.1")), "keeps 203.0.113.1 from lost"),
			usage(ipam.Usage{Pool: "both", AvailableIPv4: 4, AvailableIPv6: 2}),
			release("a"),
			usage(ipam.Usage{Pool: "both", AvailableIPv4: 4, AvailableIPv6: 2}),
		}},
	})
}

func TestHoldersCountsServicesNotAddresses(t *testing.T) {
	l := ipam.NewLedger()
	l.SetPools([]lb.Pool{{
		Name: "lan", AutoAssign: true,
		Ranges: []lb.Range{{First: netip.MustParseAddr("192.0.2.1"), Last: netip.MustParseAddr("192.0.2.9")}},
	}}, false)
	for i, name := range []string{"a", "b"} {
		l.Assign(lb.Service{
			Key:        lb.ServiceKey{Namespace: "default", Name: name},
			ClusterIPs: []netip.Addr{netip.MustParseAddr("10.96.0.1")},
			Ports:      []lb.Port{{Protocol: "TCP", Number: uint16(80 + i)}},
			Request:    lb.Request{SharingKey: "one", HasSharingKey: true},
		})
	}
	if got := l.Usage()[0].AssignedIPv4; got != 1 {
		t.Fatalf("%d addresses assigned, want one that is shared", got)
	}
	if got := l.Holders()["lan"]; got != 2 {
		t.Errorf("%d holders, want 2", got)
	}
	l.Release(lb.ServiceKey{Namespace: "default", Name: "a"})
	l.Release(lb.ServiceKey{Namespace: "default", Name: "b"})
	if got := l.Holders()["lan"]; got != 0 {
		t.Errorf("%d holders after all were released", got)
	}
}
