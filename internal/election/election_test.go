package election_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/election"
	"github.com/herald-lb/herald/internal/lb"
)

func candidates(nodes ...string) []election.Candidate {
	var cs []election.Candidate
	for _, n := range nodes {
		cs = append(cs, election.Candidate{Node: lb.NodeName(n)})
	}
	return cs
}

// The published orders: clusters in which other speakers of the same API still run
// agree with Herald about the owner only if these hold.
func TestRankFollowsThePublishedVectors(t *testing.T) {
	kind := []string{"kind-control-plane", "kind-worker", "kind-worker2"}
	kindOrder := []lb.NodeName{"kind-worker2", "kind-worker", "kind-control-plane"}
	for _, tc := range []struct {
		addr  string
		nodes []string
		want  []lb.NodeName
	}{
		{"10.0.0.1", []string{"node-a", "node-b", "node-c"}, []lb.NodeName{"node-b", "node-a", "node-c"}},
		{"10.0.0.2", []string{"node-a", "node-b", "node-c"}, []lb.NodeName{"node-b", "node-c", "node-a"}},
		{"10.20.30.1", []string{"node-a", "node-b"}, []lb.NodeName{"node-b", "node-a"}},
		{"10.20.30.1", []string{"edge-a", "edge-b"}, []lb.NodeName{"edge-b", "edge-a"}},
		{"10.0.0.1", kind, kindOrder},
		{"192.168.10.1", kind, kindOrder},
		{"172.18.255.200", kind, kindOrder},
	} {
		t.Run(fmt.Sprint(tc.addr, tc.nodes), func(t *testing.T) {
			got := election.Rank(netip.MustParseAddr(tc.addr), candidates(tc.nodes...))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAHigherScoreGoesFirst(t *testing.T) {
	cs := candidates("node-a", "node-b", "node-c") // b, a, c by hash
	cs[2].Score = 10
	got := election.Rank(netip.MustParseAddr("10.0.0.1"), cs)
	if want := []lb.NodeName{"node-c", "node-b", "node-a"}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

func TestNoCandidateNoOwner(t *testing.T) {
	if owner, ok := election.Owner(netip.MustParseAddr("10.0.0.1"), nil); ok {
		t.Errorf("owner %q of nobody", owner)
	}
}

func TestOwnershipIsStable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		cs := candidates()
		for i := range 1 + rng.IntN(12) {
			cs = append(cs, election.Candidate{Node: lb.NodeName(fmt.Sprintf("node-%d", i)), Score: rng.IntN(3)})
		}
		addr := netip.AddrFrom4([4]byte{10, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
		ranked := election.Rank(addr, cs)

		rng.Shuffle(len(cs), func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
		if again := election.Rank(addr, cs); !slices.Equal(ranked, again) {
			t.Fatalf("the order of input changed the ranking: %v, then %v", ranked, again)
		}
		if owner, _ := election.Owner(addr, cs); owner != ranked[0] {
			t.Fatalf("Owner says %s, Rank says %s", owner, ranked[0])
		}

		gone := rng.IntN(len(cs))
		lost := cs[gone].Node
		without := election.Rank(addr, slices.Delete(slices.Clone(cs), gone, gone+1))
		rest := slices.DeleteFunc(slices.Clone(ranked), func(n lb.NodeName) bool { return n == lost })
		if !slices.Equal(without, rest) {
			t.Fatalf("the loss of %s moved others: %v, then %v", lost, ranked, without)
		}
	}
}

func BenchmarkOwnerAmong100(b *testing.B) {
	cs := candidates()
	for i := range 100 {
		cs = append(cs, election.Candidate{Node: lb.NodeName(fmt.Sprintf("worker-%03d.example.com", i))})
	}
	addr := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		election.Owner(addr, cs)
	}
}
