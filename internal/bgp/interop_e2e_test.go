//go:build e2e

package bgp

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/nstest"
)

// These tests hold sessions with the routers that people run, on a real kernel:
//
//	this process's own namespace             namespace bgp-PID
//	lan0 192.0.2.1, 2001:db8::1   ── veth ──   lan1 192.0.2.2, 2001:db8::2, FRR or BIRD
//
// They need root, iproute2, frr and bird2.

var far = fmt.Sprintf("bgp-%d", os.Getpid())

func TestMain(m *testing.M) {
	nstest.Main(func() int { return runWithRouter(m) })
}

func runWithRouter(m *testing.M) int {
	defer unplug()
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Printf("set up the loopback link: %v: %s\n", err, out)
		return 1
	}
	return m.Run()
}

// unplug removes the router's namespace, and the link with it.
func unplug() { _ = exec.Command("ip", "netns", "delete", far).Run() }

// plug connects us to a namespace that nothing is left in of the router before.
func plug(t testing.TB) {
	t.Helper()
	unplug()
	_ = exec.Command("ip", "link", "delete", "lan0").Run() // the namespace may take its time
	for _, command := range []string{
		"ip netns add " + far,
		"ip -n " + far + " link set lo up",
		"ip link add lan0 type veth peer name lan1 netns " + far,
		"ip address add 192.0.2.1/24 dev lan0",
		"ip address add 2001:db8::1/64 dev lan0 nodad",
		"ip link set lan0 up",
		"ip -n " + far + " address add 192.0.2.2/24 dev lan1",
		"ip -n " + far + " address add 2001:db8::2/64 dev lan1 nodad",
		"ip -n " + far + " link set lan1 up",
	} {
		words := strings.Fields(command)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
}

// daemon is a program in the router's namespace, running until the test ends.
type daemon struct {
	t   testing.TB
	cmd *exec.Cmd

	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes what the daemon logs.
func (d *daemon) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.output.Write(p)
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.output.String()
}

func runThere(t testing.TB, words ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: exec.Command("ip", append([]string{"netns", "exec", far}, words...)...)}
	d.cmd.Stdout, d.cmd.Stderr = d, d
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.stop()
		if t.Failed() {
			t.Log(d.said())
		}
	})
	return d
}

// stop ends the daemon. A second time it does nothing.
func (d *daemon) stop() {
	d.signal(syscall.SIGCONT)
	d.signal(syscall.SIGTERM)
	_ = d.cmd.Wait()
}

func (d *daemon) signal(s syscall.Signal) { _ = d.cmd.Process.Signal(s) }

// frr is a router that runs FRR's bgpd and zebra.
type frr struct {
	t           testing.TB
	directory   string
	zebra, bgpd *daemon
}

// newFRR starts FRR with a configuration of "router bgp 64512" that holds the lines.
func newFRR(t testing.TB, lines string) *frr {
	t.Helper()
	plug(t)
	// Not t.TempDir: daemons run as user frr, who cannot go in there.
	directory, err := os.MkdirTemp("/tmp", "herald-frr-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	f := &frr{t: t, directory: directory}
	f.write("zebra.conf", "hostname router\nip nht resolve-via-default\n")
	f.write("bgpd.conf", "hostname router\nrouter bgp 64512\n bgp router-id 192.0.2.2\n no bgp ebgp-requires-policy\n no bgp network import-check\n"+lines)
	if out, err := exec.Command("chown", "-R", "frr:frr", directory).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	f.zebra, f.bgpd = f.start("zebra"), f.start("bgpd", "-p", "179")
	eventually(t, "bgpd is configured", func() bool { return strings.Contains(f.show("show running-config"), "router bgp") })
	return f
}

func (f *frr) stop() {
	f.bgpd.stop()
	f.zebra.stop()
}

func (f *frr) write(name, text string) {
	if err := os.WriteFile(filepath.Join(f.directory, name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *frr) start(name string, more ...string) *daemon {
	d := f.directory
	words := []string{
		"/usr/lib/frr/" + name, "--vty_socket", d, "-z", d + "/zserv.api", "-i", d + "/" + name + ".pid", "-f", d + "/" + name + ".conf",
		"-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", "debugging",
	}
	return runThere(f.t, append(words, more...)...)
}

// show runs commands of FRR's shell.
func (f *frr) show(commands ...string) string {
	words := []string{"netns", "exec", far, "vtysh", "--vty_socket", f.directory}
	for _, c := range commands {
		words = append(words, "-c", c)
	}
	out, _ := exec.Command("ip", words...).CombinedOutput() // what it says is what counts
	return string(out)
}

// bird is a router that runs BIRD.
type bird struct {
	t         testing.TB
	directory string
	daemon    *daemon
}

func newBIRD(t testing.TB, configuration string) *bird {
	t.Helper()
	plug(t)
	b := &bird{t: t, directory: t.TempDir()}
	file := filepath.Join(b.directory, "bird.conf")
	text := "log stderr all;\nrouter id 192.0.2.2;\nprotocol device { }\n" + configuration
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b.daemon = runThere(t, "bird", "-f", "-c", file, "-s", filepath.Join(b.directory, "ctl"), "-P", filepath.Join(b.directory, "pid"))
	eventually(t, "BIRD is up", func() bool { return strings.Contains(b.show("show status"), "up and running") })
	return b
}

func (b *bird) show(command string) string {
	out, _ := exec.Command("birdc", append([]string{"-s", filepath.Join(b.directory, "ctl")}, strings.Fields(command)...)...).CombinedOutput()
	return string(out)
}

// shows waits until a command's output contains all texts.
func shows(t *testing.T, show func() string, texts ...string) {
	t.Helper()
	out := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		out = show()
		missing := 0
		for _, text := range texts {
			if !strings.Contains(out, text) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
	}
	t.Errorf("want all of %q in:\n%s", texts, out)
}

// there is the peer in the router's namespace.
func there(address string) lb.Peer {
	return lb.Peer{Name: "tor", MyASN: 64500, ASN: 64512, Address: netip.MustParseAddr(address), Port: 179, HoldTime: 90 * time.Second}
}

var (
	med       = uint32(7)
	rich      = lb.Attributes{MED: &med, Prepend: 2, LocalPref: 300, Communities: []lb.Community{64500<<16 | 1, 64500<<16 | 2}, LargeCommunities: []lb.LargeCommunity{{Global: 64500, Local1: 2, Local2: 3}}}
	plain4    = route("198.51.100.1/32", lb.Attributes{})
	rich4     = route("198.51.100.2/32", rich)
	rich6     = route("2001:db8:100::2/128", rich)
	aggregate = route("203.0.113.0/24", lb.Attributes{})
)

func TestFRRReceivesAttributes(t *testing.T) {
	f := newFRR(t, ` neighbor 192.0.2.1 remote-as 64500
`)
	s := start(t, lb.Session{Peer: there("192.0.2.2"), Routes: []lb.Route{plain4, rich4, aggregate}})
	await(t, s, "tor", "established", established(3))
	shows(t, func() string { return f.show("show bgp ipv4 unicast 198.51.100.2/32") },
		"64500 64500 64500\n", "192.0.2.1 from 192.0.2.1 (192.0.2.1)", "metric 7,", "Community: 64500:1 64500:2", "Large Community: 64500:2:3")
	shows(t, func() string { return f.show("show bgp ipv4 unicast") }, "198.51.100.1/32", "203.0.113.0/24", "Displayed  3 routes")
	if strings.Contains(f.show("show bgp ipv4 unicast 198.51.100.2/32"), "localpref 300") {
		t.Error("an external router was sent a local preference")
	}
}

func TestFRRInsideTheAutonomousSystemReceivesLocalPreference(t *testing.T) {
	f := newFRR(t, ` neighbor 192.0.2.1 remote-as 64512
`)
	p := there("192.0.2.2")
	p.MyASN = 64512
	s := start(t, lb.Session{Peer: p, Routes: []lb.Route{plain4, rich4}})
	await(t, s, "tor", "established", established(2))
	shows(t, func() string { return f.show("show bgp ipv4 unicast 198.51.100.2/32") }, "Local\n", "localpref 300", "internal")
	shows(t, func() string { return f.show("show bgp ipv4 unicast 198.51.100.1/32") }, "Local\n", "localpref 100")
}

func TestFRROverIPv6(t *testing.T) {
	f := newFRR(t, ` neighbor 2001:db8::1 remote-as 64500
 address-family ipv6 unicast
  neighbor 2001:db8::1 activate
`)
	s := start(t, lb.Session{Peer: there("2001:db8::2"), Routes: []lb.Route{plain4, rich6}})
	await(t, s, "tor", "established with the IPv6 route alone", established(1))
	shows(t, func() string { return f.show("show bgp ipv6 unicast 2001:db8:100::2/128") },
		"64500 64500 64500\n", "2001:db8::1 from 2001:db8::1 (192.0.2.1)", "Large Community: 64500:2:3")
}

func TestFRRBothFamiliesOverEither(t *testing.T) {
	for us, router := range map[string]string{"192.0.2.1": "192.0.2.2", "2001:db8::1": "2001:db8::2"} {
		f := newFRR(t, fmt.Sprintf(` neighbor %[1]s remote-as 64500
 address-family ipv4 unicast
  neighbor %[1]s activate
 exit-address-family
 address-family ipv6 unicast
  neighbor %[1]s activate
`, us))
		p := there(router)
		p.DualStack = true
		s, stop := startStoppable(t, lb.Session{Peer: p, Routes: []lb.Route{plain4, rich4, rich6}})
		await(t, s, "tor", "established", established(3))
		shows(t, func() string { return f.show("show bgp ipv4 unicast 198.51.100.2/32") }, "192.0.2.1 from "+us, "valid")
		shows(t, func() string { return f.show("show bgp ipv6 unicast 2001:db8:100::2/128") }, "2001:db8::1 from "+us, "valid")
		stop()
		f.stop()
	}
}

func TestFRRSharesAPassword(t *testing.T) {
	for us, router := range map[string]string{"192.0.2.1": "192.0.2.2", "2001:db8::1": "2001:db8::2"} {
		f := newFRR(t, fmt.Sprintf(" neighbor %[1]s remote-as 64500\n neighbor %[1]s password old\n address-family ipv6 unicast\n neighbor %[1]s activate\n", us))
		p := there(router)
		p.Password = "wrong"
		s, stop := startStoppable(t, lb.Session{Peer: p})
		await(t, s, "tor", "suspected of another password", down(lb.PasswordSuspected))
		p.Password = "old"
		s.Set([]lb.Session{{Peer: p}})
		await(t, s, "tor", "established", established(0))
		f.show("configure terminal", "router bgp 64512", fmt.Sprintf("neighbor %s password new", us))
		p.Password = "new"
		s.Set([]lb.Session{{Peer: p, Routes: []lb.Route{plain4, rich6}}})
		await(t, s, "tor", "established again", established(1))
		stop()
		f.stop()
	}
}

func TestFRRWithTTLSecurity(t *testing.T) {
	for us, router := range map[string]string{"192.0.2.1": "192.0.2.2", "2001:db8::1": "2001:db8::2"} {
		f := newFRR(t, fmt.Sprintf(" neighbor %[1]s remote-as 64500\n neighbor %[1]s ttl-security hops 1\n address-family ipv6 unicast\n neighbor %[1]s activate\n", us))
		p := there(router)
		p.TTLSecurity, p.HoldTime = true, 3*time.Second
		s, stop := startStoppable(t, lb.Session{Peer: p})
		await(t, s, "tor", "established, and heard for longer than the hold time", func(st lb.SessionState) bool {
			return st.Status == lb.Established && st.Messages.KeepalivesReceived > 5
		})
		stop()
		f.stop()
	}
}

func TestBIRDWithoutTTLSecurityIsNotHeard(t *testing.T) {
	newBIRD(t, `
protocol bgp node { local 192.0.2.2 as 64512; neighbor 192.0.2.1 as 64500; ipv4 { import all; export none; }; }
`)
	p := there("192.0.2.2")
	p.TTLSecurity = true
	s := newSpeaker(t)
	s.openTimeout = time.Second
	s.Set([]lb.Session{{Peer: p}})
	run(t, s)
	st := await(t, s, "tor", "without an answer", down(lb.NoAnswer))
	if !strings.Contains(st.LastError, "dropped for ttlSecurity") {
		t.Errorf("last error %q", st.LastError)
	}
}

func TestFRROnAnUnnumberedLink(t *testing.T) {
	f := newFRR(t, ` neighbor lan1 interface remote-as external
 address-family ipv4 unicast
  neighbor lan1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor lan1 activate
`)
	p := there("::")
	p.Address, p.Interface = netip.Addr{}, "lan0"
	s := start(t, lb.Session{Peer: p, Routes: []lb.Route{plain4, rich4, rich6}})
	st := await(t, s, "tor", "established", established(3))
	if !st.Address.IsLinkLocalUnicast() || st.Address.Zone() != "lan0" {
		t.Errorf("learned the router's address %s", st.Address)
	}
	shows(t, func() string { return f.show("show bgp ipv4 unicast 198.51.100.2/32") }, "fe80::", "from lan1", "valid")
	shows(t, func() string { return f.show("show bgp ipv6 unicast 2001:db8:100::2/128") }, "fe80::", "from lan1", "valid")
	shows(t, func() string { return f.show("show ip route bgp") }, "198.51.100.2/32", "via fe80::")
}

func TestFRRKeepsRoutesOverARestart(t *testing.T) {
	f := newFRR(t, ` neighbor 192.0.2.1 remote-as 64500
 bgp graceful-restart
`)
	p := there("192.0.2.2")
	p.GracefulRestart = true
	s, stop := startStoppable(t, lb.Session{Peer: p, Routes: []lb.Route{plain4, rich4}})
	await(t, s, "tor", "established", established(2))
	shows(t, func() string { return f.show("show bgp ipv4 unicast") }, "198.51.100.1/32", "198.51.100.2/32")
	stop()
	shows(t, func() string { return f.show("show bgp ipv4 unicast") }, "S>", "198.51.100.1/32", "198.51.100.2/32")

	after := start(t, lb.Session{Peer: p, Routes: []lb.Route{rich4}})
	await(t, after, "tor", "established", established(1))
	eventually(t, "the route that is not wanted any more is gone", func() bool {
		table := f.show("show bgp ipv4 unicast")
		return !strings.Contains(table, "198.51.100.1/32") && strings.Contains(table, "198.51.100.2/32") && !strings.Contains(table, "S>")
	})
}

func TestFRRIsToldThatTheSpeakerStops(t *testing.T) {
	f := newFRR(t, " neighbor 192.0.2.1 remote-as 64500\n")
	s, stop := startStoppable(t, lb.Session{Peer: there("192.0.2.2"), Routes: []lb.Route{plain4}})
	await(t, s, "tor", "established", established(1))
	// FRR drops what it has not read when the connection closes right after it came about.
	shows(t, func() string { return f.show("show bgp ipv4 unicast") }, "198.51.100.1/32")
	stop()
	shows(t, func() string { return f.show("show bgp neighbors 192.0.2.1") }, "Cease/Administrative Shutdown")
	shows(t, func() string { return f.show("show bgp ipv4 unicast") }, "No BGP prefixes displayed")
}

func TestFRRSaysWhyItEndsTheSession(t *testing.T) {
	f := newFRR(t, " neighbor 192.0.2.1 remote-as 64500\n")
	s := start(t, lb.Session{Peer: there("192.0.2.2")})
	await(t, s, "tor", "established", established(0))
	f.show("configure terminal", "router bgp 64512", "neighbor 192.0.2.1 shutdown message rack 7 moves")
	st := await(t, s, "tor", "ended by the router", down(lb.NotificationReceived))
	if !strings.Contains(st.LastError, `administrative shutdown (code 6, subcode 2): "rack 7 moves"`) {
		t.Errorf("last error %q", st.LastError)
	}
	f.show("configure terminal", "router bgp 64512", "no neighbor 192.0.2.1 shutdown")
	await(t, s, "tor", "established again", established(0))
}

func TestFRRWithAnotherASN(t *testing.T) {
	newFRR(t, " neighbor 192.0.2.1 remote-as 64500\n")
	p := there("192.0.2.2")
	p.ASN = 64999
	s := start(t, lb.Session{Peer: p})
	st := await(t, s, "tor", "in another AS", down(lb.WrongASN))
	if want := "the router's ASN is 64512, the one configured is 64999 (ours is 64500)"; st.LastError != want {
		t.Errorf("last error %q, want %q", st.LastError, want)
	}
	p.ASN, p.MyASN = 64512, 64501
	s.Set([]lb.Session{{Peer: p}})
	st = await(t, s, "tor", "refused for our ASN", down(lb.WrongASN))
	if !strings.Contains(st.LastError, "ours, which is 64501; its own is 64512") {
		t.Errorf("last error %q", st.LastError)
	}
}

func TestFRRWithDynamicAndLocalASN(t *testing.T) {
	f := newFRR(t, " neighbor 192.0.2.1 remote-as 4200000001\n")
	p := there("192.0.2.2")
	p.ASN, p.DynamicASN, p.LocalASN = 0, lb.ExternalASN, 4200000001
	s := start(t, lb.Session{Peer: p, Routes: []lb.Route{plain4}})
	await(t, s, "tor", "established", established(1))
	shows(t, func() string { return f.show("show bgp ipv4 unicast 198.51.100.1/32") }, "\n  4200000001\n")
	p.DynamicASN = lb.InternalASN
	s.Set([]lb.Session{{Peer: p}})
	await(t, s, "tor", "not internal", down(lb.WrongASN))
}

func TestSilentFRRIsGoneAfterTheHoldTime(t *testing.T) {
	f := newFRR(t, " neighbor 192.0.2.1 remote-as 64500\n")
	p := there("192.0.2.2")
	p.HoldTime = 3 * time.Second
	s := start(t, lb.Session{Peer: p})
	await(t, s, "tor", "established", established(0))
	f.bgpd.signal(syscall.SIGSTOP)
	st := await(t, s, "tor", "silent", down(lb.HoldTimerExpired))
	if st.LastError != "the router was silent for 3s" {
		t.Errorf("last error %q", st.LastError)
	}
	f.bgpd.signal(syscall.SIGCONT)
	await(t, s, "tor", "established again", established(0))
}

func TestBIRDReceivesAttributes(t *testing.T) {
	b := newBIRD(t, `
protocol bgp node { local 192.0.2.2 as 64512; neighbor 192.0.2.1 as 64500; password "secret"; ttl security on;
  ipv4 { import all; export none; }; ipv6 { import all; export none; }; }
`)
	p := there("192.0.2.2")
	p.Password, p.TTLSecurity, p.DualStack = "secret", true, true
	s := start(t, lb.Session{Peer: p, Routes: []lb.Route{plain4, rich4, rich6}})
	await(t, s, "tor", "established", established(3))
	attributes := []string{
		"BGP.as_path: 64500 64500 64500", "BGP.med: 7", "BGP.community: (64500,1) (64500,2)", "BGP.large_community: (64500, 2, 3)",
	}
	shows(t, func() string { return b.show("show route all 198.51.100.2/32") }, append(attributes, "BGP.next_hop: 192.0.2.1")...)
	shows(t, func() string { return b.show("show route all 2001:db8:100::2/128") }, append(attributes, "BGP.next_hop: 2001:db8::1")...)
}

func TestBIRDKeepsRoutesOverARestart(t *testing.T) {
	b := newBIRD(t, `
protocol bgp node { local 2001:db8::2 as 64512; neighbor 2001:db8::1 as 64512; password "secret"; ipv6 { import all; }; ipv4 { import all; extended next hop on; }; }
`)
	p := there("2001:db8::2")
	p.Password, p.GracefulRestart, p.MyASN, p.DualStack = "secret", true, 64512, true
	s, stop := startStoppable(t, lb.Session{Peer: p, Routes: []lb.Route{plain4, rich6}})
	await(t, s, "tor", "established", established(2))
	shows(t, func() string { return b.show("show route all 2001:db8:100::2/128") }, "BGP.local_pref: 300", "BGP.next_hop: 2001:db8::1")
	stop()
	shows(t, func() string { return b.show("show protocols") }, "node")
	shows(t, func() string { return b.show("show route") }, "198.51.100.1/32", "2001:db8:100::2/128")
	after := start(t, lb.Session{Peer: p, Routes: []lb.Route{rich6}})
	await(t, after, "tor", "established", established(1))
	eventually(t, "the route that is not wanted any more is gone", func() bool {
		table := b.show("show route")
		return !strings.Contains(table, "198.51.100.1/32") && strings.Contains(table, "2001:db8:100::2/128")
	})
}

func TestSourceAddressThatIsMissing(t *testing.T) {
	newFRR(t, " neighbor 192.0.2.77 remote-as 64500\n")
	p := there("192.0.2.2")
	p.SourceAddress, p.VRF = netip.MustParseAddr("192.0.2.77"), "lan0"
	s := start(t, lb.Session{Peer: p})
	await(t, s, "tor", "without its source address", down(lb.SourceAddressMissing))
	if out, err := exec.Command("ip", "address", "add", "192.0.2.77/24", "dev", "lan0").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "address", "del", "192.0.2.77/24", "dev", "lan0").Run() })
	await(t, s, "tor", "established", established(0))
}

func TestDeviceThatIsMissing(t *testing.T) {
	p := there("192.0.2.2")
	p.VRF = "red"
	s := start(t, lb.Session{Peer: p})
	st := await(t, s, "tor", "without its device", down(lb.NoRoute))
	if diff := cmp.Diff(true, strings.Contains(st.LastError, "bind to device red: no such device")); diff != "" {
		t.Errorf("last error %q", st.LastError)
	}
}

func TestBIRDIsToldThatTheSpeakerStops(t *testing.T) {
	b := newBIRD(t, `
protocol bgp node { local 192.0.2.2 as 64512; neighbor 192.0.2.1 as 64500; ipv4 { import all; export none; }; }
`)
	s, stop := startStoppable(t, lb.Session{Peer: there("192.0.2.2"), Routes: []lb.Route{plain4}})
	await(t, s, "tor", "established", established(1))
	stop()
	shows(t, func() string { return b.show("show protocols all node") }, "Last error:       Received: Administrative shutdown")
	eventually(t, "BIRD logs the message", func() bool { return strings.Contains(b.daemon.said(), `"the speaker on this node stops"`) })
}
