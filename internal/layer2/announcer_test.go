package layer2

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

// world is an Announcer that runs on a segment in memory, in a bubble of synctest.
type world struct {
	*Announcer
	*segment
	log  *strings.Builder
	stop func()
}

// inWorld runs a test in a bubble, with an Announcer that was started.
func inWorld(t *testing.T, refresh time.Duration, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{segment: newSegment(), log: &strings.Builder{}}
		w.Announcer = New(log.NewLogfmtLogger(log.NewSyncWriter(w.log)), Config{Refresh: refresh, Segment: w.segment})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- w.Start(ctx)
			close(ended)
		}()
		w.stop = func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Start: %v", err)
			}
		}
		test(t, w)
		w.stop()
		if open := w.openNames(); len(open) > 0 {
			t.Errorf("still open: %v", open)
		}
	})
}

// set is Set, and waits until all is done that does not take time.
func (w *world) set(links []lb.Link, announcements ...lb.Announcement) {
	w.Set(links, announcements)
	synctest.Wait()
}

func device(name string, index int) lb.Link {
	return lb.Link{
		Name: name, Index: index, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(index)}, ARP: true, NDP: true,
		Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")},
	}
}

func announcement(addr string, links ...string) lb.Announcement {
	return lb.Announcement{Address: netip.MustParseAddr(addr), Links: links}
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBurst(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		w.set([]lb.Link{device("eth0", 1)}, announcement("192.0.2.1"), announcement("2001:db8::1"))
		got := w.take(&w.sent)
		if len(got) != 3 {
			t.Errorf("%d frames at once, want 3", len(got))
		}
		time.Sleep(time.Hour)
		var want []string
		for _, at := range []string{"0s", "100ms", "1.1s", "2.2s", "3.5s", "5s"} {
			want = append(want,
				at+" ARP eth0: who-has 192.0.2.1 tell 192.0.2.1",
				at+" ARP eth0: 192.0.2.1 is-at 02:00:00:00:00:01",
				at+" NDP eth0: advertise 2001:db8::1 to ff02::1")
		}
		expect(t, append(got, w.take(&w.sent)...), want...)
	})
}

// Once for each gain, however many links, protocols and frames there are.
func TestAGainIsToldWhenItsFirstFrameWasSent(t *testing.T) {
	var told []string
	begin := time.Time{}
	gained := func(a netip.Addr) { told = append(told, fmt.Sprintf("%s after %s", a, time.Since(begin))) }
	synctest.Test(t, func(t *testing.T) {
		begin = time.Now()
		segment := newSegment()
		a := New(log.NewNopLogger(), Config{Refresh: time.Minute, Segment: segment, Gained: gained})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Start(ctx) }()
		a.Set([]lb.Link{device("eth0", 1)}, []lb.Announcement{announcement("192.0.2.1"), announcement("2001:db8::1")})
		time.Sleep(time.Hour)
		a.Set([]lb.Link{device("eth0", 1), device("eth1", 2)}, []lb.Announcement{announcement("192.0.2.1")})
		time.Sleep(time.Hour)
		a.Set([]lb.Link{device("eth0", 1)}, nil)
		a.Set([]lb.Link{device("eth0", 1)}, []lb.Announcement{announcement("192.0.2.1")})
		time.Sleep(time.Hour)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	expect(t, told, "192.0.2.1 after 0s", "2001:db8::1 after 0s", "192.0.2.1 after 2h0m0s")
}

func TestNothingIsSentWhereNothingIsGained(t *testing.T) {
	tests := map[string]func(w *world, links []lb.Link){
		"when the same is set again": func(w *world, links []lb.Link) {
			w.set(links, announcement("192.0.2.1"), announcement("2001:db8::1"))
		},
		"when an address is withdrawn": func(w *world, links []lb.Link) {
			w.set(links, announcement("192.0.2.1"))
		},
		"when all links are named instead": func(w *world, links []lb.Link) {
			w.set(links, announcement("192.0.2.1", "eth0"), announcement("2001:db8::1", "eth0"))
		},
		"when a link gets another address": func(w *world, links []lb.Link) {
			links = slices.Clone(links)
			links[0].Addrs = append(slices.Clone(links[0].Addrs), netip.MustParsePrefix("192.0.2.9/24"))
			w.set(links, announcement("192.0.2.1"), announcement("2001:db8::1"))
		},
		"when another link becomes unusable": func(w *world, links []lb.Link) {
			w.set(links[:1], announcement("192.0.2.1"), announcement("2001:db8::1"))
		},
		"when the Announcer stops": func(w *world, _ []lb.Link) { w.stop() },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 0, func(t *testing.T, w *world) {
				links := []lb.Link{device("eth0", 1), device("eth1", 2)}
				w.set(links, announcement("192.0.2.1"), announcement("2001:db8::1"))
				time.Sleep(time.Minute)
				w.take(&w.sent)
				change(w, links)
				time.Sleep(time.Minute)
				expect(t, w.take(&w.sent))
			})
		})
	}
}

func TestBurstOnlyWhereGained(t *testing.T) {
	eth0, eth1 := device("eth0", 1), device("eth1", 2)
	tests := map[string]struct {
		before, after []lb.Link
		was, is       []lb.Announcement
		want          []string
	}{
		"another address": {
			before: []lb.Link{eth0, eth1}, after: []lb.Link{eth0, eth1},
			was: []lb.Announcement{announcement("192.0.2.1")}, is: []lb.Announcement{announcement("192.0.2.1"), announcement("192.0.2.2")},
			want: []string{"ARP eth0: 192.0.2.2", "ARP eth1: 192.0.2.2"},
		},
		"another link permitted": {
			before: []lb.Link{eth0, eth1}, after: []lb.Link{eth0, eth1},
			was: []lb.Announcement{announcement("192.0.2.1", "eth0")}, is: []lb.Announcement{announcement("192.0.2.1", "eth0", "eth1")},
			want: []string{"ARP eth1: 192.0.2.1"},
		},
		"another link usable": {
			before: []lb.Link{eth0}, after: []lb.Link{eth0, eth1},
			was: []lb.Announcement{announcement("192.0.2.1"), announcement("2001:db8::1", "eth0")}, is: []lb.Announcement{announcement("192.0.2.1"), announcement("2001:db8::1", "eth0")},
			want: []string{"ARP eth1: 192.0.2.1"},
		},
		"a link with another MAC": {
			before: []lb.Link{eth0}, after: []lb.Link{device("eth0", 3)},
			was: []lb.Announcement{announcement("192.0.2.1")}, is: []lb.Announcement{announcement("192.0.2.1")},
			want: []string{"ARP eth0: 192.0.2.1"},
		},
		"a link with a name that is permitted": {
			before: []lb.Link{device("eth7", 1)}, after: []lb.Link{eth0},
			was: []lb.Announcement{announcement("192.0.2.1", "eth0")}, is: []lb.Announcement{announcement("192.0.2.1", "eth0")},
			want: []string{"ARP eth0: 192.0.2.1"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 0, func(t *testing.T, w *world) {
				w.set(tt.before, tt.was...)
				time.Sleep(time.Minute)
				w.take(&w.sent)
				w.set(tt.after, tt.is...)
				var got []string
				for _, line := range w.take(&w.sent) {
					if before, _, ok := strings.Cut(line, " is-at"); ok {
						got = append(got, strings.TrimPrefix(before, "1m0s "))
					}
				}
				expect(t, got, tt.want...)
			})
		})
	}
}

func TestBurstEndsWithTheAnnouncement(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		links := []lb.Link{device("eth0", 1)}
		w.set(links, announcement("2001:db8::1"))
		time.Sleep(time.Second)
		w.take(&w.sent)
		w.set(links)
		time.Sleep(time.Second)
		expect(t, w.take(&w.sent))
		w.set(links, announcement("2001:db8::1")) // gained anew: a burst of its own, and the old one stays ended
		time.Sleep(2 * time.Second)
		expect(t, w.take(&w.sent),
			"2s NDP eth0: advertise 2001:db8::1 to ff02::1",
			"2.1s NDP eth0: advertise 2001:db8::1 to ff02::1",
			"3.1s NDP eth0: advertise 2001:db8::1 to ff02::1")
	})
}

func TestFirstRoundOfAThousandIsSentAtOnce(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		var all []lb.Announcement
		for i := range 1000 {
			all = append(all, announcement(fmt.Sprintf("10.0.%d.%d", i/256, i%256)))
		}
		w.set([]lb.Link{device("eth0", 1)}, all...)
		if got := len(w.take(&w.sent)); got != 2000 {
			t.Errorf("%d frames at once, want 2000", got)
		}
	})
}

func TestRefresh(t *testing.T) {
	inWorld(t, time.Minute, func(t *testing.T, w *world) {
		w.set([]lb.Link{device("eth0", 1)}, announcement("192.0.2.1"), announcement("192.0.2.2"), announcement("2001:db8::1"))
		time.Sleep(time.Minute)
		w.take(&w.sent)
		time.Sleep(time.Hour)
		counts := map[string]int{}
		for _, line := range w.take(&w.sent) {
			_, frame, _ := strings.Cut(line, ": ")
			counts[frame]++
		}
		for _, frame := range []string{"who-has 192.0.2.1 tell 192.0.2.1", "who-has 192.0.2.2 tell 192.0.2.2", "advertise 2001:db8::1 to ff02::1"} {
			if n := counts[frame]; n < 48 || n > 80 {
				t.Errorf("%d times %q in an hour, want about 60", n, frame)
			}
			delete(counts, frame)
		}
		if len(counts) > 0 {
			t.Errorf("also sent: %v", counts)
		}
	})
}

func TestGroups(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		eth0, eth1 := device("eth0", 1), device("eth1", 2)
		one, same, other := announcement("2001:db8::1"), announcement("2001:db8:1::1"), announcement("2001:db8::2", "eth1")
		w.set([]lb.Link{eth0, eth1}, announcement("192.0.2.1"), one, same, other)
		expect(t, w.take(&w.groups),
			"0s NDP eth0: join ff02::1:ff00:1",
			"0s NDP eth1: join ff02::1:ff00:1",
			"0s NDP eth1: join ff02::1:ff00:2")
		w.set([]lb.Link{eth0, eth1}, one) // the group that two needed is needed still
		expect(t, w.take(&w.groups), "0s NDP eth1: leave ff02::1:ff00:2")
		w.set([]lb.Link{eth0}, one)
		w.set([]lb.Link{eth0, eth1}, one) // the link that comes back joins again
		expect(t, w.take(&w.groups), "0s NDP eth1: join ff02::1:ff00:1")
		w.set([]lb.Link{eth0, eth1})
		expect(t, w.take(&w.groups), "0s NDP eth0: leave ff02::1:ff00:1", "0s NDP eth1: leave ff02::1:ff00:1")
	})
}

func TestGroupThatCannotBeJoinedIsTriedAgain(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		w.refuse["ff02::1:ff00:1"] = errors.New("no buffer space available")
		w.set([]lb.Link{device("eth0", 1)}, announcement("2001:db8::1"))
		time.Sleep(time.Minute)
		w.mu.Lock()
		delete(w.refuse, "ff02::1:ff00:1")
		w.mu.Unlock()
		w.take(&w.groups)
		time.Sleep(time.Minute)
		if got := len(w.take(&w.groups)); got != 1 {
			t.Errorf("%d attempts once it would work, want 1", got)
		}
		if got := strings.Count(w.log.String(), "no buffer space"); got != 1 {
			t.Errorf("logged %d times, want once:\n%s", got, w.log)
		}
	})
}

func TestRequestsAreAnsweredAndCounted(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		eth0 := device("eth0", 1)
		w.set([]lb.Link{eth0}, announcement(vip4.String()), announcement(vip6.String()))
		time.Sleep(time.Minute)
		w.take(&w.sent)
		w.conn("ARP eth0").frames <- requestFrame(t, broadcast, client4, vip4)
		w.conn("ARP eth0").frames <- requestFrame(t, broadcast, client4, foreign4)
		w.conn("NDP eth0").frames <- solicitFrame(t, vip6)
		synctest.Wait()
		expect(t, w.take(&w.sent),
			"1m0s ARP eth0: 192.0.2.100 is-at 02:00:00:00:00:01",
			"1m0s NDP eth0: advertise 2001:db8::100 to fe80::2")
		w.set([]lb.Link{eth0}, announcement(vip6.String()))
		w.conn("ARP eth0").frames <- requestFrame(t, broadcast, client4, vip4)
		synctest.Wait()
		expect(t, w.take(&w.sent))

		got := w.Stats()
		want := Stats{
			Addresses: []AddressStats{{Address: vip6, Requests: 1, Responses: 1, Gratuitous: uint64(len(rounds))}},
			Drops: []DropStats{
				{"malformed", 0},
				{"notOnLink", 0},
				{"notRequest", 0},
				{"otherClaims", 0},
				{"otherDestination", 0},
				{"ownFrame", 0},
				{"sendError", 0},
				{"unknownAddress", 2},
			},
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("stats (-want +got):\n%s", diff)
		}
	})
}

func TestReadyOnceTheFirstSetIsApplied(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		synctest.Wait()
		if w.Ready() {
			t.Error("ready before the first Set")
		}
		w.refuse["ARP eth0"] = errors.New("operation not permitted")
		w.set([]lb.Link{device("eth0", 1)})
		if !w.Ready() {
			t.Error("not ready after the first Set")
		}
		expect(t, w.openNames(), "NDP eth0")
	})
}

func TestSocketThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		w.refuse["ARP eth0"] = errors.New("operation not permitted")
		w.set([]lb.Link{device("eth0", 1)}, announcement("192.0.2.1"))
		time.Sleep(time.Second)
		expect(t, slices.DeleteFunc(w.take(&w.opened), func(s string) bool { return strings.Contains(s, "NDP") }),
			"0s ARP eth0", "100ms ARP eth0", "300ms ARP eth0", "700ms ARP eth0")
		time.Sleep(time.Hour)
		if got := len(w.take(&w.opened)); got < 120 || got > 130 {
			t.Errorf("%d attempts in an hour, want one every 30 s", got)
		}
		if got := strings.Count(w.log.String(), "operation not permitted"); got != 1 {
			t.Errorf("logged %d times, want once:\n%s", got, w.log)
		}
		w.mu.Lock()
		delete(w.refuse, "ARP eth0")
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if got := len(w.take(&w.sent)); got != 2*len(rounds) {
			t.Errorf("%d frames once it is open, want a burst of %d", got, 2*len(rounds))
		}
	})
}

func TestSocketThatBreaksIsOpenedAnew(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		w.set([]lb.Link{device("eth0", 1)}, announcement("2001:db8::1"))
		time.Sleep(time.Minute)
		w.take(&w.sent)
		w.take(&w.groups)
		close(w.conn("NDP eth0").broken) // as when the link was down for an instant
		time.Sleep(time.Second)
		expect(t, w.take(&w.groups), "1m0.1s NDP eth0: join ff02::1:ff00:1")
		expect(t, w.take(&w.sent),
			"1m0.1s NDP eth0: advertise 2001:db8::1 to ff02::1",
			"1m0.2s NDP eth0: advertise 2001:db8::1 to ff02::1")
	})
}

func TestFramesThatCannotBeSentAreCountedAndLoggedOnce(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		w.set([]lb.Link{device("eth0", 1)})
		w.mu.Lock()
		w.conns["ARP eth0"].fails = true
		w.mu.Unlock()
		w.set([]lb.Link{device("eth0", 1)}, announcement("192.0.2.1"))
		time.Sleep(time.Minute)
		got := w.Stats()
		if n := got.Addresses[0].Gratuitous; n != 0 {
			t.Errorf("%d gratuitous frames counted, want none", n)
		}
		for _, d := range got.Drops {
			if d.Reason == "sendError" && d.Count != uint64(2*len(rounds)) {
				t.Errorf("%d errors counted, want %d", d.Count, 2*len(rounds))
			}
		}
		if got := strings.Count(w.log.String(), "cannot send on link"); got != 1 {
			t.Errorf("logged %d times, want once:\n%s", got, w.log)
		}
	})
}

// A process that was stopped for a while must not send what it missed in one
// go: by now the address may be another node's.
func TestRoundsThatWereMissedAreNotMadeUpFor(t *testing.T) {
	var b bursts
	start := time.Now()
	b.add([]*entry{{}}, start)
	late := start.Add(time.Minute)
	sent := 0
	for b.take(late) != nil {
		sent++
	}
	if sent != 1 {
		t.Errorf("%d rounds at once, want 1", sent)
	}
	if due, ok := b.next(); !ok || !due.Equal(late.Add(rounds[1])) {
		t.Errorf("next is due at %v, %v", due.Sub(late), ok)
	}
}

func TestAQuietAnnouncerAnswersAndSaysNothingElse(t *testing.T) {
	inWorld(t, time.Minute, func(t *testing.T, w *world) {
		w.set([]lb.Link{device("eth0", 1)}, announcement(vip4.String()))
		w.take(&w.sent)
		w.Quiet()
		time.Sleep(time.Hour)
		expect(t, w.take(&w.sent))
		w.conn("ARP eth0").frames <- requestFrame(t, broadcast, client4, vip4)
		synctest.Wait()
		expect(t, w.take(&w.sent), "1h0m0s ARP eth0: 192.0.2.100 is-at 02:00:00:00:00:01")
	})
}

func TestWhatIsInPlaceIsAnswered(t *testing.T) {
	inWorld(t, 0, func(t *testing.T, w *world) {
		w.refuse["ARP eth1"] = errBroken
		both := []lb.Link{device("eth0", 1), device("eth1", 2)}
		for _, step := range []struct {
			what          string
			links         []lb.Link
			announcements []lb.Announcement
		}{
			{"at first", both[:1], []lb.Announcement{announcement("2001:db8::1")}},
			{"with another address", both[:1], []lb.Announcement{announcement("192.0.2.1"), announcement("2001:db8::1"), announcement("2001:db8::2")}},
			{"with a link that cannot be opened for ARP", both, []lb.Announcement{announcement("192.0.2.1"), announcement("2001:db8::1")}},
			{"with nothing", both[:1], nil},
		} {
			w.Set(step.links, step.announcements)
			if w.InPlace() {
				t.Errorf("%s: in place before anything was done", step.what)
			}
			for !w.InPlace() {
				time.Sleep(time.Millisecond)
			}
			for _, a := range step.announcements {
				for _, link := range step.links {
					if name := protocolOf(a.Address) + " " + link.Name; w.refuse[name] == nil && !w.hears(name, a.Address) {
						t.Errorf("%s: in place, and %s does not hear requests for %s", step.what, name, a.Address)
					}
				}
			}
			w.Set(step.links, step.announcements)
			if !w.InPlace() {
				t.Errorf("%s: not in place any more when the same is set again", step.what)
			}
		}
	})
}

func protocolOf(addr netip.Addr) string {
	if addr.Is4() {
		return "ARP"
	}
	return "NDP"
}

// hears reports whether requests for an address reach who listens on a connection.
func (s *segment) hears(name string, addr netip.Addr) bool {
	w := s.conn(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	passes := slices.ContainsFunc(w.watched, func(t span) bool { return t.first <= key(addr) && key(addr) <= t.last })
	return passes && (addr.Is4() || w.joined[solicitedNode(addr)])
}
