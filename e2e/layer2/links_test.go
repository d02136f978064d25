//go:build e2e

package layer2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// addLink gives a node a second link to the LAN, beside its own, and returns its MAC, which no host of the lab is known by.
// It goes with the test.
func addLink(ctx context.Context, t *testing.T, node lab.Host, name string) (mac string) {
	t.Helper()
	mac = fmt.Sprintf("02:4c:41:42:01:%02x", lab.AddressesOf(node).V4.As4()[3]+0x80)
	onNode(ctx, t, node, fmt.Sprintf("ip link add %s link eth0 address %s type macvlan mode bridge && ip link set %s up", name, mac, name))
	t.Cleanup(func() {
		onNode(context.Background(), t, node, fmt.Sprintf("ip link delete %s 2>/dev/null || true", name))
	})
	return mac
}

// awaitMACs waits until exactly these link-layer addresses answer for an address. Hosts' own are known by the host's name.
func awaitMACs(ctx context.Context, t *testing.T, address netip.Addr, want ...string) {
	t.Helper()
	slices.Sort(want)
	await(ctx, t, fmt.Sprintf("%v alone to answer for %s", want, address), func(ctx context.Context) error {
		hosts, err := herald.Answers(ctx, cluster, address)
		if err != nil {
			return err
		}
		var got []string
		for _, h := range hosts {
			got = append(got, strings.ToLower(string(h)))
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("answered for by %v", got)
		}
		return nil
	})
}

func TestInterfaces(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "interfaces", dualStack)
	owner := first(addresses[0], all()...)
	advertise(ctx, t, "interfaces", "interfaces: [lan1]")
	awaitEvent(ctx, t, "interfaces", "announceFailed", "lan1 does not exist")
	awaitSilence(ctx, t, addresses)

	mac := addLink(ctx, t, owner, "lan1")
	for _, a := range addresses {
		awaitMACs(ctx, t, a, mac)
	}
	awaitStatus(ctx, t, "interfaces", owner, "lan1")
	advertise(ctx, t, "interfaces", "interfaces: [lan1, eth0]")
	for _, a := range addresses {
		awaitMACs(ctx, t, a, string(owner), mac)
	}
	awaitStatus(ctx, t, "interfaces", owner, "eth0", "lan1")
	advertise(ctx, t, "interfaces", "interfaces: [eth0]")
	awaitOwner(ctx, t, addresses, owner)
	awaitStatus(ctx, t, "interfaces", owner, "eth0")
	advertise(ctx, t, "interfaces")
	for _, a := range addresses {
		awaitMACs(ctx, t, a, string(owner), mac)
	}
	awaitStatus(ctx, t, "interfaces", owner)
}

func TestLinksThatChange(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "changing", dualStack)
	owner := first(addresses[0], all()...)
	advertise(ctx, t, "changing", "interfaces: [lan2, lan3]")
	mac := addLink(ctx, t, owner, "lan2")
	answers := func(t *testing.T, want ...string) {
		t.Helper()
		for _, a := range addresses {
			awaitMACs(ctx, t, a, want...)
		}
	}
	answers(t, mac)

	t.Run("down, and up again", func(t *testing.T) {
		onNode(ctx, t, owner, "ip link set lan2 down")
		answers(t)
		onNode(ctx, t, owner, "ip link set lan2 up")
		answers(t, mac)
	})
	t.Run("another name", func(t *testing.T) {
		onNode(ctx, t, owner, "ip link set lan2 down && ip link set lan2 name lan3 && ip link set lan3 up")
		answers(t, mac)
		onNode(ctx, t, owner, "ip link set lan3 down && ip link set lan3 name lan4 && ip link set lan4 up")
		answers(t) // permitted no more
		onNode(ctx, t, owner, "ip link set lan4 down && ip link set lan4 name lan2 && ip link set lan2 up")
		answers(t, mac)
	})
	t.Run("another MAC, while it is up", func(t *testing.T) {
		other := strings.Replace(mac, "02:4c:41:42:01", "02:4c:41:42:02", 1)
		onNode(ctx, t, owner, "ip link set lan2 address "+other)
		answers(t, other)
		onNode(ctx, t, owner, "ip link set lan2 address "+mac)
		answers(t, mac)
	})
	t.Run("other IP addresses", func(t *testing.T) {
		onNode(ctx, t, owner, "ip address add 172.31.9.1/24 dev lan2 && ip address flush dev lan2 scope link && ip address add fe80::99/64 dev lan2")
		answers(t, mac)
	})
	t.Run("a port of a bridge is left alone", func(t *testing.T) {
		t.Cleanup(func() { onNode(context.Background(), t, owner, "ip link delete lan9 2>/dev/null || true") })
		onNode(ctx, t, owner, "ip link add lan9 type bridge && ip link set lan9 up && ip link set lan2 master lan9")
		answers(t)
		awaitEvent(ctx, t, "changing", "announceFailed", "lan2 is unusable (port of bridge lan9)")
		onNode(ctx, t, owner, "ip link set lan2 nomaster")
		answers(t, mac)
	})
}

// TestANodeWithoutAPermittedLinkStandsBack: of the nodes that have one, the first announces.
func TestANodeWithoutAPermittedLinkStandsBack(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "linked", dualStack)
	owner := first(addresses[0], all()...)
	next := first(addresses[0], others(owner)...)
	advertise(ctx, t, "linked", "interfaces: [lan2]")
	owners, nexts := addLink(ctx, t, owner, "lan2"), addLink(ctx, t, next, "lan2")
	answers := func(want string) {
		t.Helper()
		for _, a := range addresses {
			awaitMACs(ctx, t, a, want)
		}
	}
	answers(owners)
	onNode(ctx, t, owner, "ip link set lan2 down")
	answers(nexts)
	awaitStatus(ctx, t, "linked", next, "lan2")
	onNode(ctx, t, owner, "ip link set lan2 up")
	answers(owners)
	onNode(ctx, t, owner, "ip link delete lan2")
	answers(nexts)
}

// TestCable: a node whose only link has no carrier is no candidate, and is one again at once.
func TestCable(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "cable", dualStack)
	advertise(ctx, t, "cable")
	owner := first(addresses[0], all()...)
	awaitOwner(ctx, t, addresses, owner)
	t.Cleanup(func() { must(t, cluster.CableIn(context.Background(), owner)) })
	began := time.Now()
	must(t, cluster.CableOut(ctx, owner))
	awaitOwner(ctx, t, addresses, first(addresses[0], others(owner)...))
	t.Logf("another was seen to have taken over %v after the cable was out", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	must(t, cluster.CableIn(ctx, owner))
	awaitOwner(ctx, t, addresses, owner)
	t.Logf("the owner was seen to be back %v after the cable was in", time.Since(began).Round(time.Millisecond))
}
