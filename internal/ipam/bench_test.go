package ipam_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

var (
	slash16 = pool("sixteen", "10.1.0.0-10.1.255.255")
	slash64 = pool("sixtyfour", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff")
)

// sizes are the numbers of services over which each figure should stay flat.
var sizes = []int{100, 1_000, 10_000}

func perSize(b *testing.B, bench func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			bench(b, n)
		})
	}
}

// crowd assigns n services.
func crowd(l *ipam.Ledger, n int, options ...serviceOption) []lb.Service {
	services := make([]lb.Service, n)
	for i := range services {
		services[i] = service(fmt.Sprintf("crowd/s%d", i), append(options, born(i))...)
		d := l.Assign(services[i])
		services[i].Held, services[i].HeldFrom = d.Addresses, d.Pool
	}
	return services
}

func ledgerOf(p lb.Pool) *ipam.Ledger {
	l := ipam.NewLedger()
	l.SetPools([]lb.Pool{p}, false)
	return l
}

// comeAndGo assigns one more service and releases it.
func comeAndGo(b *testing.B, l *ipam.Ledger, options ...serviceOption) {
	b.Helper()
	one := service("one", options...)
	for b.Loop() {
		if d := l.Assign(one); len(d.Addresses) == 0 {
			b.Fatal(d.Message)
		}
		l.Release(one.Key)
	}
}

func BenchmarkAssignOneMoreInIPv4Slash16(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		l := ledgerOf(slash16)
		crowd(l, n)
		comeAndGo(b, l)
	})
}

func BenchmarkAssignOneMoreInIPv6Slash64(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		l := ledgerOf(slash64)
		crowd(l, n, ipv6())
		comeAndGo(b, l, ipv6())
	})
}

func BenchmarkAssignOneMoreDualStack(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		both := slash16
		both.Ranges = append(both.Ranges[:1:1], slash64.Ranges...)
		l := ledgerOf(both)
		crowd(l, n, dual(lb.RequireDualStack))
		comeAndGo(b, l, dual(lb.RequireDualStack))
	})
}

// The free addresses are scattered over the pool, one in a thousand.
func BenchmarkAssignInAPoolThatIs999PerMilleFull(b *testing.B) {
	l := ledgerOf(slash16)
	crowd(l, 1<<16)
	for i := 500; i < 1<<16; i += 1000 {
		l.Release(key(fmt.Sprintf("crowd/s%d", i)))
	}
	b.ReportAllocs()
	comeAndGo(b, l)
}

// Every service shares where it may, but all want the same port.
func BenchmarkAssignOneMoreUnderACommonSharingKey(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		l := ledgerOf(slash16)
		crowd(l, n, shares("k", "TCP/443"))
		comeAndGo(b, l, shares("k", "TCP/443"))
	})
}

func BenchmarkAssignAgainWhereNothingChanged(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		l := ledgerOf(slash16)
		services := crowd(l, n)
		for i := 0; b.Loop(); i++ {
			l.Assign(services[i%n])
		}
	})
}

// One lets go, the oldest who waits gets it, and the first comes back to wait.
func BenchmarkReleaseAndHandToOneWaiting(b *testing.B) {
	perSize(b, func(b *testing.B, n int) { handOver(b, n) })
}

// The waiting all want something different: the worst that a queue of lines can meet.
func BenchmarkReleaseAndHandToOneWaitingAmongManyKeys(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		handOver(b, n, func(s *lb.Service) { s.Request.SharingKey = s.Key.String() })
	})
}

func handOver(b *testing.B, waiting int, options ...serviceOption) {
	b.Helper()
	l := ledgerOf(pool("one", "192.0.2.1"))
	services := crowd(l, waiting+1, options...)
	for i := 0; b.Loop(); i++ {
		next := services[i%len(services)]
		next.Held = nil
		l.Release(next.Key)
		if woken := l.Woken(); len(woken) != 1 {
			b.Fatalf("woken: %v", woken)
		}
		next.Created = next.Created.AddDate(i+1, 0, 0)
		l.Assign(next)
	}
}

func BenchmarkAssignInVainWhileManyWait(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		l := ledgerOf(pool("one", "192.0.2.1"))
		crowd(l, n)
		late := service("late", born(n))
		for b.Loop() {
			l.Assign(late)
		}
	})
}

// One service of a pool with room comes and goes while others wait for a full pool.
func BenchmarkAssignWhileManyWaitForAnotherPool(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		l := ipam.NewLedger()
		l.SetPools([]lb.Pool{pool("full", "192.0.2.1"), slash16}, false)
		crowd(l, n, asksPool("full"))
		comeAndGo(b, l, asksPool("sixteen"))
	})
}

func BenchmarkRestart(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		holders := crowd(ledgerOf(slash16), n)
		for b.Loop() {
			l := ledgerOf(slash16)
			l.Restore(holders)
			for _, svc := range holders {
				if d := l.Assign(svc); d.Reason != lb.IPKept {
					b.Fatal(d.Message)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/service")
	})
}

func BenchmarkChangeOfPools(b *testing.B) {
	perSize(b, func(b *testing.B, n int) {
		l := ledgerOf(slash16)
		holders := crowd(l, n)
		other := pool("other", "192.0.2.1")
		for i := 0; b.Loop(); i++ {
			l.SetPools([]lb.Pool{slash16, other}[:1+i%2], false)
			for _, svc := range holders {
				l.Assign(svc)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/service")
	})
}

func BenchmarkUsage(b *testing.B) {
	var many []lb.Pool
	for i := range 100 {
		first := netip.AddrFrom4([4]byte{10, 2, byte(i), 0})
		last := netip.AddrFrom4([4]byte{10, 2, byte(i), 255})
		many = append(many, lb.Pool{Name: lb.PoolName(fmt.Sprint(i)), Ranges: []lb.Range{{First: first, Last: last}}})
	}
	l := ipam.NewLedger()
	l.SetPools(many, false)
	b.ReportAllocs()
	for b.Loop() {
		l.Usage()
	}
}
