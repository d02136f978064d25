//go:build e2e

package bgp

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// Peers that are up to no good do not harm the speaker, nor its sessions with others.
func TestHostilePeers(t *testing.T) {
	ctx := begin(t)
	o := open(stranger(0))
	brief := o
	brief.HoldTime = 3 * time.Second
	wrong := o
	wrong.ASN = 64999
	scripts := []struct {
		name   string
		script router.Script
	}{
		{"silent from the start", router.Silent},
		{"half open", router.HalfOpen(o)},
		{"mute", router.Mute(brief)},
		{"resetting", router.Resetting},
		{"refusing", router.Refusing(router.Notification{Code: router.OpenError, Subcode: router.BadPeerAS})},
		{"notifying", router.Notifying(o, router.Notification{Code: router.UpdateError, Subcode: 1, Data: []byte("nonsense")})},
		{"of another system", router.WellBehaved(wrong)},
		{"babbling", router.Babbling(1)},
		{"babbling later", router.BabblingLater(o, 2)},
		{"malforming", router.Malforming(o, 3)},
	}
	configure(ctx, t, frr, router.Neighbour{Address: node1.V4, ASN: nodesASN})
	create(ctx, t, peer("good", lab.AddressesOf(lab.Router).V4, append(slices.Clone(external), on("node1"))...))
	create(ctx, t, advertisement("good"))
	service(ctx, t, "good")
	before := awaitSession(ctx, t, frr, node1.V4, established)
	restarts, err := herald.Restarts(ctx, cluster)
	must(t, err)

	var peers []*router.Peer
	for i, s := range scripts {
		peers = append(peers, listen(ctx, t, lab.Client, stranger(i), s.script))
		create(ctx, t, peer(fmt.Sprintf("bad-%d", i), stranger(i), append(slices.Clone(external), on("node1"))...))
	}
	await(ctx, t, "attempts at each", func(context.Context) error {
		for i, p := range peers {
			// The first three keep a connection for as long as the speaker waits.
			if seen := len(p.Connections()); seen < 1 || (i > 2 && seen < 3) {
				return fmt.Errorf("%s: %d", scripts[i].name, seen)
			}
		}
		return nil
	})
	checkUnharmed(ctx, t, before, restarts)
}

func checkUnharmed(ctx context.Context, t *testing.T, before router.Session, restarts int) {
	t.Helper()
	after := awaitSession(ctx, t, frr, node1.V4, established)
	if after.Ups != before.Ups || after.Downs != before.Downs {
		t.Errorf("the session with FRR ended meanwhile: %+v, before %+v", after, before)
	}
	now, err := herald.Restarts(ctx, cluster)
	must(t, err)
	if now != restarts {
		t.Errorf("%d restarts, before %d", now, restarts)
	}
}

// A million routes are read and forgotten.
func TestFlood(t *testing.T) {
	ctx := begin(t)
	configure(ctx, t, frr, router.Neighbour{Address: node1.V4, ASN: nodesASN})
	create(ctx, t, peer("good", lab.AddressesOf(lab.Router).V4, append(slices.Clone(external), on("node1"))...))
	before := awaitSession(ctx, t, frr, node1.V4, established)
	restarts, err := herald.Restarts(ctx, cluster)
	must(t, err)
	memory := residentMemory(ctx, t, "node1")

	const routes = 1_000_000
	flood := listen(ctx, t, lab.Client, stranger(0), router.Flooding(open(stranger(0)), routes))
	create(ctx, t, peer("flood", stranger(0), append(slices.Clone(external), on("node1"))...))
	awaitState(ctx, t, "node1", "flood", isUp)
	create(ctx, t, advertisement("flood", "peers: [flood]"))
	address := service(ctx, t, "flood")[0]
	await(ctx, t, "our route in the midst of the flood", func(context.Context) error {
		return want("number", count(t, flood.Last(), host(address)), 1)
	})
	await(ctx, t, "the flood to be over", func(context.Context) error { return want("over", flood.Last().Served(), true) })
	checkUnharmed(ctx, t, before, restarts)
	// A route that is kept takes a hundred bytes and more.
	if now := residentMemory(ctx, t, "node1"); now-memory > routes*50 {
		t.Errorf("the speaker has grown from %d to %d bytes", memory, now)
	}
}

// residentMemory is the speaker's VmRSS of proc(5), in bytes.
func residentMemory(ctx context.Context, t *testing.T, node lab.Host) int {
	t.Helper()
	pod, err := herald.Speaker(ctx, cluster, node)
	must(t, err)
	status, err := herald.ProcessFile(ctx, cluster, pod, "status")
	must(t, err)
	_, rest, _ := strings.Cut(status, "VmRSS:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest)[0])
	must(t, err)
	return kilobytes << 10
}
