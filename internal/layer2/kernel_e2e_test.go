//go:build e2e

package layer2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/vishvananda/netns"
	"golang.org/x/net/bpf"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/link"
	"github.com/herald-lb/herald/internal/nstest"
)

// These tests run the Announcer on a real kernel, with arping, ndisc6 and the
// kernel of a second network namespace for clients:
//
//	this process's own namespace             namespace edge-PID
//	lan0 192.0.2.1, 2001:db8::1   ── veth ──   lan1 192.0.2.2, 2001:db8::2
//
// They need root, iproute2, iputils-arping, ndisc6 and tcpdump.

// serveOnly is a variable of the environment: the addresses to announce until killed.
const serveOnly = "HERALD_TEST_SERVE"

// patience is how long a test waits for what should take a fraction of it.
const patience = 20 * time.Second

var client = fmt.Sprintf("edge-%d", os.Getpid())

func TestMain(m *testing.M) {
	if addrs := os.Getenv(serveOnly); addrs != "" {
		serve(strings.Fields(addrs))
		return
	}
	nstest.Main(func() int { return runWithClient(m) })
}

func runWithClient(m *testing.M) int {
	defer func() {
		if out, err := exec.Command("ip", "netns", "delete", client).CombinedOutput(); err != nil {
			fmt.Printf("delete namespace %s: %v: %s\n", client, err, out)
		}
	}()
	for _, command := range []string{
		"ip link set lo up",
		"ip netns add " + client,
		"ip link add lan0 type veth peer name lan1 netns " + client,
		"ip address add 192.0.2.1/24 dev lan0",
		"ip address add 2001:db8::1/64 dev lan0 nodad",
		"ip link set lan0 up",
		"ip -n " + client + " address add 192.0.2.2/24 dev lan1",
		"ip -n " + client + " address add 2001:db8::2/64 dev lan1 nodad",
		"ip -n " + client + " link set lan1 up",
	} {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			fmt.Printf("%s: %v: %s\n", command, err, out)
			return 1
		}
	}
	return m.Run()
}

// run runs a command, and returns what it printed and whether it succeeded.
func run(t *testing.T, command string) (string, bool) {
	t.Helper()
	words := strings.Fields(command)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", command, err)
	}
	return string(out), err == nil
}

// must runs a command that has to succeed.
func must(t *testing.T, command string) string {
	t.Helper()
	out, ok := run(t, command)
	if !ok {
		t.Fatalf("%s: %s", command, out)
	}
	return out
}

func onClient(command string) string { return "ip netns exec " + client + " " + command }

// serve announces until the process is killed.
func serve(addrs []string) {
	n := newNode(log.NewLogfmtLogger(os.Stdout))
	ended := n.start(context.Background())
	n.announce(addrs...)
	fmt.Println("ended:", <-ended)
}

// node is an Announcer and a Watcher, wired as in the speaker.
type node struct {
	announcer *Announcer
	watcher   *link.Watcher
	want      chan []lb.Announcement
}

func startNode(t testing.TB) *node {
	t.Helper()
	logger := level.NewFilter(log.NewLogfmtLogger(log.NewSyncWriter(t.Output())), level.AllowInfo())
	n := newNode(logger)
	ctx, cancel := context.WithCancel(t.Context())
	ended := n.start(ctx)
	t.Cleanup(func() {
		cancel()
		for range cap(ended) {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	eventually(t, "the node is ready on both protocols", func() bool {
		return n.announcer.Ready() && n.usable("lan0")
	})
	return n
}

func newNode(logger log.Logger) *node {
	return &node{announcer: New(logger, Config{}), watcher: link.New(logger, nil), want: make(chan []lb.Announcement)}
}

// start runs all parts. Each sends its error when it ends.
func (n *node) start(ctx context.Context) chan error {
	ended := make(chan error, 3)
	go func() { ended <- n.watcher.Start(ctx) }()
	go func() { ended <- n.announcer.Start(ctx) }()
	go func() { n.wire(ctx); ended <- nil }()
	return ended
}

func (n *node) wire(ctx context.Context) {
	var announcements []lb.Announcement
	for {
		select {
		case <-ctx.Done():
			return
		case announcements = <-n.want:
		case <-n.watcher.Changed():
		}
		n.announcer.Set(n.watcher.Links(), announcements)
	}
}

func (n *node) usable(name string) bool {
	for _, l := range n.watcher.Links() {
		if l.Name == name && l.ARP && l.NDP {
			return true
		}
	}
	return false
}

func (n *node) announce(addrs ...string) {
	var out []lb.Announcement
	for _, addr := range addrs {
		out = append(out, lb.Announcement{Address: netip.MustParseAddr(addr)})
	}
	n.want <- out
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// ownAddress returns the MAC of lan0.
func ownAddress(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`link/ether ([0-9a-f:]+)`).FindStringSubmatch(must(t, "ip link show lan0"))[1]
}

func TestArpingIsAnswered(t *testing.T) {
	n := startNode(t)
	n.announce("192.0.2.100")
	mac := strings.ToUpper(ownAddress(t))
	eventually(t, "the address answers", func() bool {
		_, ok := run(t, onClient("arping -c 1 -w 1 -I lan1 192.0.2.100"))
		return ok
	})
	out := must(t, onClient("arping -c 3 -I lan1 192.0.2.100"))
	if got := strings.Count(out, "["+mac+"]"); got != 3 {
		t.Errorf("%d answers from %s, want 3:\n%s", got, mac, out)
	}
	if out, ok := run(t, onClient("arping -c 1 -w 1 -I lan1 192.0.2.101")); ok {
		t.Errorf("an address that is not announced answers:\n%s", out)
	}
	if out, ok := run(t, onClient("arping -D -c 2 -I lan1 192.0.2.100")); ok {
		t.Errorf("the probe found no duplicate:\n%s", out)
	}
	n.announce()
	eventually(t, "the withdrawn address is silent", func() bool {
		_, ok := run(t, onClient("arping -c 1 -w 1 -I lan1 192.0.2.100"))
		return !ok
	})
}

func TestGratuitousARPReplacesAFreshEntry(t *testing.T) {
	n := startNode(t)
	must(t, "ip -n "+client+" neigh replace 192.0.2.102 lladdr 02:00:00:00:00:99 dev lan1 nud reachable")
	n.announce("192.0.2.102")
	mac := ownAddress(t)
	eventually(t, "the client knows the new owner", func() bool {
		return strings.Contains(must(t, "ip -n "+client+" neigh show 192.0.2.102"), mac)
	})
}

func TestUnsolicitedAdvertisementReplacesAFreshEntry(t *testing.T) {
	n := startNode(t)
	must(t, "ip -n "+client+" neigh replace 2001:db8::102 lladdr 02:00:00:00:00:99 dev lan1 nud reachable")
	n.announce("2001:db8::102")
	mac := ownAddress(t)
	eventually(t, "the client knows the new owner", func() bool {
		return strings.Contains(must(t, "ip -n "+client+" neigh show 2001:db8::102"), mac)
	})
}

func TestNdiscIsAnswered(t *testing.T) {
	n := startNode(t)
	n.announce("2001:db8::100")
	mac := strings.ToUpper(ownAddress(t))
	eventually(t, "the address answers", func() bool {
		out, _ := run(t, onClient("ndisc6 -1 -r 1 -w 200 2001:db8::100 lan1"))
		return strings.Contains(out, mac)
	})
	if out, _ := run(t, onClient("ndisc6 -1 -r 1 -w 200 2001:db8::101 lan1")); strings.Contains(out, mac) {
		t.Errorf("an address that is not announced answers:\n%s", out)
	}
}

// The kernel's unreachability detection sends unicast solicitations to the
// address itself, which is not one of this node's kernel.
func TestUnreachabilityProbeIsAnswered(t *testing.T) {
	n := startNode(t)
	n.announce("2001:db8::103", "192.0.2.103")
	mac := ownAddress(t)
	for _, addr := range []string{"2001:db8::103", "192.0.2.103"} {
		must(t, "ip -n "+client+" neigh replace "+addr+" lladdr "+mac+" dev lan1 nud probe")
		eventually(t, addr+" is reachable", func() bool {
			return strings.Contains(must(t, "ip -n "+client+" neigh show "+addr), "REACHABLE")
		})
	}
}

func TestDuplicateAddressDetectionFindsUs(t *testing.T) {
	n := startNode(t)
	n.announce("2001:db8::104")
	eventually(t, "the group is joined", func() bool { return joined(t, "ff02::1:ff00:104") })
	must(t, "ip -n "+client+" address add 2001:db8::104/64 dev lan1")
	defer must(t, "ip -n "+client+" address delete 2001:db8::104/64 dev lan1")
	eventually(t, "the client's address is a duplicate", func() bool {
		return strings.Contains(must(t, "ip -n "+client+" address show lan1"), "dadfailed")
	})
}

// joined reports whether the kernel is a member of the group on lan0.
func joined(t *testing.T, group string) bool {
	t.Helper()
	return strings.Contains(must(t, "ip -6 maddress show lan0"), group)
}

func TestLinkThatComesBack(t *testing.T) {
	n := startNode(t)
	n.announce("192.0.2.105", "2001:db8::105")
	eventually(t, "the group is joined", func() bool { return joined(t, "ff02::1:ff00:105") })
	for name, change := range map[string][2]string{
		"after down and up":            {"ip link set lan0 down", "ip link set lan0 up"},
		"after the cable was out":      {"ip -n " + client + " link set lan1 down", "ip -n " + client + " link set lan1 up"},
		"after its MAC was changed":    {"ip link set lan0 down", "ip link set lan0 address 02:00:00:00:00:55 up"},
		"after IPv6 was off and on":    {"sysctl -qw net.ipv6.conf.lan0.disable_ipv6=1", "sysctl -qw net.ipv6.conf.lan0.disable_ipv6=0"},
		"after its link-local changed": {"ip -6 address flush dev lan0 scope link", "ip address add fe80::77/64 dev lan0 nodad"},
	} {
		must(t, change[0])
		eventually(t, name+": unusable", func() bool { return !n.usable("lan0") })
		before := n.gratuitous()
		must(t, change[1])
		eventually(t, name+": usable", func() bool { return n.usable("lan0") })
		eventually(t, name+": a burst is sent", func() bool { return n.gratuitous() > before })
		eventually(t, name+": the group is joined", func() bool { return joined(t, "ff02::1:ff00:105") })
		mac := ownAddress(t)
		must(t, "ip -n "+client+" address replace 2001:db8::2/64 dev lan1 nodad") // lost with the link
		eventually(t, name+": solicitations are answered", func() bool {
			out, _ := run(t, onClient("ndisc6 -1 -r 1 -w 200 2001:db8::105 lan1"))
			return strings.Contains(out, strings.ToUpper(mac))
		})
		eventually(t, name+": requests are answered", func() bool {
			out, _ := run(t, onClient("arping -c 1 -w 1 -I lan1 192.0.2.105"))
			return strings.Contains(out, strings.ToUpper(mac))
		})
	}
}

func (n *node) gratuitous() (sum uint64) {
	for _, a := range n.announcer.Stats().Addresses {
		sum += a.Gratuitous
	}
	return sum
}

func TestThousandsOfGroupsAreJoined(t *testing.T) {
	n := startNode(t)
	var addrs []string
	for i := range 5000 {
		addrs = append(addrs, fmt.Sprintf("2001:db8::1:%x", i))
	}
	n.announce(addrs...)
	eventually(t, "all groups are joined", func() bool {
		return strings.Count(must(t, "ip -6 maddress show lan0"), "ff02::1:ff01:") == len(addrs)
	})
	n.announce()
	eventually(t, "all groups are left", func() bool { return !joined(t, "ff02::1:ff01:") })
}

// The speaker's container has no other capability.
func TestNetRawIsEnough(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "setpriv", "--bounding-set=-all,+net_raw", "--no-new-privs", os.Args[0])
	cmd.Env = append(os.Environ(), serveOnly+"=192.0.2.107 2001:db8::107")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer kill(t, cmd)
	status := func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	eventually(t, "only CAP_NET_RAW is left", func() bool { return strings.Contains(status(), "CapEff:\t0000000000002000") })
	eventually(t, "requests are answered", func() bool {
		_, ok := run(t, onClient("arping -c 1 -w 1 -I lan1 192.0.2.107"))
		return ok
	})
	eventually(t, "solicitations are answered", func() bool {
		_, ok := run(t, onClient("ndisc6 -1 -r 1 -w 200 2001:db8::107 lan1"))
		return ok
	})
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Errorf("%s ended before it was killed: %v", cmd.Path, err)
	}
}

// TestBurstOnTheWire compares what tcpdump sees with what is promised.
func TestBurstOnTheWire(t *testing.T) {
	n := startNode(t)
	mac := ownAddress(t)
	lines := capture(t, "arp host 192.0.2.106 or (icmp6 and ip6[40] == 136)")
	n.announce("192.0.2.106", "2001:db8::106")
	counts := map[string]int{}
	wantForms := map[string]*regexp.Regexp{
		"announcement": regexp.MustCompile(mac + " > ff:ff:ff:ff:ff:ff, .* Request who-has 192.0.2.106 .*tell 192.0.2.106"),
		"reply":        regexp.MustCompile(mac + " > ff:ff:ff:ff:ff:ff, .* Reply 192.0.2.106 is-at " + mac),
		"unsolicited":  regexp.MustCompile(mac + " > 33:33:00:00:00:01, .*2001:db8::106 > ff02::1: .*neighbor advertisement, .*tgt is 2001:db8::106, Flags \\[override\\]"),
	}
	sent := func() bool {
		for _, form := range []string{"announcement", "reply", "unsolicited"} {
			if counts[form] < len(rounds) {
				return false
			}
		}
		return true
	}
	deadline := time.After(patience)
	for !sent() {
		select {
		case line := <-lines:
			for form, re := range wantForms {
				if re.MatchString(line) {
					counts[form]++
				}
			}
		case <-deadline:
			t.Fatalf("seen %v, want %d of each", counts, len(rounds))
		}
	}
}

// capture returns the frames that the client sees, as tcpdump's lines.
func capture(t *testing.T, filter string) <-chan string {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", client, "tcpdump", "-lnev", "-i", "lan1", filter)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	messages, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(t, cmd) })
	for listening := bufio.NewScanner(messages); listening.Scan(); {
		if strings.Contains(listening.Text(), "listening on") {
			break
		}
	}
	lines := make(chan string, 1000)
	go func() {
		var entry string
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			if !strings.HasPrefix(scanner.Text(), "\t") && entry != "" { // a new frame
				lines <- entry
				entry = ""
			}
			entry += " " + strings.TrimSpace(scanner.Text())
			if strings.Contains(entry, "ethertype ARP") || strings.Contains(entry, "destination link-address") {
				lines <- entry
				entry = ""
			}
		}
	}()
	return lines
}

// BenchmarkRoundTrip is the time from a client's request to the answer: that of
// the Announcer, and for comparison that of the kernel for an address of its own.
func BenchmarkRoundTrip(b *testing.B) {
	n := startNode(b)
	n.announce(vip4.String())
	eventually(b, "a burst is sent", func() bool { return n.gratuitous() > 0 })
	conn, mac := clientSocket(b)
	for _, asked := range []struct {
		name string
		addr netip.Addr
	}{
		{"kernel", netip.MustParseAddr("192.0.2.1")},
		{"announcer", vip4},
	} {
		b.Run(asked.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				took = append(took, askFor(b, conn, mac, asked.addr))
				time.Sleep(200 * time.Microsecond) // a client is not a flood
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

// askFor sends a request and waits for the answer to it.
func askFor(b *testing.B, conn *packetConn, own net.HardwareAddr, addr netip.Addr) time.Duration {
	b.Helper()
	started := time.Now()
	request := requestFrame(b, broadcast, client4, addr)
	copy(request[6:12], own)
	copy(request[22:28], own)
	if _, err := conn.Write(request); err != nil {
		b.Fatal(err)
	}
	frame := make([]byte, 1514)
	for {
		n, err := conn.Read(frame)
		if err != nil {
			b.Fatal(err)
		}
		if n >= 42 && frame[21] == arpReply && frame[0] != 0xff && netip.AddrFrom4([4]byte(frame[28:32])) == addr {
			return time.Since(started)
		}
	}
}

// clientSocket opens a socket on the client's link that hears all of ARP, and returns the link's MAC.
func clientSocket(b *testing.B) (conn *packetConn, own net.HardwareAddr) {
	b.Helper()
	err := inClient(func() error {
		ifi, err := net.InterfaceByName("lan1")
		if err != nil {
			return err
		}
		all := func([]span) []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: 1 << 16}} }
		own = ifi.HardwareAddr
		conn, err = openPacket(lb.Link{Name: ifi.Name, Index: ifi.Index}, etherTypeARP, all)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := conn.Close(); err != nil {
			b.Error(err)
		}
	})
	return conn, own
}

// inClient calls f in the client's namespace.
func inClient(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		return err
	}
	clients, err := netns.GetFromName(client)
	if err != nil {
		return err
	}
	if err := netns.Set(clients); err != nil {
		return err
	}
	return errors.Join(f(), netns.Set(own))
}
