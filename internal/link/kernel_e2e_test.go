//go:build e2e

package link

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/nstest"
)

// These tests watch a real kernel, in a network namespace of their own. They
// need root and iproute2.

// patience is how long a test waits for what should take a fraction of it.
const patience = 20 * time.Second

func TestMain(m *testing.M) { nstest.Main(m.Run) }

func ip(t *testing.T, arguments string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(arguments)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", arguments, err, out)
	}
}

// startWatcher also deletes the link lan0 in the end.
func startWatcher(t *testing.T, exclude ...*regexp.Regexp) *Watcher {
	t.Helper()
	w := New(log.NewLogfmtLogger(t.Output()), exclude)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, ok := find(w, "lan0"); ok {
			ip(t, "link delete lan0")
		}
	})
	return w
}

func find(w *Watcher, name string) (lb.Link, bool) {
	for _, l := range w.Links() {
		if l.Name == name {
			return l, true
		}
	}
	return lb.Link{}, false
}

// await waits for a change after which the link is as described; "" says that
// it can announce in both protocols, "gone" that there is none.
func await(t *testing.T, w *Watcher, name, want string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		l, ok := find(w, name)
		switch {
		case !ok && want == "gone", ok && want == "" && l.ARP && l.NDP, ok && want != "" && l.Unusable == want:
			return
		}
		select {
		case <-w.Changed():
		case <-time.After(10 * time.Millisecond): // no signal between two states that are not usable
		case <-deadline:
			t.Fatalf("%s never became %q; it is %+v", name, want, l)
		}
	}
}

func TestLifeOfALink(t *testing.T) {
	w := startWatcher(t)
	ip(t, "link add lan0 type veth peer name lan1")
	await(t, w, "lan0", "down")
	ip(t, "link set lan0 up")
	await(t, w, "lan0", "no carrier")
	ip(t, "link set lan1 up")
	await(t, w, "lan0", "")
	ip(t, "link set lan1 down")
	await(t, w, "lan0", "no carrier")
	ip(t, "link set lan1 up")
	await(t, w, "lan0", "")
	ip(t, "link set lan0 arp off")
	await(t, w, "lan0", "does not resolve addresses (NOARP)")
	ip(t, "link set lan0 arp on")
	await(t, w, "lan0", "")
	ip(t, "link set lan0 name lan9")
	await(t, w, "lan0", "gone")
	await(t, w, "lan9", "")
	ip(t, "link set lan9 name lan0")
	await(t, w, "lan0", "")
	ip(t, "link add br0 type bridge")
	ip(t, "link set lan0 master br0")
	await(t, w, "lan0", "port of bridge br0")
	ip(t, "link delete br0")
	await(t, w, "lan0", "")
	ip(t, "link delete lan0")
	await(t, w, "lan0", "gone")
}

func TestEveryUsableChangeIsSignalled(t *testing.T) {
	w := startWatcher(t)
	ip(t, "link add lan0 type veth peer name lan1")
	ip(t, "link set lan1 up")
	for range 5 {
		ip(t, "link set lan0 up")
		awaitSignal(t, w, func(l lb.Link) bool { return l.ARP && l.NDP })
		ip(t, "address add 192.0.2.1/24 dev lan0")
		awaitSignal(t, w, func(l lb.Link) bool { return len(l.Addrs) == 2 })
		ip(t, "address delete 192.0.2.1/24 dev lan0")
		awaitSignal(t, w, func(l lb.Link) bool { return len(l.Addrs) == 1 })
		ip(t, "link set lan0 down")
		awaitSignal(t, w, func(l lb.Link) bool { return l.Unusable == "down" })
	}
}

// awaitSignal looks at the link only when signalled.
func awaitSignal(t *testing.T, w *Watcher, holds func(lb.Link) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case <-w.Changed():
		case <-deadline:
			t.Fatalf("no signal; the links are %+v", w.Links())
		}
		if l, ok := find(w, "lan0"); ok && holds(l) {
			return
		}
	}
}

// What a link is a port of announces in its place. In a VRF a link receives for itself, and is no port.
func TestPorts(t *testing.T) {
	for _, c := range []struct{ kind, options, want string }{
		{"bridge", "", "port of bridge up0"},
		{"bond", "miimon 50", "port of bond up0"},
		{"vrf", "table 10", ""},
	} {
		t.Run(c.kind, func(t *testing.T) {
			add := strings.Fields("link add up0 type " + c.kind + " " + c.options)
			if out, err := exec.Command("ip", add...).CombinedOutput(); err != nil {
				t.Skipf("this kernel has no %s: ip %s: %v: %s", c.kind, strings.Join(add, " "), err, out)
			}
			t.Cleanup(func() { ip(t, "link delete up0") })
			w := startWatcher(t)
			ip(t, "link add lan0 type veth peer name lan1")
			ip(t, "link set lan1 up")
			ip(t, "link set lan0 master up0") // while it is down, as a bond demands
			ip(t, "link set lan0 up")
			ip(t, "link set up0 up")
			await(t, w, "lan0", c.want)
			if c.want != "" {
				await(t, w, "up0", "")
			}
		})
	}
}

func TestExcludedLinkStaysExcluded(t *testing.T) {
	w := startWatcher(t, regexp.MustCompile("^lan.*"))
	ip(t, "link add lan0 type veth peer name lan1")
	ip(t, "link set lan1 up")
	ip(t, "link set lan0 up")
	await(t, w, "lan0", "excluded by ^lan.*")
}
