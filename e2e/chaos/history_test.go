package chaos

import (
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// watched plays versions of a Service to a history.
func watched(versions ...corev1.Service) (broken []string, losses []loss) {
	h := &history{journal: newJournal(io.Discard, io.Discard), lives: map[types.UID]*life{}, expect: func(netip.Addr, bool) {}}
	for i := range versions {
		h.saw(&versions[i])
	}
	return h.take()
}

// TestHandsThatChangeAtOneMoment: after an interruption the watch shows what came of it, and not in which order.
func TestHandsThatChangeAtOneMoment(t *testing.T) {
	h := &history{journal: newJournal(io.Discard, io.Discard), lives: map[types.UID]*life{}, expect: func(netip.Addr, bool) {}}
	version := func(name, address string, wishes ...wish) corev1.Service {
		svc := holding(name, address, wishes...)
		svc.UID = types.UID(name)
		return svc
	}
	h.sawAll([]corev1.Service{version("a", "10.0.0.1"), version("b", "10.0.0.2"), version("c", "10.0.0.3")})
	h.sawAll([]corev1.Service{version("a", "10.0.0.2", fromPool("x")), version("b", "10.0.0.1", fromPool("x")), version("d", "10.0.0.3")})
	if broken, losses := h.take(); len(broken)+len(losses) > 0 {
		t.Errorf("%q and %d losses, want none", broken, len(losses))
	}
}

func TestWhatAHistoryFinds(t *testing.T) {
	version := func(uid string, svc corev1.Service) corev1.Service { svc.UID = types.UID(uid); return svc }
	for _, c := range []struct {
		name           string
		versions       []corev1.Service
		broken, losses int
	}{
		{"an address that is kept", []corev1.Service{version("a", holding("a", "10.0.0.1")), version("a", holding("a", "10.0.0.1"))}, 0, 0},
		{"an address that goes by itself", []corev1.Service{version("a", holding("a", "10.0.0.1")), version("a", holding("a", "10.0.0.2"))}, 0, 1},
		{
			"an address that goes with another wish",
			[]corev1.Service{version("a", holding("a", "10.0.0.1")), version("a", holding("a", "10.0.0.1", fromPool("x"))), version("a", holding("a", "", fromPool("x")))},
			0, 0,
		},
		{
			"an address that goes after a wish that has nothing to do with it",
			[]corev1.Service{
				version("a", holding("a", "10.0.0.1")), version("a", holding("a", "10.0.0.1", localTraffic, port(81))),
				version("a", holding("a", "", localTraffic, port(81))),
			},
			0, 1,
		},
		{
			"a shared address that goes with another port",
			[]corev1.Service{
				version("a", holding("a", "10.0.0.1", sharing("k"))), version("a", holding("a", "10.0.0.1", sharing("k"), port(81))),
				version("a", holding("a", "", sharing("k"), port(81))),
			},
			0, 0,
		},
		{
			"an address that goes with the type",
			[]corev1.Service{version("a", holding("a", "10.0.0.1")), version("a", holding("a", "", noLoadBalancer))},
			0, 0,
		},
		{"a steady Service's that goes", []corev1.Service{version("a", holding("steady-1", "10.0.0.1")), version("a", holding("steady-1", ""))}, 1, 0},
		{"an address that is given twice", []corev1.Service{version("a", holding("a", "10.0.0.1")), version("b", holding("b", "10.0.0.1"))}, 1, 0},
		{
			"an address that is shared",
			[]corev1.Service{version("a", holding("a", "10.0.0.1", sharing("k"))), version("b", holding("b", "10.0.0.1", sharing("k"), port(81)))},
			0, 0,
		},
		{
			"an address that could be shared a moment ago",
			[]corev1.Service{
				version("a", holding("a", "10.0.0.1", sharing("k"))), version("a", holding("a", "10.0.0.1")),
				version("b", holding("b", "10.0.0.1", sharing("k"), port(81))),
			},
			0, 0,
		},
	} {
		if broken, losses := watched(c.versions...); len(broken) != c.broken || len(losses) != c.losses {
			t.Errorf("%s: %q and %d losses, want %d and %d", c.name, broken, len(losses), c.broken, c.losses)
		}
	}
}

// TestHowLongAWishExcusesALoss has a Service ask for a pool, everything be as it should be, and the address go by itself.
func TestHowLongAWishExcusesALoss(t *testing.T) {
	for _, c := range []struct {
		name                  string
		beforeLook, afterLook time.Duration
		losses                int
	}{
		{"when it was asked for just before the look", time.Second, time.Minute, 0},
		{"when it was done long before the look", time.Minute, time.Second, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := &history{journal: newJournal(io.Discard, io.Discard), lives: map[types.UID]*life{}, expect: func(netip.Addr, bool) {}}
			saw := func(addresses string, wishes ...wish) {
				svc := holding("a", addresses, wishes...)
				h.saw(&svc)
			}
			saw("10.0.0.1")
			time.Sleep(time.Second)
			saw("10.0.0.1", fromPool("x"))
			time.Sleep(c.beforeLook)
			h.take()
			time.Sleep(c.afterLook)
			saw("", fromPool("x"))
			if _, losses := h.take(); len(losses) != c.losses {
				t.Errorf("%s: %d losses to be explained, want %d", c.name, len(losses), c.losses)
			}
		})
	}
}

func TestALossTellsWhenTheAddressWasSeenLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &history{journal: newJournal(io.Discard, io.Discard), lives: map[types.UID]*life{}, expect: func(netip.Addr, bool) {}}
		given, kept, lost := holding("a", "10.0.0.1"), holding("a", "10.0.0.1"), holding("a", "")
		h.saw(&given)
		time.Sleep(time.Minute)
		h.saw(&kept)
		seen := time.Now()
		time.Sleep(time.Second)
		h.saw(&lost)
		if _, losses := h.take(); len(losses) != 1 || !losses[0].seen.Equal(seen) {
			t.Errorf("%v, want one loss of what was seen at %v", losses, seen)
		}
	})
}
