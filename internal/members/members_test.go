package members

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"
)

const testPort = 27946

// patience is how long a test waits for what should take a fraction of it.
const patience = 30 * time.Second

// lan is a set of loopback addresses that belong to one test alone.
type lan struct {
	net   byte
	nodes int
}

func (l *lan) addr(node int) string { return fmt.Sprintf("127.46.%d.%d", l.net, node) }

// discover lists the addresses of all nodes, as the pods of a DaemonSet would.
func (l *lan) discover(context.Context) ([]string, error) {
	var out []string
	for node := 1; node <= l.nodes; node++ {
		out = append(out, l.addr(node))
	}
	return out, nil
}

func (l *lan) config(node int) Config {
	return Config{NodeName: fmt.Sprintf("node-%d", node), BindAddr: l.addr(node), BindPort: testPort, SecretKey: []byte("secret")}
}

// start starts a member, and returns what stops it.
func (l *lan) start(t *testing.T, cfg Config) (*Members, func()) {
	t.Helper()
	m := l.member(t, cfg)
	return m, run(t, m)
}

// member is one that is not started yet.
func (l *lan) member(t *testing.T, cfg Config) *Members {
	t.Helper()
	m, err := New(log.NewNopLogger(), cfg, l.discover)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run starts a member, and returns what stops it.
func run(t *testing.T, m *Members) func() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	stop := func() {
		cancel()
		if err, ok := <-ended; ok && err != nil {
			t.Errorf("Start: %v", err)
		}
		close(ended)
	}
	stopOnce := func() {
		if ctx.Err() == nil {
			stop()
		}
	}
	t.Cleanup(stopOnce)
	return stopOnce
}

// wait waits until m sees these members alive.
func wait(t *testing.T, m *Members, want ...string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		got := names(m)
		if slices.Equal(got, want) {
			return
		}
		select {
		case <-m.Changed():
		case <-deadline:
			t.Fatalf("alive are %v, want %v", got, want)
		}
	}
}

func names(m *Members) []string {
	var out []string
	for _, member := range m.Alive() {
		out = append(out, member.Name)
	}
	return out
}

func TestMembersFindEachOtherAndLeave(t *testing.T) {
	t.Parallel()
	l := &lan{net: 1, nodes: 3}
	m1, _ := l.start(t, l.config(1))
	wait(t, m1, "node-1")
	m2, stop2 := l.start(t, l.config(2))
	m3, _ := l.start(t, l.config(3))
	for _, m := range []*Members{m1, m2, m3} {
		wait(t, m, "node-1", "node-2", "node-3")
	}
	stop2()
	for _, m := range []*Members{m1, m3} {
		wait(t, m, "node-1", "node-3")
		if d := m.Departure("node-2"); !d.Left {
			t.Errorf("departure of who has left: %+v", d)
		}
	}
	if d := m1.Departure("node-9"); d != (Departure{}) {
		t.Errorf("departure of who never was there: %+v", d)
	}
}

func TestNobodyIsAliveBeforeStart(t *testing.T) {
	t.Parallel()
	l := &lan{net: 2, nodes: 1}
	m, err := New(log.NewNopLogger(), l.config(1), l.discover)
	if err != nil {
		t.Fatal(err)
	}
	if m.Ready() || len(m.Alive()) != 0 {
		t.Errorf("ready %v, alive %v", m.Ready(), m.Alive())
	}
}

func TestReadyThoughNobodyElseAnswers(t *testing.T) {
	t.Parallel()
	l := &lan{net: 3, nodes: 9}
	m, _ := l.start(t, l.config(1))
	for deadline := time.Now().Add(patience); !m.Ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not ready")
		}
	}
}

// A member that runs other software carries no metadata of ours. It is also
// one that can be made to die without leaving.
func TestDeathOfAnotherSoftwareIsNoticed(t *testing.T) {
	t.Parallel()
	l := &lan{net: 4, nodes: 2}
	m, _ := l.start(t, l.config(1))
	mc, err := l.config(2).memberlistConfig()
	if err != nil {
		t.Fatal(err)
	}
	mc.Logger = newLogAdapter(log.NewNopLogger())
	other, err := memberlist.Create(mc)
	if err != nil {
		t.Fatal(err)
	}
	m.Rejoin()
	wait(t, m, "node-1", "node-2")
	if member := m.Alive()[1]; !member.Usable {
		t.Errorf("%+v is not usable", member)
	}
	seen := time.Now()
	awaitProbe(t, m, "node-2", seen)
	if err := other.Shutdown(); err != nil {
		t.Fatal(err)
	}
	died := time.Now()
	wait(t, m, "node-1")
	if d := m.Departure("node-2"); d.Left || d.LastAlive.Before(seen) || d.LastAlive.After(died.Add(time.Second)) {
		t.Errorf("departure of who was seen at %s and died at %s: %+v", seen, died, d)
	}
}

// awaitProbe waits until a member has answered a probe after a moment.
func awaitProbe(t *testing.T, m *Members, member string, after time.Time) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !m.Departure(member).LastAlive.After(after) {
		if time.Now().After(deadline) {
			t.Fatalf("%s has answered no probe", member)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A ring that was split is whole again without anybody's asking: who lost a member looks
// for it. Here the other one comes back as one that looks for nobody.
func TestWhoIsLostIsLookedFor(t *testing.T) {
	t.Parallel()
	l := &lan{net: 9, nodes: 2}
	m, _ := l.start(t, l.config(1))
	for range 2 {
		mc, err := l.config(2).memberlistConfig()
		if err != nil {
			t.Fatal(err)
		}
		mc.Logger = newLogAdapter(log.NewNopLogger())
		other, err := memberlist.Create(mc)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, m, "node-1", "node-2")
		if err := other.Shutdown(); err != nil {
			t.Fatal(err)
		}
		wait(t, m, "node-1")
	}
}

func TestAnotherKeyDoesNotJoin(t *testing.T) {
	t.Parallel()
	l := &lan{net: 5, nodes: 2}
	m1, _ := l.start(t, l.config(1))
	cfg := l.config(2)
	cfg.SecretKey = []byte("another")
	m2, _ := l.start(t, cfg)
	for deadline := time.Now().Add(patience); !m1.Ready() || !m2.Ready(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not ready")
		}
	}
	if diff := cmp.Diff([][]string{{"node-1"}, {"node-2"}}, [][]string{names(m1), names(m2)}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOthersLearnThatAMemberIsUnusable(t *testing.T) {
	t.Parallel()
	l := &lan{net: 6, nodes: 3}
	m1, _ := l.start(t, l.config(1))
	m2 := l.member(t, l.config(2))
	m2.SetLinked(false) // before the start: known from the first moment
	run(t, m2)
	waitUsable(t, m1, 2, false)
	linked := time.Now()
	m2.SetLinked(true)
	tellOnceUsable(t, m2)
	waitUsable(t, m1, 2, true)
	if took := time.Since(linked); took < recovery {
		t.Errorf("the member was usable %s after its link came back, and has others that stand in for %s", took, recovery)
	}
	m2.SetLinked(false)
	if m2.Usable() {
		t.Error("a member without a link takes itself for usable")
	}
	waitUsable(t, m1, 2, false)
}

func TestWhoIsNotPreparedIsNotUsable(t *testing.T) {
	t.Parallel()
	l := &lan{net: 12, nodes: 2}
	m1, _ := l.start(t, l.config(1))
	m2 := l.member(t, l.config(2))
	if !m2.SetPrepared(false) || m2.SetPrepared(false) {
		t.Error("what is news once is news once")
	}
	run(t, m2)
	waitUsable(t, m1, 2, false)
	m2.SetPrepared(true)
	// What else there is to tell does not give it away.
	m2.SetUnlinked([]string{"eth1"})
	waitMember(t, m1, 2, "lacks eth1 and is not usable", func(o Member) bool { return len(o.Unlinked) == 1 && !o.Usable })
	tellOnceUsable(t, m2)
	waitUsable(t, m1, 2, true)
}

func TestOthersLearnWhichLinksAMemberLacks(t *testing.T) {
	t.Parallel()
	l := &lan{net: 13, nodes: 2}
	m1, _ := l.start(t, l.config(1))
	m2 := l.member(t, l.config(2))
	m2.SetUnlinked([]string{"eth1"}) // before the start: known from the first moment
	run(t, m2)
	lacks := func(want ...string) {
		t.Helper()
		waitMember(t, m1, 2, fmt.Sprintf("lacks %v", want), func(o Member) bool { return o.Usable && slices.Equal(o.Unlinked, want) })
	}
	lacks("eth1")
	m2.SetUnlinked([]string{"eth1", "eth2"})
	lacks("eth1", "eth2")
	m2.SetUnlinked(nil)
	lacks()
}

func TestWhatAMemberTellsFitsIntoGossip(t *testing.T) {
	r := newRing(log.NewNopLogger())
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("interface%05d", i))
	}
	told := tellable(names)
	if len(told) < 20 || !slices.Equal(told, names[:len(told)]) {
		t.Errorf("it tells of %v", told)
	}
	r.unlinked.Store(&told)
	for _, linked := range []bool{true, false} { // whichever it is: what is told of links is the same
		r.linked.Store(linked)
		text := r.NodeMeta(memberlist.MetaMaxSize)
		if got := parseMeta(text); len(text) > memberlist.MetaMaxSize || got.Unusable == linked || !slices.Equal(got.Unlinked, told) {
			t.Errorf("with linked %t it tells, in %d bytes, %+v", linked, len(text), got)
		}
	}
	if few := names[:3]; !slices.Equal(tellable(few), few) || len(tellable(nil)) != 0 {
		t.Error("few links are not all told")
	}
}

// A member that counted links of its own that the others do not know of would leave to them
// what they leave to it.
func TestAMemberCountsTheLinksThatTheOthersKnowOf(t *testing.T) {
	t.Parallel()
	l := &lan{net: 14, nodes: 2}
	m1, _ := l.start(t, l.config(1))
	m2 := l.member(t, l.config(2))
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("interface%05d", i))
	}
	told := m2.SetUnlinked(names)
	run(t, m2)
	waitMember(t, m1, 2, fmt.Sprintf("lacks %v", told), func(o Member) bool { return slices.Equal(o.Unlinked, told) })
}

func TestWhoIsAloneIsUsableAsSoonAsItHasALink(t *testing.T) {
	t.Parallel()
	l := &lan{net: 10, nodes: 2}
	m1 := l.member(t, l.config(1))
	m1.recovery = time.Hour
	run(t, m1)
	m2, _ := l.start(t, l.config(2))
	m1.SetLinked(false)
	m2.SetLinked(false)
	waitUsable(t, m1, 2, false)
	waitUsable(t, m2, 1, false)
	m1.SetLinked(true)
	tellOnceUsable(t, m1)
	waitUsable(t, m2, 1, true)
}

// tellOnceUsable does what a speaker does: it looks at what there is to announce, and tells the others then.
func tellOnceUsable(t *testing.T, m *Members) {
	t.Helper()
	for deadline := time.Now().Add(patience); !m.Usable(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the member is not usable")
		}
	}
	if !m.Withheld() {
		t.Error("the others hear of it before the member answers for anything")
	}
	m.Tell()
}

func waitUsable(t *testing.T, m *Members, node int, want bool) {
	t.Helper()
	waitMember(t, m, node, fmt.Sprintf("is usable: %v", want), func(o Member) bool { return o.Usable == want })
}

// waitMember waits until what m sees of a node holds.
func waitMember(t *testing.T, m *Members, node int, what string, holds func(Member) bool) {
	t.Helper()
	deadline := time.After(patience)
	name := fmt.Sprintf("node-%d", node)
	for {
		if slices.ContainsFunc(m.Alive(), func(o Member) bool { return o.Name == name && holds(o) }) {
			return
		}
		select {
		case <-m.Changed():
		case <-deadline:
			t.Fatalf("alive are %+v, want that %s %s", m.Alive(), name, what)
		}
	}
}

func TestStartSaysWhereItCannotListen(t *testing.T) {
	t.Parallel()
	l := &lan{net: 7, nodes: 1}
	cfg := l.config(1)
	cfg.BindAddr = "192.0.2.1" // an address of nobody
	m, err := New(log.NewNopLogger(), cfg, l.discover)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "192.0.2.1 port 27946") {
		t.Errorf("got error %v", err)
	}
}

func TestDiscoveryThatFailsIsRepeated(t *testing.T) {
	t.Parallel()
	l := &lan{net: 8, nodes: 2}
	m1, _ := l.start(t, l.config(1))
	calls := 0
	m2, err := New(log.NewNopLogger(), l.config(2), func(ctx context.Context) ([]string, error) {
		if calls++; calls == 1 {
			return nil, fmt.Errorf("list pods: no answer")
		}
		return l.discover(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m2.Start(ctx) }()
	defer func() { cancel(); <-ended }()
	wait(t, m1, "node-1", "node-2")
}

// The API server may be away while nodes come and go.
func TestWhoWasKnownIsLookedForThoughDiscoveryFails(t *testing.T) {
	t.Parallel()
	l := &lan{net: 11, nodes: 2}
	var away atomic.Bool
	m, err := New(log.NewNopLogger(), l.config(1), func(ctx context.Context) ([]string, error) {
		if away.Load() {
			return nil, errors.New("list pods: no answer")
		}
		return l.discover(ctx)
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Start(ctx) }()
	defer func() { cancel(); <-ended }()
	for range 2 {
		mc, err := l.config(2).memberlistConfig()
		if err != nil {
			t.Fatal(err)
		}
		mc.Logger = newLogAdapter(log.NewNopLogger())
		other, err := memberlist.Create(mc) // which looks for nobody
		if err != nil {
			t.Fatal(err)
		}
		m.Rejoin()
		wait(t, m, "node-1", "node-2")
		away.Store(true)
		m.Rejoin()
		if err := other.Shutdown(); err != nil {
			t.Fatal(err)
		}
		wait(t, m, "node-1")
	}
}

func TestParseAddresses(t *testing.T) {
	got, err := parseAddresses([]string{"192.0.2.1", "", "2001:db8::1", "192.0.2.2:99", "[2001:db8::2]:99", "::ffff:192.0.2.3", "node-a"}, 7946)
	if err == nil || !strings.Contains(err.Error(), "node-a") {
		t.Errorf("got error %v, want one about node-a", err)
	}
	want := []netip.AddrPort{
		netip.MustParseAddrPort("192.0.2.1:7946"),
		netip.MustParseAddrPort("[2001:db8::1]:7946"),
		netip.MustParseAddrPort("192.0.2.2:99"),
		netip.MustParseAddrPort("[2001:db8::2]:99"),
		netip.MustParseAddrPort("192.0.2.3:7946"),
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMemberlistLogsThroughOurs(t *testing.T) {
	var out strings.Builder
	l := newLogAdapter(log.NewLogfmtLogger(&out))
	l.Printf("[DEBUG] memberlist: Stream connection from=%s", "192.0.2.1:99")
	l.Printf("[ERR] memberlist: Push/Pull with %s failed", "node-a")
	want := `level=debug msg="memberlist says" text="Stream connection from=192.0.2.1:99"
level=info msg="memberlist says" text="Push/Pull with node-a failed"
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
