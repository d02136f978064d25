package layer2

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

// manyAnnouncements returns n announcements, one of them for each test address.
func manyAnnouncements(n int) []lb.Announcement {
	out := []lb.Announcement{{Address: vip4}, {Address: vip6}}
	for i := len(out); i < n; i++ {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		out = append(out, lb.Announcement{Address: addr})
	}
	slices.SortFunc(out, func(a, b lb.Announcement) int { return a.Address.Compare(b.Address) })
	return out
}

// TestTableSharesWhatDidNotChange holds the cost of a change down.
func TestTableSharesWhatDidNotChange(t *testing.T) {
	all := manyAnnouncements(10_000)
	before := new(table).with(all)
	for name, announcements := range map[string][]lb.Announcement{
		"one less":  slices.Delete(slices.Clone(all), 5000, 5001),
		"one more":  append(slices.Clone(all), lb.Announcement{Address: netip.MustParseAddr("2001:db8::ffff")}),
		"one other": slices.Concat(all[:5000], []lb.Announcement{{Address: all[5000].Address, Links: []string{"eth1"}}}, all[5001:]),
	} {
		after, shared := before.with(announcements), 0
		for _, p := range after.pages {
			if slices.Contains(before.pages, p) {
				shared++
			}
		}
		if shared != len(before.pages)-1 || after.len() != len(announcements) {
			t.Errorf("%s: %d of %d pages are shared, of %d addresses", name, shared, len(before.pages), after.len())
		}
	}
}

func largeTable() *table { return new(table).with(manyAnnouncements(10_000)) }

func TestTableKeepsWhatDidNotChange(t *testing.T) {
	before := testTable()
	if after := before.with([]lb.Announcement{
		{Address: eth1Only6, Links: []string{"eth1"}},
		{Address: vip6},
		{Address: vip4},
		{Address: eth1Only4, Links: []string{"eth1"}},
	}); after != before {
		t.Error("the same announcements in another order made another table")
	}
	after := before.with([]lb.Announcement{
		{Address: vip4},
		{Address: eth1Only4, Links: []string{"eth0", "eth1"}},
		{Address: foreign4},
	})
	if after.find(vip4) != before.find(vip4) {
		t.Error("an announcement that did not change has a new entry")
	}
	was, is := before.find(eth1Only4), after.find(eth1Only4)
	if was == is || was.tally != is.tally || !is.Contains("eth0") {
		t.Error("a change of links must make a new entry with the same tally")
	}
	again := after.with(nil).with([]lb.Announcement{{Address: vip4}})
	if again.find(vip4).tally == before.find(vip4).tally {
		t.Error("an address that was gained anew has the old tally")
	}
}

// TestTableAgainstMaps compares tables with plain maps over random histories, on one page
// and on several.
func TestTableAgainstMaps(t *testing.T) {
	for universe, histories := range map[int]int{12: 2000, 500: 100} {
		t.Run(fmt.Sprintf("%d addresses", universe), func(t *testing.T) { compareWithMaps(t, universe, histories) })
	}
}

func compareWithMaps(t *testing.T, universe, histories int) {
	random := rand.New(rand.NewPCG(1, 2))
	onEth0 := func(e *entry) bool { return e.Contains("eth0") }
	current, model := new(table), map[netip.Addr]lb.Announcement{}
	for range histories {
		next := map[netip.Addr]lb.Announcement{}
		var announcements []lb.Announcement
		for i := range universe {
			an := lb.Announcement{Address: netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})}
			switch random.IntN(6) {
			case 0:
				continue
			case 1:
				an.Links = []string{"eth1"}
			case 2:
				an.Links = []string{"eth0", "eth1"}
			}
			next[an.Address] = an
			announcements = append(announcements, an)
		}
		random.Shuffle(len(announcements), func(i, j int) {
			announcements[i], announcements[j] = announcements[j], announcements[i]
		})
		after := current.with(announcements)

		permitted := func(m map[netip.Addr]lb.Announcement, addr netip.Addr) bool {
			an, ok := m[addr]
			return ok && an.Contains("eth0")
		}
		var gained, lost, changed []string
		for i := range universe {
			addr := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
			was, is := model[addr], next[addr]
			if found := after.find(addr); (found != nil) != is.Address.IsValid() || found != nil && !found.Equal(is) {
				t.Fatalf("find(%s) is %v, want %v", addr, found, is)
			}
			if !permitted(model, addr) && permitted(next, addr) {
				gained = append(gained, addr.String())
			}
			if permitted(model, addr) && !permitted(next, addr) {
				lost = append(lost, addr.String())
			}
			if is.Address.IsValid() && !was.Equal(is) {
				changed = append(changed, addr.String())
			}
		}
		want := [][]string{gained, lost, changed}
		got := [][]string{addresses(after.only(current, onEth0)), addresses(current.only(after, onEth0)), addresses(after.changedSince(current))}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("gained, lost, changed (-want +got):\n%s", diff)
		}
		current, model = after, next
	}
}

func addresses(entries []*entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Address.String())
	}
	return out
}

func BenchmarkSetChangingOne(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("of %d", n), func(b *testing.B) {
			all := manyAnnouncements(n)
			less := slices.Delete(slices.Clone(all), n/2, n/2+1)
			a := New(nil, Config{})
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%2 == 0 {
					a.Set(nil, all)
				} else {
					a.Set(nil, less)
				}
			}
		})
	}
}

func BenchmarkSetChangingNothing(b *testing.B) {
	all := manyAnnouncements(10_000)
	a := New(nil, Config{})
	a.Set(nil, all)
	b.ReportAllocs()
	for b.Loop() {
		a.Set(nil, all)
	}
}
