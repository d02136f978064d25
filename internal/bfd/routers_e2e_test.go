//go:build e2e

package bfd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// router is another implementation of BFD on a host: FRR's or BIRD's.
type router struct {
	w    *world
	host int
	dir  string
	kill func()
}

// frr starts FRR's bfdd, and the zebra that tells it of links, with lines of configuration for the
// node bfd.
func (w *world) frr(host int, lines string) *router {
	w.t.Helper()
	r := &router{w: w, host: host, dir: w.t.TempDir()}
	r.give("frr")
	w.daemon(host, r.frrCommand("zebra"))
	eventually(w.t, "zebra runs", r.exists("zebra.vty"))
	r.startBFDD()
	r.configure(lines)
	return r
}

func (r *router) frrCommand(name string) string {
	return fmt.Sprintf("/usr/lib/frr/%s --vty_socket %s -i %s/%s.pid -z %s/zserv.api -f /dev/null --log stdout", name, r.dir, r.dir, name, r.dir)
}

func (r *router) startBFDD() {
	r.w.t.Helper()
	_ = os.Remove(filepath.Join(r.dir, "bfdd.vty"))
	r.kill = r.w.daemon(r.host, r.frrCommand("bfdd")+" --bfdctl "+r.dir+"/bfdd.sock")
	eventually(r.w.t, "bfdd runs", r.exists("bfdd.vty"))
}

// give hands the directory, and those above it, to the user of a daemon.
func (r *router) give(name string) {
	r.w.t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		r.w.t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(r.dir, uid, gid); err != nil {
		r.w.t.Fatal(err)
	}
	for dir := filepath.Dir(r.dir); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			r.w.t.Fatal(err)
		}
	}
}

func (r *router) exists(name string) func() bool {
	return func() bool {
		_, err := os.Stat(filepath.Join(r.dir, name))
		return err == nil
	}
}

// configure gives bfdd lines for its node bfd.
func (r *router) configure(lines string) {
	r.w.t.Helper()
	args := []string{"netns", "exec", r.w.hosts[r.host], "vtysh", "--vty_socket", r.dir, "-d", "bfdd", "-c", "configure terminal", "-c", "bfd"}
	for line := range strings.Lines(lines) {
		args = append(args, "-c", strings.TrimSpace(line))
	}
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil || regexp.MustCompile("% (Unknown|Ambiguous|Command)").Match(out) {
		r.w.t.Fatalf("configure bfdd: %v: %s", err, out)
	}
}

// frrPeer is what "show bfd peers json" says of a peer. Intervals are in milliseconds.
type frrPeer struct {
	Peer, Status     string
	ID               uint32
	PassiveMode      bool   `json:"passive-mode"`
	Diagnostic       string `json:"diagnostic"`
	RemoteDiagnostic string `json:"remote-diagnostic"`
	RemoteReceive    int    `json:"remote-receive-interval"`
	RemoteTransmit   int    `json:"remote-transmit-interval"`
	RemoteEcho       int    `json:"remote-echo-receive-interval"`
	RemoteMultiplier int    `json:"remote-detect-multiplier"`
	ReceiveInterval  int    `json:"receive-interval"`
	TransmitInterval int    `json:"transmit-interval"`
	Multiplier       int    `json:"detect-multiplier"`
}

// peers are all that bfdd knows.
func (r *router) peers() []frrPeer {
	r.w.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", r.w.hosts[r.host], "vtysh", "--vty_socket", r.dir, "-d", "bfdd", "-c", "show bfd peers json").Output()
	if err != nil {
		r.w.t.Fatalf("show bfd peers: %v", err)
	}
	var peers []frrPeer
	if err := json.Unmarshal(out, &peers); err != nil {
		r.w.t.Fatalf("show bfd peers: %v: %s", err, out)
	}
	return peers
}

// awaitPeer waits until bfdd's only session is as wanted.
func (r *router) awaitPeer(what string, holds func(frrPeer) bool) frrPeer {
	r.w.t.Helper()
	var last []frrPeer
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if last = r.peers(); len(last) == 1 && holds(last[0]) {
			return last[0]
		}
	}
	r.w.t.Fatalf("bfdd's session never was %s; it is %+v", what, last)
	return frrPeer{}
}

func TestFRR(t *testing.T) {
	profile := lb.BFDProfile{
		ReceiveInterval: 150 * ms, TransmitInterval: 120 * ms, DetectMultiplier: 4, EchoInterval: 50 * ms, MinimumTTL: 254,
	}
	const timers = "detect-multiplier 5\nreceive-interval 100\ntransmit-interval 200\n"
	for _, tt := range []struct {
		name, peer, options string
		session             lb.BFDSession
		change              func(*lb.BFDProfile)
		hosts               int
	}{
		{name: "IPv4", peer: "peer 10.0.0.1 local-address 10.0.0.2 interface l0", session: lb.BFDSession{Peer: address(0, 2)}},
		{name: "IPv6", peer: "peer fd00::1 local-address fd00::2 interface l0", session: lb.BFDSession{Peer: address6(0, 2)}},
		{
			name: "two hops", peer: "peer 10.0.0.1 multihop local-address 10.0.1.2", hosts: 3,
			session: lb.BFDSession{Peer: address(1, 2), Local: address(0, 1), MultiHop: true},
		},
		{
			name: "two hops, IPv6", peer: "peer fd00::1 multihop local-address fd00:0:0:1::2", hosts: 3,
			session: lb.BFDSession{Peer: address6(1, 2), Local: address6(0, 1), MultiHop: true},
		},
		{
			name: "we are passive", peer: "peer 10.0.0.1 local-address 10.0.0.2 interface l0", session: lb.BFDSession{Peer: address(0, 2)},
			change: func(p *lb.BFDProfile) { p.PassiveMode = true },
		},
		{
			name: "it is passive", peer: "peer 10.0.0.1 local-address 10.0.0.2 interface l0", options: "passive-mode\n",
			session: lb.BFDSession{Peer: address(0, 2)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, max(2, tt.hosts))
			r := w.frr(len(w.hosts)-1, tt.peer+"\n"+timers+tt.options+"no shutdown\n")
			session := tt.session
			session.Profile = profile
			if tt.change != nil {
				tt.change(&session.Profile)
			}
			h := w.speaker(0)
			h.Set([]lb.BFDSession{session})
			h.awaitStatus(session.Peer, lb.BFDUp)
			// We send at the slower of our 120 ms and its 100; it sends at the slower of its 200 and our 150.
			h.await(session.Peer, "negotiated", func(s lb.BFDState) bool {
				return s.TransmitInterval == 120*ms && s.DetectionTime == 5*200*ms
			})
			r.awaitPeer("up with our values", func(p frrPeer) bool {
				return p.Status == "up" && p.RemoteTransmit == 120 && p.RemoteReceive == 150 && p.RemoteMultiplier == 4
			})
			lifeWithFRR(t, h, r, session, tt.peer)
		})
	}
}

// lifeWithFRR has a session that is up go down and come up again in all ways.
func lifeWithFRR(t *testing.T, h *host, r *router, session lb.BFDSession, peer string) {
	t.Helper()
	h.flaps()

	// A new profile changes the intervals, and nothing else.
	session.Profile.ReceiveInterval, session.Profile.TransmitInterval, session.Profile.DetectMultiplier = 300*ms, 300*ms, 3
	h.Set([]lb.BFDSession{session})
	r.awaitPeer("up with the new profile", func(p frrPeer) bool {
		return p.Status == "up" && p.RemoteTransmit == 300 && p.RemoteReceive == 300 && p.RemoteMultiplier == 3
	})
	h.await(session.Peer, "negotiated", func(s lb.BFDState) bool { return s.TransmitInterval == 300*ms && s.DetectionTime == 5*300*ms })
	if flaps := h.flaps(); len(flaps) > 0 {
		t.Errorf("the new profile made the session flap: %v", flaps)
	}

	// It is shut down there.
	r.configure(peer + "\nshutdown")
	got := h.awaitStatus(session.Peer, lb.BFDDown)
	if got.Diagnostic != "Neighbor Signaled Session Down" || got.RemoteStatus != lb.BFDAdminDown {
		t.Errorf("its shutdown is %+v", got)
	}
	r.configure(peer + "\nno shutdown")
	h.awaitStatus(session.Peer, lb.BFDUp)

	// The path is cut.
	link := fmt.Sprintf("l%d", r.host-1)
	r.w.in(r.host, "ip link set "+link+" down")
	got = h.awaitStatus(session.Peer, lb.BFDDown)
	if got.Diagnostic != "Control Detection Time Expired" {
		t.Errorf("the cut is %+v", got)
	}
	r.w.in(r.host, "ip link set "+link+" up")
	r.w.in(r.host, fmt.Sprintf("ip address replace %s/64 dev %s nodad", address6(r.host-1, 2), link))
	r.w.route(r.host)
	h.awaitStatus(session.Peer, lb.BFDUp)

	// We go, in good order.
	h.Set(nil)
	gone := r.awaitPeer("down", func(p frrPeer) bool { return p.Status == "down" })
	if gone.RemoteDiagnostic != "administratively down" && gone.Diagnostic != "neighbor signaled session down" {
		t.Errorf("our removal is %+v there", gone)
	}
	h.Set([]lb.BFDSession{session})
	h.awaitStatus(session.Peer, lb.BFDUp)

	// Its daemon dies.
	const detection = 5 * 300 * ms
	h.await(session.Peer, "settled", func(s lb.BFDState) bool { return s.DetectionTime == detection })
	h.flaps()
	r.kill()
	killed := time.Now()
	got = h.awaitStatus(session.Peer, lb.BFDDown)
	if got.Diagnostic != "Control Detection Time Expired" {
		t.Errorf("its death is %+v", got)
	}
	t.Logf("its death was detected after %s of %s", h.flaps()[0].at.Sub(killed), detection)
}

// FRR before version 9 sends echoes of its own kind, which our end has to reflect; ours are
// forwarded by the kernel of its host.
func TestFRREcho(t *testing.T) {
	w := newWorld(t, 2)
	peer := "peer 10.0.0.1 local-address 10.0.0.2 interface l0\n"
	r := w.frr(1, peer+"detect-multiplier 3\nreceive-interval 300\ntransmit-interval 300\necho-mode\necho transmit-interval 50\necho receive-interval 50\nno shutdown\n")
	h := w.speaker(0)
	session := lb.BFDSession{Peer: address(0, 2), Profile: profileOf(300*ms, 3)}
	session.Profile.EchoMode = true
	h.Set([]lb.BFDSession{session})
	h.awaitStatus(session.Peer, lb.BFDUp)
	r.awaitPeer("up with echoes", func(p frrPeer) bool { return p.Status == "up" && p.RemoteEcho == 50 })
	eventually(t, "echoes come back", func() bool { return h.Stats().Sessions[session.Key()].EchoPacketsReceived > 40 })
	h.flaps()
	time.Sleep(3 * time.Second)
	if flaps := h.flaps(); len(flaps) > 0 {
		t.Fatalf("it flaps: %v", flaps)
	}

	// Control packets go on, but nothing is forwarded any more.
	w.in(1, "sysctl -qw net.ipv4.ip_forward=0")
	broken := time.Now()
	eventually(t, "the loss of echoes is reported", func() bool {
		for _, f := range h.flaps() {
			if f.state.Diagnostic == "Echo Function Failed" {
				t.Logf("detected after %s", f.at.Sub(broken))
				return true
			}
		}
		return false
	})
}

// bird starts BIRD with a protocol bfd.
func (w *world) bird(host int, lines string) *router {
	w.t.Helper()
	r := &router{w: w, host: host, dir: w.t.TempDir()}
	config := filepath.Join(r.dir, "bird.conf")
	text := "router id 10.0.0.2;\nprotocol device {}\nprotocol bfd {\n" + lines + "}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	r.kill = w.daemon(host, fmt.Sprintf("bird -f -c %s -s %s/bird.ctl", config, r.dir))
	eventually(w.t, "bird runs", r.exists("bird.ctl"))
	return r
}

// show is what BIRD knows of its sessions.
func (r *router) show() string {
	r.w.t.Helper()
	return r.w.in(r.host, "birdc -s "+r.dir+"/bird.ctl show bfd sessions")
}

func TestBIRD(t *testing.T) {
	const timers = "min rx interval 100 ms; min tx interval 200 ms; idle tx interval 1 s; multiplier 5;"
	profile := lb.BFDProfile{
		ReceiveInterval: 150 * ms, TransmitInterval: 120 * ms, DetectMultiplier: 4, EchoInterval: 50 * ms, MinimumTTL: 254,
	}
	for _, tt := range []struct {
		name, config string
		session      lb.BFDSession
		hosts        int
	}{
		{"IPv4", `interface "l0" {` + timers + `}; neighbor 10.0.0.1 dev "l0" local 10.0.0.2;`, lb.BFDSession{Peer: address(0, 2)}, 2},
		{"IPv6", `interface "l0" {` + timers + `}; neighbor fd00::1 dev "l0" local fd00::2;`, lb.BFDSession{Peer: address6(0, 2)}, 2},
		{"passive", `interface "l0" {` + timers + ` passive yes; }; neighbor 10.0.0.1 dev "l0" local 10.0.0.2;`, lb.BFDSession{Peer: address(0, 2)}, 2},
		{
			"two hops", `multihop {` + timers + `}; neighbor 10.0.0.1 local 10.0.1.2 multihop on;`,
			lb.BFDSession{Peer: address(1, 2), Local: address(0, 1), MultiHop: true},
			3,
		},
		{
			"two hops, IPv6", `multihop {` + timers + `}; neighbor fd00::1 local fd00:0:0:1::2 multihop on;`,
			lb.BFDSession{Peer: address6(1, 2), Local: address6(0, 1), MultiHop: true},
			3,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, tt.hosts)
			r := w.bird(tt.hosts-1, tt.config)
			session := tt.session
			session.Profile = profile
			session.Profile.MinimumTTL = 63 // over several hops, BIRD sends with a TTL of 64
			h := w.speaker(0)
			h.Set([]lb.BFDSession{session})
			h.awaitStatus(session.Peer, lb.BFDUp)
			h.await(session.Peer, "negotiated", func(s lb.BFDState) bool {
				return s.TransmitInterval == 120*ms && s.DetectionTime == 5*200*ms
			})
			eventually(t, "BIRD is up", func() bool { return strings.Contains(r.show(), "Up") })
			lifeWithBIRD(t, h, r, session)
		})
	}
}

// lifeWithBIRD has a session that is up go down and come up again.
func lifeWithBIRD(t *testing.T, h *host, r *router, session lb.BFDSession) {
	t.Helper()
	h.flaps()
	session.Profile.ReceiveInterval, session.Profile.TransmitInterval = 300*ms, 300*ms
	h.Set([]lb.BFDSession{session})
	h.await(session.Peer, "negotiated", func(s lb.BFDState) bool { return s.TransmitInterval == 300*ms && s.DetectionTime == 5*300*ms })
	if flaps := h.flaps(); len(flaps) > 0 {
		t.Errorf("the new profile made the session flap: %v", flaps)
	}

	h.Set(nil)
	eventually(t, "BIRD is down", func() bool { return !strings.Contains(r.show(), "Up") })
	h.Set([]lb.BFDSession{session})
	h.awaitStatus(session.Peer, lb.BFDUp)

	const detection = 5 * 300 * ms
	h.await(session.Peer, "settled", func(s lb.BFDState) bool { return s.DetectionTime == detection })
	h.flaps()
	r.kill()
	killed := time.Now()
	if got := h.awaitStatus(session.Peer, lb.BFDDown); got.Diagnostic != "Control Detection Time Expired" {
		t.Errorf("its death is %+v", got)
	}
	t.Logf("its death was detected after %s of %s", h.flaps()[0].at.Sub(killed), detection)
}
