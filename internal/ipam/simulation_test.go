package ipam_test

import (
	"cmp"
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/herald-lb/herald/internal/lb"
)

// simulation is a random life of a small cluster: services come, change and go, pools
// change, status writes fail, the controller restarts. The ledger and the model live
// through the same.
type simulation struct {
	*cluster
	model *model
	rng   *rand.Rand
	now   int
	story []string
	// fickle is a decision that came out differently when made again at once.
	fickle error
}

// event is what happened last: to one service, or else to all.
type event struct {
	service lb.ServiceKey
	all     bool
}

// simulate lives several lives, from fixed seeds, and lets check look at each moment.
func simulate(t *testing.T, lives, moments int, check func(s *simulation, e event) error) {
	t.Helper()
	for seed := range int64(lives) {
		s := &simulation{cluster: newCluster(), model: newModel(), rng: rand.New(rand.NewSource(seed))}
		s.changePools()
		for moment := range moments {
			e := s.live()
			if err := check(s, e); err != nil {
				t.Fatalf("seed %d, moment %d: %v\n%s", seed, moment, err, strings.Join(s.story[max(0, len(s.story)-8):], "\n"))
			}
		}
	}
}

func (s *simulation) live() event {
	s.now++
	svc := s.randomService()
	switch s.rng.Intn(20) {
	case 0, 1, 2, 3:
		s.note("release %s", svc.Key)
		s.release(svc.Key)
		s.model.release(svc.Key)
		s.wakeBoth()
	case 4:
		s.changePools()
		return event{all: true}
	case 5:
		s.die(svc)
		return event{all: true}
	default:
		s.decide(s.alter(svc))
		s.wakeBoth()
	}
	return event{service: svc.Key}
}

func (s *simulation) note(format string, args ...any) {
	s.story = append(s.story, fmt.Sprintf(format, args...))
}

// decide lets both decide. Now and then the write fails that would show an addition.
func (s *simulation) decide(svc lb.Service) {
	before, recorded := svc, s.ledger.Holder(svc.Key)
	d := s.assign(svc)
	s.model.assign(svc)
	s.note("%s: %s", text(svc), describe(d))
	// A status that shows a part of what was held cannot tell what became of the rest.
	if len(svc.Held) == 0 || subset(recorded, svc.Held) {
		s.again(svc, d)
	}
	if subset(before.Held, d.Addresses) && s.rng.Intn(10) == 0 {
		s.services[svc.Key] = before
	}
}

func (s *simulation) again(svc lb.Service, d lb.Decision) {
	if again := s.ledger.Assign(svc); !slices.Equal(again.Addresses, d.Addresses) || again.Reason != d.Reason || again.Pool != d.Pool {
		s.fickle = fmt.Errorf("%s: decided %+v, then %+v", svc.Key, d, again)
	}
}

// wakeBoth assigns again those that the ledger, and then the model, served on their own.
func (s *simulation) wakeBoth() {
	woken := s.ledger.Woken()
	s.note("woken %v", woken)
	if !slices.Equal(woken, s.model.woken) {
		s.note("the model woke %v", s.model.woken)
	}
	s.model.woken = nil
	for _, key := range woken {
		s.decide(s.services[key])
	}
}

func (s *simulation) changePools() {
	s.setPools(s.rng.Intn(6) == 0, s.randomPools()...)
	s.model.setPools(s.pools, s.incomplete)
	s.note("pools %v, incomplete %t", s.pools, s.incomplete)
	s.decideAll()
}

// die restarts the controller, sometimes after a decision that was never written.
func (s *simulation) die(last lb.Service) {
	if s.rng.Intn(2) == 0 {
		changed := s.alter(last)
		s.ledger.Assign(changed)
		s.services[changed.Key] = changed
	}
	if s.rng.Intn(4) == 0 {
		s.pools, s.incomplete = s.randomPools(), s.rng.Intn(3) == 0
	}
	s.note("restart, pools %v, incomplete %t", s.pools, s.incomplete)
	s.restart(s.shuffled())
	s.model = newModel()
	s.model.setPools(s.pools, s.incomplete)
	s.model.restore(s.shuffled())
	s.decideAll()
}

func (s *simulation) decideAll() {
	for _, svc := range s.inTurn() {
		s.decide(svc)
	}
	s.wakeBoth()
}

func (s *simulation) shuffled() []lb.Service {
	all := s.inTurn()
	s.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// randomService is one that exists or one to be.
func (s *simulation) randomService() lb.Service {
	name := fmt.Sprintf("%s/s%d", s.oneOf("prod", "test"), s.rng.Intn(8))
	if svc, ok := s.services[key(name)]; ok {
		return svc
	}
	// Several are created in one second, as Kubernetes counts no finer.
	return service(name, uid(fmt.Sprint(s.now)), born(s.now/3))
}

// alter changes some of what a service is and asks for.
func (s *simulation) alter(svc lb.Service) lb.Service {
	switch s.rng.Intn(12) {
	case 0:
		return svc
	case 1, 2, 3:
		s.alterFamilies(&svc)
	case 4, 5:
		s.alterRequest(&svc)
	case 6:
		svc.Labels = map[string]string{"tier": s.oneOf("front", "back")}
	case 7:
		svc = service(svc.Key.String(), uid(fmt.Sprint(s.now)), born(s.now))
	default:
		s.alterSharing(&svc)
	}
	return svc
}

func (s *simulation) alterFamilies(svc *lb.Service) {
	four, six := addrs("10.96.0.1"), addrs("fd00::1")
	svc.FamilyPolicy = lb.FamilyPolicy(s.oneOf(string(lb.PreferDualStack), string(lb.RequireDualStack), string(lb.PreferDualStack)))
	switch s.rng.Intn(9) {
	case 0:
		svc.ClusterIPs = nil
	case 1, 2:
		svc.ClusterIPs, svc.FamilyPolicy = six, lb.SingleStack
	case 3:
		svc.ClusterIPs, svc.FamilyPolicy = four, lb.SingleStack
	case 4:
		svc.ClusterIPs = four
	case 5:
		svc.ClusterIPs = slices.Concat(six, four)
	default:
		svc.ClusterIPs = slices.Concat(four, six)
	}
}

func (s *simulation) alterRequest(svc *lb.Service) {
	sharingKey := svc.Request.SharingKey
	svc.Request = lb.Request{SharingKey: sharingKey}
	switch s.rng.Intn(8) {
	case 0:
		svc.Request.Invalid = "malformed"
	case 1, 2:
		svc.Request.Pool = lb.PoolName(s.oneOf("p0", "p1", "p2", "p3", "p4"))
	case 3, 4, 5:
		for range cmp.Or(len(svc.ClusterIPs), 1) {
			svc.Request.Addresses = append(svc.Request.Addresses, s.randomAddress())
		}
	}
}

func (s *simulation) alterSharing(svc *lb.Service) {
	svc.Request.SharingKey = s.oneOf("", "k", "k", "q")
	svc.Ports = ports(s.oneOf("TCP/80", "TCP/443", "UDP/53", "TCP/21"))
	if s.rng.Intn(3) == 0 {
		svc.Ports = append(svc.Ports, ports(s.oneOf("TCP/22", "UDP/123"))...)
	}
	svc.LocalTraffic = s.rng.Intn(3) == 0
	svc.PodSelector = s.oneOf("", "app=a", "app=b")
}

func (s *simulation) oneOf(words ...string) string { return words[s.rng.Intn(len(words))] }

// ground is what random pools are made of: ranges that do not overlap.
var ground = pool("ground",
	"192.0.2.0-192.0.2.1", "192.0.2.2", "192.0.2.254-192.0.3.1", "192.0.4.7-192.0.4.9", "192.0.2.3",
	"2001:db8::-2001:db8::1", "2001:db8:1::1", "2001:db8::2-2001:db8::4", "2001:db8:2::ffff").Ranges

func (s *simulation) randomAddress() netip.Addr {
	r := ground[s.rng.Intn(len(ground))]
	if s.rng.Intn(2) == 0 {
		return r.Last
	}
	return r.First
}

// randomPools deals the ranges to some pools with random rules, in random order.
func (s *simulation) randomPools() []lb.Pool {
	pools := make([]lb.Pool, s.rng.Intn(5))
	for i := range pools {
		pools[i] = lb.Pool{Name: lb.PoolName(fmt.Sprintf("p%d", i)), AutoAssign: s.rng.Intn(5) > 0, AvoidBuggyIPs: s.rng.Intn(3) == 0}
		switch s.rng.Intn(6) {
		case 0:
			pinnedTo("prod")(&pools[i])
		case 1:
			pinnedToLabel("tier=front")(&pools[i])
		case 2:
			pinnedToLabel("tier=back", "test")(&pools[i])
		}
	}
	for _, at := range s.rng.Perm(len(ground)) {
		// Some are dealt to nobody.
		if i := s.rng.Intn(len(pools) + 1); i < len(pools) {
			pools[i].Ranges = append(pools[i].Ranges, ground[at])
		}
	}
	s.rng.Shuffle(len(pools), func(i, j int) { pools[i], pools[j] = pools[j], pools[i] })
	return pools
}

// text words a service for the story of a failure.
func text(svc lb.Service) string {
	return fmt.Sprintf("%s created %d, %s %s, holds %s, asks for %+v, ports %v local %t %q labels %v", svc.Key, svc.Created.Unix(),
		svc.FamilyPolicy, lb.Join(svc.ClusterIPs), lb.Join(svc.Held), svc.Request, svc.Ports, svc.LocalTraffic, svc.PodSelector, svc.Labels)
}
