//go:build e2e

package bgp

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// BenchmarkFRRTenThousandRoutes is the time until FRR has all routes over two sessions, and
// then another community on each; and what our process holds then.
func BenchmarkFRRTenThousandRoutes(b *testing.B) {
	for b.Loop() {
		f := newFRR(b, ` neighbor 192.0.2.1 remote-as 64500
 neighbor 2001:db8::1 remote-as 64500
 address-family ipv4 unicast
  neighbor 2001:db8::1 activate
`)
		over4, over6 := there("192.0.2.2"), there("2001:db8::2")
		over6.Name, over6.DualStack = "tor6", true
		set := func(s *Speaker, routes []lb.Route) {
			s.Set([]lb.Session{{Peer: over4, Routes: routes}, {Peer: over6, Routes: routes}})
		}
		before := memory()
		s, stop := startStoppable(b, lb.Session{Peer: over4}, lb.Session{Peer: over6})
		await(b, s, "tor", "established", established(0))
		await(b, s, "tor6", "established", established(0))

		up := s.States()
		began := time.Now()
		set(s, tenThousand(lb.Attributes{}))
		eventually(b, "FRR has all routes twice", func() bool {
			return strings.Count(f.show("show bgp ipv4 unicast summary json"), `"pfxRcd":10000`) == 2
		})
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-until-all")
		b.ReportMetric(float64(int64(memory()-before))/(1<<20), "MiB-more")
		b.ReportMetric(sys(), "MiB-from-system")

		began = time.Now()
		set(s, tenThousand(lb.Attributes{Communities: []lb.Community{64500<<16 | 1}}))
		eventually(b, "FRR has the community on all", func() bool {
			return strings.Count(f.show("show bgp ipv4 unicast community 64500:1"), "198.18.") == 10000
		})
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-community")
		if now := s.States(); now[0].Since != up[0].Since || now[1].Since != up[1].Since {
			b.Error("a session did not last")
		}
		stop()
		f.stop()
	}
}

func sys() float64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys) / (1 << 20)
}
