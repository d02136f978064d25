package ipam_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/lb"
)

// cluster does to a ledger what the controller does: it keeps the services and
// their status, and writes decisions there.
type cluster struct {
	ledger     *ipam.Ledger
	pools      []lb.Pool
	incomplete bool
	services   map[lb.ServiceKey]lb.Service
	// last are the latest decisions.
	last map[lb.ServiceKey]lb.Decision
}

func newCluster() *cluster {
	return &cluster{
		ledger:   ipam.NewLedger(),
		services: map[lb.ServiceKey]lb.Service{},
		last:     map[lb.ServiceKey]lb.Decision{},
	}
}

// assign decides a service as it is in the cluster now, and writes its status.
func (c *cluster) assign(svc lb.Service) lb.Decision {
	d := c.ledger.Assign(svc)
	c.write(svc, d)
	return d
}

func (c *cluster) write(svc lb.Service, d lb.Decision) {
	svc.Held, svc.HeldFrom = d.Addresses, d.Pool
	c.services[svc.Key], c.last[svc.Key] = svc, d
}

// wake decides the services that the ledger served on its own, and returns them.
func (c *cluster) wake() []lb.ServiceKey {
	woken := c.ledger.Woken()
	for _, key := range woken {
		c.assign(c.services[key])
	}
	return woken
}

func (c *cluster) release(key lb.ServiceKey) {
	delete(c.services, key)
	delete(c.last, key)
	c.ledger.Release(key)
}

func (c *cluster) setPools(incomplete bool, pools ...lb.Pool) {
	c.pools, c.incomplete = pools, incomplete
	c.ledger.SetPools(pools, incomplete)
}

// restart forgets all but the statuses.
func (c *cluster) restart(order []lb.Service) {
	c.ledger = ipam.NewLedger()
	c.ledger.SetPools(c.pools, c.incomplete)
	c.ledger.Restore(order)
}

// inTurn returns the services in the order in which all of them are assigned:
// holders first, then the oldest first.
func (c *cluster) inTurn() []lb.Service {
	var all []lb.Service
	for _, svc := range c.services {
		all = append(all, svc)
	}
	slices.SortFunc(all, func(a, b lb.Service) int {
		if (len(a.Held) > 0) != (len(b.Held) > 0) {
			return len(b.Held) - len(a.Held)
		}
		return older(a, b)
	})
	return all
}

func older(a, b lb.Service) int {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c
	}
	return a.Key.Compare(b.Key)
}

// describe words a decision as the tables do.
func describe(d lb.Decision) string {
	text := string(d.Reason) + ": " + d.Message
	if _, why, ok := strings.Cut(d.Message, "Failed to allocate IP for"); ok {
		_, why, _ = strings.Cut(why, ": ")
		text = "pending: " + why
	}
	has := lb.Join(d.Addresses) + " from " + string(d.Pool)
	switch {
	case len(d.Addresses) == 0:
	case d.Reason == lb.IPAllocated:
		text = "given " + has
	case d.Reason == lb.IPKept:
		text = "keeps " + has
	default:
		text = "keeps " + has + ", but " + text
	}
	if _, why, ok := strings.Cut(d.Cleared, "may no longer be held: "); ok {
		text += "; lost its own: " + why
	}
	return text
}

// The words of the tables.

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func key(name string) lb.ServiceKey {
	if namespace, name, ok := strings.Cut(name, "/"); ok {
		return lb.ServiceKey{Namespace: namespace, Name: name}
	}
	return lb.ServiceKey{Namespace: "default", Name: name}
}

type serviceOption func(*lb.Service)

// service is an IPv4 service of the namespace default, unless said otherwise.
func service(name string, options ...serviceOption) lb.Service {
	svc := lb.Service{
		Key:          key(name),
		UID:          "uid-" + name,
		ClusterIPs:   addrs("10.96.0.10"),
		FamilyPolicy: lb.SingleStack,
		Ports:        ports("TCP/80"),
	}
	for _, option := range options {
		option(&svc)
	}
	return svc
}

func ports(texts ...string) []lb.Port {
	var all []lb.Port
	for _, text := range texts {
		var p lb.Port
		protocol, number, _ := strings.Cut(text, "/")
		if _, err := fmt.Sscan(number, &p.Number); err != nil {
			panic(err)
		}
		p.Protocol = protocol
		all = append(all, p)
	}
	return all
}

func born(second int) serviceOption {
	return func(s *lb.Service) { s.Created = time.Unix(int64(second), 0) }
}

func uid(uid string) serviceOption { return func(s *lb.Service) { s.UID = uid } }

func clusterIPs(policy lb.FamilyPolicy, texts ...string) serviceOption {
	return func(s *lb.Service) { s.FamilyPolicy, s.ClusterIPs = policy, addrs(texts...) }
}

func ipv6() serviceOption { return clusterIPs(lb.SingleStack, "fd00::10") }

func dual(policy lb.FamilyPolicy) serviceOption { return clusterIPs(policy, "10.96.0.10", "fd00::10") }

func asks(texts ...string) serviceOption {
	return func(s *lb.Service) { s.Request.Addresses = addrs(texts...) }
}

func asksPool(name lb.PoolName) serviceOption {
	return func(s *lb.Service) { s.Request.Pool = name }
}

func asksNonsense() serviceOption {
	return func(s *lb.Service) { s.Request.Invalid = "the request is malformed" }
}

func shares(sharingKey string, on ...string) serviceOption {
	return func(s *lb.Service) {
		s.Request.SharingKey, s.Request.HasSharingKey, s.Ports = sharingKey, true, ports(on...)
	}
}

func local(selector string) serviceOption {
	return func(s *lb.Service) { s.LocalTraffic, s.PodSelector = true, selector }
}

func pods(selector string) serviceOption {
	return func(s *lb.Service) { s.PodSelector = selector }
}

func tier(name string) serviceOption {
	return func(s *lb.Service) { s.Labels = map[string]string{"tier": name} }
}

func holds(texts ...string) serviceOption {
	return func(s *lb.Service) { s.Held = addrs(texts...) }
}

// holdsFromLost has an address that was drawn from the pool lost, as its annotation says.
func holdsFromLost(text string) serviceOption {
	return func(s *lb.Service) { s.Held, s.HeldFrom = addrs(text), "lost" }
}

type poolOption func(*lb.Pool)

// pool hands out ranges such as "192.0.2.1-192.0.2.9", or single addresses.
func pool(name lb.PoolName, ranges ...string) lb.Pool {
	p := lb.Pool{Name: name, AutoAssign: true}
	for _, text := range ranges {
		first, last, ok := strings.Cut(text, "-")
		if !ok {
			last = first
		}
		p.Ranges = append(p.Ranges, lb.Range{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)})
	}
	return p
}

func with(p lb.Pool, options ...poolOption) lb.Pool {
	for _, option := range options {
		option(&p)
	}
	return p
}

func onRequestOnly(p *lb.Pool) { p.AutoAssign = false }

func avoidingBuggyIPs(p *lb.Pool) { p.AvoidBuggyIPs = true }

func pinnedToNobodyInParticular(p *lb.Pool) { p.Pinning = &lb.Pinning{AnyNamespace: true} }

func pinnedTo(namespaces ...string) poolOption {
	return func(p *lb.Pool) { p.Pinning = &lb.Pinning{Namespaces: namespaces} }
}

func pinnedToLabel(selector string, namespaces ...string) poolOption {
	return func(p *lb.Pool) {
		p.Pinning = &lb.Pinning{
			AnyNamespace: len(namespaces) == 0, Namespaces: namespaces,
			ServiceSelectors: lb.Selectors{lb.NewSelector(mustSelect(selector))},
		}
	}
}

func mustSelect(text string) labels.Selector {
	s, err := labels.Parse(text)
	if err != nil {
		panic(err)
	}
	return s
}

// A step is one thing that happens in a story, with what is expected of it.
type step func(t *testing.T, c *cluster)

func pools(pools ...lb.Pool) step {
	return func(_ *testing.T, c *cluster) { c.setPools(false, pools...) }
}

// poolsAndAnInvalidOne are the pools that can be read while another cannot.
func poolsAndAnInvalidOne(pools ...lb.Pool) step {
	return func(_ *testing.T, c *cluster) { c.setPools(true, pools...) }
}

// assign decides a service. What it holds is what its status shows, unless it says.
func assign(svc lb.Service, want string) step {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		if before, ok := c.services[svc.Key]; ok && svc.Held == nil && before.UID == svc.UID {
			svc.Held, svc.HeldFrom = before.Held, before.HeldFrom
		}
		if got := describe(c.assign(svc)); got != want {
			t.Errorf("%s\n got %s\nwant %s", svc.Key, got, want)
		}
	}
}

// assignUnwritten decides a service whose status could not be written.
func assignUnwritten(svc lb.Service, want string) step {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		if got := describe(c.ledger.Assign(svc)); got != want {
			t.Errorf("%s\n got %s\nwant %s", svc.Key, got, want)
		}
		c.services[svc.Key] = svc
	}
}

func release(name string) step {
	return func(_ *testing.T, c *cluster) { c.release(key(name)) }
}

// restart rebuilds the ledger from what these services hold.
func restart(services ...lb.Service) step {
	return func(_ *testing.T, c *cluster) { c.restart(services) }
}

// woken expects these to have been served on their own, in this order.
func woken(names ...string) step {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		var got []string
		for _, k := range c.wake() {
			got = append(got, strings.TrimPrefix(k.String(), "default/"))
		}
		if !slices.Equal(got, names) {
			t.Errorf("woken: got %q, want %q", got, names)
		}
	}
}

// is expects the latest decision on a service.
func is(name, want string) step {
	return func(t *testing.T, c *cluster) {
		t.Helper()
		if got := describe(c.last[key(name)]); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
}

// story is a test case: what happens, one step after the other.
type story struct {
	name  string
	steps []step
}

func tell(t *testing.T, stories []story) {
	t.Helper()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			c := newCluster()
			for _, step := range s.steps {
				step(t, c)
			}
		})
	}
}
