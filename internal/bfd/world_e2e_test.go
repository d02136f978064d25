//go:build e2e

package bfd

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/vishvananda/netns"

	"github.com/herald-lb/herald/internal/lb"
)

// These tests talk over a real kernel, in network namespaces of their own. They need root and
// iproute2, those with routers FRR and BIRD.

// patience is how long a test waits for what should take a fraction of it.
const patience = 30 * time.Second

// world is hosts in a row, each a network namespace, that are linked by veth pairs: host 0 has the
// link r0 to host 1, which has l0 to host 0 and r1 to host 2, and so on.
type world struct {
	t     testing.TB
	hosts []string
}

var worlds atomic.Int32

func newWorld(t testing.TB, hosts int) *world {
	t.Helper()
	w := &world{t: t}
	id := worlds.Add(1)
	for i := range hosts {
		name := fmt.Sprintf("bfdtest-%d-%d-%d", os.Getpid(), id, i)
		w.run("ip netns add " + name)
		t.Cleanup(func() { w.run("ip netns delete " + name) })
		w.hosts = append(w.hosts, name)
		w.in(i, "ip link set lo up")
		w.in(i, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
	}
	for i := range hosts - 1 {
		w.join(i)
	}
	for i := range hosts {
		w.route(i)
	}
	return w
}

// join links a host to the next one.
func (w *world) join(i int) {
	left, right := fmt.Sprintf("r%d", i), fmt.Sprintf("l%d", i)
	w.run(fmt.Sprintf("ip link add %s netns %s type veth peer name %s netns %s", left, w.hosts[i], right, w.hosts[i+1]))
	for host, link := range map[int]string{i: left, i + 1: right} {
		w.in(host, fmt.Sprintf("ip address add %s/24 dev %s", address(i, host-i+1), link))
		w.in(host, fmt.Sprintf("ip address add %s/64 dev %s nodad", address6(i, host-i+1), link))
		w.in(host, fmt.Sprintf("sysctl -qw net.ipv6.conf.%s.accept_dad=0", link))
		w.in(host, "ip link set "+link+" up")
	}
}

// route gives a host its way to the links that are further away.
func (w *world) route(host int) {
	for link := range len(w.hosts) - 1 {
		via := host
		end := 2
		if link < host-1 {
			via, end = host-1, 1
		} else if link <= host {
			continue
		}
		w.in(host, fmt.Sprintf("ip route replace 10.0.%d.0/24 via %s", link, address(via, end)))
		w.in(host, fmt.Sprintf("ip route replace fd00:0:0:%d::/64 via %s", link, address6(via, end)))
	}
}

// address is that of the left (1) or right (2) end of a link.
func address(link, end int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", link, end))
}

func address6(link, end int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%d::%d", link, end))
}

func (w *world) run(command string) string {
	w.t.Helper()
	fields := strings.Fields(command)
	out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s: %v: %s", command, err, out)
	}
	return string(out)
}

func (w *world) in(host int, command string) string {
	w.t.Helper()
	return w.run("ip netns exec " + w.hosts[host] + " " + command)
}

// linkLocal is the link-local address of a link.
func (w *world) linkLocal(host int, link string) netip.Addr {
	w.t.Helper()
	for _, field := range strings.Fields(w.in(host, "ip -6 -o address show dev "+link+" scope link")) {
		if p, err := netip.ParsePrefix(field); err == nil {
			return p.Addr()
		}
	}
	w.t.Fatalf("%s has no link-local address", link)
	return netip.Addr{}
}

// daemon starts a program on a host, and returns how to kill it.
func (w *world) daemon(host int, command string) (kill func()) {
	w.t.Helper()
	fields := append([]string{"netns", "exec", w.hosts[host]}, strings.Fields(command)...)
	cmd := exec.Command("ip", fields...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		w.t.Fatalf("%s: %v", command, err)
	}
	kill = sync.OnceFunc(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", command, out)
		}
	})
	w.t.Cleanup(kill)
	return kill
}

// engine is a Speaker, in this process or in one of its own.
type engine interface {
	Start(context.Context) error
	Set([]lb.BFDSession)
	States() map[lb.BFDKey]lb.BFDState
	Changed() <-chan struct{}
	Stats() Stats
}

// host is a Speaker that runs on a host.
type host struct {
	engine
	t    testing.TB
	stop func()

	mu      sync.Mutex
	reports []timed
}

type timed struct {
	key   lb.BFDKey
	state lb.BFDState
	at    time.Time
}

func (w *world) speaker(i int) *host {
	w.t.Helper()
	h := &host{t: w.t}
	s := New(w.logger(), Config{OnChange: h.note})
	h.engine = s
	h.start(func(ctx context.Context) error {
		return inNamespace(w.hosts[i], func() error { return s.Start(ctx) })
	})
	return h
}

// process is a speaker in a process of its own.
func (w *world) process(i int) *host {
	w.t.Helper()
	h := &host{t: w.t}
	p := NewProcess(w.logger(), []string{"ip", "netns", "exec", w.hosts[i], "env", serveHere + "=yes", os.Args[0]}, h.note)
	h.engine = p
	h.start(p.Start)
	return h
}

// serveHere is a variable of the environment that makes this program the one that Process starts.
const serveHere = "HERALD_TEST_SERVE_BFD"

func TestMain(m *testing.M) {
	if os.Getenv(serveHere) == "" {
		os.Exit(m.Run())
	}
	if err := Serve(log.NewNopLogger(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (w *world) logger() log.Logger {
	return log.NewLogfmtLogger(log.NewSyncWriter(w.t.Output()))
}

func (h *host) note(key lb.BFDKey, state lb.BFDState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports = append(h.reports, timed{key, state, time.Now()})
}

func (h *host) start(run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Error(err)
		}
	})
	h.t.Cleanup(h.stop)
}

// inNamespace runs something on a thread that is in a namespace, and so are the sockets that it
// opens. The thread ends with it.
func inNamespace(name string, do func() error) error {
	ended := make(chan error)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.GetFromName(name)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			err = do()
		}
		ended <- err
	}()
	return <-ended
}

// await waits until the session with a peer is as wanted.
func (h *host) await(peer netip.Addr, what string, holds func(lb.BFDState) bool) lb.BFDState {
	h.t.Helper()
	deadline := time.After(patience)
	for {
		var last lb.BFDState
		for key, state := range h.States() {
			if last = state; key.Peer == peer && holds(state) {
				return state
			}
		}
		select {
		case <-h.Changed():
		case <-deadline:
			h.t.Fatalf("the session with %s never was %s; it is %+v; drops are %v", peer, what, last, h.Stats().Drops)
		}
	}
}

func (h *host) awaitStatus(peer netip.Addr, status lb.BFDStatus) lb.BFDState {
	h.t.Helper()
	return h.await(peer, string(status), func(s lb.BFDState) bool { return s.Status == status })
}

// flaps are the reports since the last call.
func (h *host) flaps() []timed {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.reports
	h.reports = nil
	return out
}

func (h *host) dropped(reason drop) uint64 {
	for _, d := range h.Stats().Drops {
		if d.Reason == reason.String() {
			return d.Count
		}
	}
	return 0
}

// eventually waits until something holds that nobody signals.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came to be that %s", what)
		}
	}
}
