package ipam_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

func TestLedgerAgreesWithTheModel(t *testing.T) {
	given, waited := 0, 0
	simulate(t, 120, 150, func(s *simulation, _ event) error {
		for key := range s.services {
			got, want := s.ledger.Holder(key), s.model.holds[key]
			if !slices.Equal(got, want) {
				return fmt.Errorf("%s holds %v, in the model %v", key, got, want)
			}
			if len(got) > 0 {
				given++
			} else {
				waited++
			}
		}
		return nil
	})
	// A simulation in which hardly anybody holds, or waits, would prove nothing.
	if given < 20_000 || waited < 20_000 {
		t.Errorf("%d held and %d waited: the simulation has become one-sided", given, waited)
	}
}

func TestStatusShowsWhatTheLedgerRecords(t *testing.T) {
	simulate(t, 20, 150, func(s *simulation, _ event) error {
		for key, d := range s.last {
			if !slices.Equal(d.Addresses, s.ledger.Holder(key)) {
				return fmt.Errorf("%s was told %v but holds %v", key, d.Addresses, s.ledger.Holder(key))
			}
		}
		return nil
	})
}

func TestNoTwoServicesHoldWhatTheyMayNotShare(t *testing.T) {
	simulate(t, 30, 150, func(s *simulation, _ event) error {
		for a := range s.services {
			for b := range s.services {
				if a != b && !mayShare(s.services[a], s.services[b]) && meet(s.ledger.Holder(a), s.ledger.Holder(b)) {
					return fmt.Errorf("%s and %s both hold one of %v", a, b, s.ledger.Holder(a))
				}
			}
		}
		return nil
	})
}

func meet(some, others []netip.Addr) bool {
	return slices.ContainsFunc(some, func(a netip.Addr) bool { return slices.Contains(others, a) })
}

func TestDecidingTwiceChangesNothing(t *testing.T) {
	simulate(t, 60, 150, func(s *simulation, _ event) error { return s.fickle })
}

func TestDecidingEverybodyAgainChangesNothing(t *testing.T) {
	simulate(t, 25, 100, func(s *simulation, _ event) error {
		for _, svc := range s.shuffled() {
			if d := s.ledger.Assign(svc); !slices.Equal(d.Addresses, s.last[svc.Key].Addresses) {
				return fmt.Errorf("%s: decided %+v, then %+v", svc.Key, s.last[svc.Key], d)
			}
			if woken := s.ledger.Woken(); len(woken) > 0 {
				return fmt.Errorf("deciding %s again woke %v", svc.Key, woken)
			}
		}
		return nil
	})
}

// A newcomer that asks for the same as one who waits must find nothing either.
func TestNobodyWaitsForWhatIsFree(t *testing.T) {
	simulate(t, 30, 100, func(s *simulation, _ event) error {
		for key, svc := range s.services {
			if len(s.ledger.Holder(key)) > 0 {
				continue
			}
			svc.Key.Name += "-newcomer"
			if d := s.ledger.Assign(svc); len(d.Addresses) > 0 {
				return fmt.Errorf("%s waits, but a newcomer like it is told %+v", key, d)
			}
			s.ledger.Release(svc.Key)
		}
		return nil
	})
}

func TestADecisionOnceWrittenIsKeptInSilence(t *testing.T) {
	simulate(t, 25, 100, func(s *simulation, _ event) error {
		for key, d := range s.last {
			svc := s.services[key]
			svc.Held, svc.HeldFrom = d.Addresses, d.Pool
			again := s.ledger.Assign(svc)
			silent := again.Reason == lb.IPKept && again.Message == "" || again.Reason == lb.AdditionalAssignFailed || malformed(svc)
			if len(d.Addresses) > 0 && (!silent || again.Cleared != "" || again.Pool != d.Pool) {
				return fmt.Errorf("%s: decided %+v, then %+v", key, d, again)
			}
		}
		return nil
	})
}

func TestAnUnrelatedChangeMovesNobody(t *testing.T) {
	before := map[lb.ServiceKey][]netip.Addr{}
	simulate(t, 30, 150, func(s *simulation, e event) error {
		defer func() {
			clear(before)
			for key := range s.services {
				before[key] = s.ledger.Holder(key)
			}
		}()
		for key := range s.services {
			if had, has := before[key], s.ledger.Holder(key); !e.all && key != e.service && !subset(had, has) {
				return fmt.Errorf("%s held %v, and holds %v after a change of %s", key, had, has, e.service)
			}
		}
		return nil
	})
}

func TestEverybodyKeepsAfterARestartWhateverTheOrder(t *testing.T) {
	simulate(t, 40, 60, func(s *simulation, _ event) error {
		for key, d := range s.last {
			s.write(s.services[key], d)
		}
		restarted := newCluster()
		restarted.setPools(s.incomplete, s.pools...)
		restarted.restart(s.shuffled())
		for _, svc := range s.shuffled() {
			if d := restarted.assign(svc); !slices.Equal(d.Addresses, svc.Held) || d.Pool != svc.HeldFrom {
				return fmt.Errorf("%s held %v from %q, and was told %+v", svc.Key, svc.Held, svc.HeldFrom, d)
			}
		}
		return nil
	})
}

// Who keeps is decided by the rules alone; only who gets what instead goes by turns.
func TestWhoKeepsAfterAChangeOfPoolsDoesNotDependOnTheOrder(t *testing.T) {
	simulate(t, 40, 60, func(s *simulation, _ event) error {
		pools := s.randomPools()
		first, second := s.keepers(pools), s.keepers(pools)
		if !reflect.DeepEqual(first, second) {
			return fmt.Errorf("with pools %v keep %v, in another order %v", pools, first, second)
		}
		return nil
	})
}

// keepers returns those that hold on to all they have when the pools change.
func (s *simulation) keepers(pools []lb.Pool) map[lb.ServiceKey]bool {
	l := ipam.NewLedger()
	l.SetPools(s.pools, s.incomplete)
	l.Restore(s.shuffled())
	l.SetPools(pools, false)
	keep := map[lb.ServiceKey]bool{}
	for _, svc := range s.shuffled() {
		if d := l.Assign(svc); len(svc.Held) > 0 && d.Cleared == "" {
			keep[svc.Key] = true
		}
	}
	return keep
}

func TestUsageEqualsARecount(t *testing.T) {
	simulate(t, 30, 150, func(s *simulation, _ event) error {
		for i, got := range s.ledger.Usage() {
			if want := s.recount(s.pools[i]); got != want {
				return fmt.Errorf("usage is %+v, counted %+v", got, want)
			}
		}
		return nil
	})
}

func (s *simulation) recount(p lb.Pool) ipam.Usage {
	inUse := map[netip.Addr]bool{}
	for key := range s.services {
		for _, a := range s.ledger.Holder(key) {
			inUse[a] = true
		}
	}
	u := ipam.Usage{Pool: p.Name}
	for _, a := range walk(p, true) {
		if inUse[a] {
			u.AssignedIPv4++
		} else {
			u.AvailableIPv4++
		}
	}
	for _, a := range walk(p, false) {
		if inUse[a] {
			u.AssignedIPv6++
		} else {
			u.AvailableIPv6++
		}
	}
	return u
}
