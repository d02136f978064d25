//go:build e2e

package layer2

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/neighbour"
)

func fromClient(ctx context.Context, args ...string) (*exec.Cmd, error) {
	return cluster.Command(ctx, lab.Client, args...)
}

// rollCall has the client ask who has an address every 20 ms until stop is called, which returns who answered when.
func rollCall(ctx context.Context, t *testing.T, address netip.Addr) (stop func() []neighbour.Sighting) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	var sightings []neighbour.Sighting
	ended := make(chan error, 1)
	call := neighbour.RollCall{Link: "eth0", As: lab.AddressesOf(lab.Client).V4, Target: address, Every: 20 * time.Millisecond}
	go func() {
		var err error
		sightings, err = neighbour.CallFrom(ctx, fromClient, call)
		ended <- err
	}()
	time.Sleep(time.Second) // the client has to be started
	return func() []neighbour.Sighting {
		t.Helper()
		cancel()
		must(t, <-ended)
		return sightings
	}
}

// course is who answered, in order: a host, or several that did so together.
func course(sightings []neighbour.Sighting) (all []string) {
	answered := map[int]string{}
	last := 0
	for _, s := range sightings {
		who := s.MAC
		for _, h := range cluster.Hosts() {
			if mac(h).String() == s.MAC {
				who = string(h)
			}
		}
		if before := answered[s.Request]; before != "" && before != who {
			who = "both"
		}
		answered[s.Request], last = who, s.Request
	}
	for request := 0; request <= last; request++ {
		if who := answered[request]; who != "" && (len(all) == 0 || all[len(all)-1] != who) {
			all = append(all, who)
		}
	}
	return all
}

// TestFrozenSpeaker: a speaker that is stopped loses its addresses to another; when it goes on, it takes them back, once.
func TestFrozenSpeaker(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "frozen", dualStack)
	advertise(ctx, t, "frozen")
	owner := first(addresses[0], all()...)
	next := first(addresses[0], others(owner)...)
	awaitOwner(ctx, t, addresses, owner)

	pod, err := herald.Speaker(ctx, cluster, owner)
	must(t, err)
	pid, err := herald.Process(ctx, cluster, pod)
	must(t, err)
	t.Cleanup(func() { onNode(context.Background(), t, owner, "kill -CONT "+pid) })
	onNode(ctx, t, owner, "kill -STOP "+pid)
	awaitOwner(ctx, t, addresses, next)
	time.Sleep(3 * time.Second) // long enough to be given up for good

	stop := rollCall(ctx, t, addresses[0])
	onNode(ctx, t, owner, "kill -CONT "+pid)
	awaitOwner(ctx, t, addresses, owner)
	time.Sleep(2 * time.Second)
	sightings := stop()
	seen := course(sightings)
	t.Logf("who answered: %v; both for %v", seen, neighbour.Together(sightings))
	// Together they may answer for a moment, as while it was frozen requests have waited for it.
	if last := seen[len(seen)-1]; last != string(owner) || !fewTurns(seen, string(next), string(owner)) {
		t.Errorf("who answered: %v, want %s and then %s", seen, next, owner)
	}
}

// fewTurns reports whether one took over from the other and did not give it back: once it answered alone after both did,
// or after the other, the other does not do so again.
func fewTurns(seen []string, from, to string) bool {
	text := strings.Join(seen, " ")
	last := strings.LastIndex(text, from)
	return last < 0 || strings.Count(text[:last], to) <= 1
}

// tooLong is no figure, which are measured elsewhere, but what only a fault explains: speakers that lost each other look for
// each other every 5 seconds.
const tooLong = 15 * time.Second

// TestPartition: who is cut off from gossip alone, and announces still, does so beside the one that takes over, until
// they hear of each other again.
func TestPartition(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "parted", dualStack)
	advertise(ctx, t, "parted")
	owner := first(addresses[0], all()...)
	next := first(addresses[0], others(owner)...)
	awaitOwner(ctx, t, addresses, owner)

	heal := func(ctx context.Context) { onNode(ctx, t, owner, "nft delete table inet parted 2>/dev/null || true") }
	t.Cleanup(func() { heal(context.Background()) })
	onNode(ctx, t, owner, "nft add table inet parted && nft add chain inet parted in '{ type filter hook input priority -300; }'")
	for _, match := range []string{"tcp dport", "tcp sport", "udp dport"} {
		onNode(ctx, t, owner, "nft add rule inet parted in "+match+" 7946 drop")
	}
	for _, a := range addresses {
		awaitMACs(ctx, t, a, string(owner), string(next))
	}
	stop := rollCall(ctx, t, addresses[0])
	healed := time.Now()
	heal(ctx)
	awaitOwner(ctx, t, addresses, owner)
	sightings := stop()
	both := time.Duration(0)
	for i, s := range sightings {
		if i > 0 && sightings[i-1].Request == s.Request && sightings[i-1].MAC != s.MAC {
			both = s.At.Sub(healed)
		}
	}
	t.Logf("both answered for %v after gossip was whole again", both.Round(time.Millisecond))
	if both > tooLong {
		t.Errorf("that is longer than %v", tooLong)
	}
	if seen := course(sightings); seen[len(seen)-1] != string(owner) {
		t.Errorf("who answered: %v, want %s in the end", seen, owner)
	}
}

// TestThousand: a node that dies leaves nothing unanswered, be it hundreds of addresses.
func TestThousand(t *testing.T) {
	ctx := begin(t)
	const count = 1000
	advertiseAs(ctx, t, "crowd", "ipAddressPools: [crowd]")
	must(t, cluster.Apply(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: crowd}}"))
	t.Cleanup(func() { kubectl(context.Background(), t, "delete", "namespace", "crowd", "--wait=false") })
	addresses, err := herald.CreateCrowd(ctx, cluster, "crowd", count)
	must(t, err)
	answered := func(what string) {
		t.Helper()
		began := time.Now()
		defer func() {
			t.Logf("%v for %s, of which asking takes %v", time.Since(began).Round(time.Millisecond), what, count*time.Millisecond)
		}()
		await(ctx, t, what, func(ctx context.Context) error {
			answers, err := neighbour.AskFrom(ctx, fromClient, neighbour.Questions{
				Link: "eth0", As: []netip.Addr{lab.AddressesOf(lab.Client).V4}, Targets: addresses, Every: time.Millisecond, For: count * time.Millisecond,
			})
			if err != nil {
				return err
			}
			lost := 0
			for _, a := range answers {
				if len(a.Took) == 0 {
					lost++
				}
			}
			if lost > 0 {
				return fmt.Errorf("%d of %d are not answered for", lost, count)
			}
			return nil
		})
	}
	answered("all to be answered for")
	t.Cleanup(func() { must(t, cluster.CableIn(context.Background(), all()[0])) })
	must(t, cluster.CableOut(ctx, all()[0]))
	answered("all to be answered for without " + string(all()[0]))
	must(t, cluster.CableIn(ctx, all()[0]))
	answered("all to be answered for when it is back")
}
