//go:build e2e

package layer2

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// capture listens on the LAN until stop is called, which returns the frames of ARP and NDP that were heard.
func capture(ctx context.Context, t *testing.T) (stop func() [][]byte) {
	t.Helper()
	command, err := cluster.Command(ctx, lab.Client, "tcpdump", "--immediate-mode", "-i", "eth0", "-U", "-w", "-", "arp or icmp6")
	must(t, err)
	var file, complaints bytes.Buffer
	command.Stdout, command.Stderr = &file, &lineWatcher{buffer: &complaints, until: "listening on", seen: make(chan struct{})}
	must(t, command.Start())
	select {
	case <-command.Stderr.(*lineWatcher).seen:
	case <-time.After(10 * time.Second):
		t.Fatal("tcpdump does not listen")
	}
	return func() [][]byte {
		t.Helper()
		time.Sleep(time.Second) // what has just been on the wire is read before tcpdump ends
		must(t, command.Process.Signal(interrupt))
		must(t, command.Wait())
		frames, err := readPcap(&file)
		must(t, err)
		return frames
	}
}

// readPcap reads the frames of a capture file: a header of 24 bytes, and before each frame one of 16 whose third word is
// the frame's length (pcap-savefile(5)).
func readPcap(file io.Reader) (frames [][]byte, err error) {
	if _, err := io.CopyN(io.Discard, file, 24); err != nil {
		return nil, fmt.Errorf("read capture: %w", err)
	}
	for {
		var header [16]byte
		if _, err := io.ReadFull(file, header[:]); err == io.EOF {
			return frames, nil
		} else if err != nil {
			return nil, fmt.Errorf("read capture: %w", err)
		}
		frame := make([]byte, binary.LittleEndian.Uint32(header[8:]))
		if _, err := io.ReadFull(file, frame); err != nil {
			return nil, fmt.Errorf("read capture: %w", err)
		}
		frames = append(frames, frame)
	}
}

// inWords says what a frame of ARP or NDP says about an address; empty if it does not. The host is who sends it.
func inWords(frame []byte, address netip.Addr, host lab.Host) string {
	own := mac(host)
	sender := func(at int) string {
		if slices.Equal(frame[at:at+6], own) && slices.Equal(frame[6:12], own) {
			return string(host)
		}
		return net.HardwareAddr(frame[at : at+6]).String()
	}
	switch a := address.AsSlice(); {
	case len(frame) >= 42 && frame[12] == 0x08 && frame[13] == 0x06 && slices.Equal(frame[28:32], a):
		operation := map[byte]string{1: "request", 2: "reply"}[frame[21]]
		return fmt.Sprintf("ARP %s from %s to %s: sender %s, target %s %s", operation, sender(22), hardware(frame[0:6]), address, hardware(frame[32:38]), protocol(frame[38:42]))
	case len(frame) >= 86 && frame[12] == 0x86 && frame[20] == 58 && frame[54] == 136 && slices.Equal(frame[62:78], a):
		return fmt.Sprintf("advertisement from %s %s to %s %s: flags %02x, option %x %s", sender(80), protocol(frame[22:38]), hardware(frame[0:6]), protocol(frame[38:54]), frame[58], frame[78:80], sender(80))
	}
	return ""
}

func mac(host lab.Host) net.HardwareAddr {
	return net.HardwareAddr{2, 0x4c, 0x41, 0x42, 0, lab.AddressesOf(host).V4.As4()[3]}
}

func hardware(address []byte) string {
	if slices.Equal(address, mac(lab.Client)) {
		return string(lab.Client)
	}
	return net.HardwareAddr(address).String()
}

func protocol(address []byte) string {
	a, _ := netip.AddrFromSlice(address)
	return a.String()
}

// said counts what was said about an address.
func said(frames [][]byte, address netip.Addr, host lab.Host) map[string]int {
	counts := map[string]int{}
	for _, f := range frames {
		if words := inWords(f, address, host); words != "" {
			counts[words]++
		}
	}
	return counts
}

// TestBursts: what is sent unasked when an address is gained, and that nothing is when nothing is.
func TestBursts(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	addresses := service(ctx, t, "burst", dualStack)
	owner := first(addresses[0], all()...)
	stop := capture(ctx, t)
	advertise(ctx, t, "burst")
	awaitOwner(ctx, t, addresses, owner)
	time.Sleep(5500 * time.Millisecond) // the burst's length, and a little
	// These make every speaker decide anew, and change nothing.
	advertise(ctx, t, "another")
	kubectl(ctx, t, "label", "service", "burst", "more=labels")
	kubectl(ctx, t, "label", "node", string(owner), "more=labels")
	t.Cleanup(func() { kubectl(context.Background(), t, "label", "node", string(owner), "more-") })
	time.Sleep(1500 * time.Millisecond)
	frames := stop()

	checkBurst(t, frames, addresses, owner)
	v4, v6 := addresses[0], addresses[1]
	request, reply, advertisement := unasked(addresses, owner)
	got4, got6 := said(frames, v4, owner), said(frames, v6, owner)
	for words, n := range got4 {
		toAll := strings.Contains(words, "to ff:ff:ff:ff:ff:ff")
		if words != request && words != reply && (toAll || !strings.HasPrefix(words, "ARP reply from "+string(owner)+" to client")) {
			t.Errorf("%d times %q", n, words)
		}
	}
	for words, n := range got6 {
		if words != advertisement && !strings.HasPrefix(words, "advertisement from "+string(owner)+" "+v6.String()+" to client") {
			t.Errorf("%d times %q", n, words)
		}
	}
}

// unasked are the frames of a burst, in words: both of an IPv4 address, and that of an IPv6 address.
func unasked(addresses []netip.Addr, owner lab.Host) (request, reply, advertisement string) {
	v4, v6 := addresses[0], addresses[1]
	request = fmt.Sprintf("ARP request from %s to ff:ff:ff:ff:ff:ff: sender %s, target 00:00:00:00:00:00 %s", owner, v4, v4)
	reply = fmt.Sprintf("ARP reply from %s to ff:ff:ff:ff:ff:ff: sender %s, target %s %s", owner, v4, mac(owner), v4)
	advertisement = fmt.Sprintf("advertisement from %s %s to 33:33:00:00:00:01 ff02::1: flags 20, option 0201 %s", owner, v6, owner)
	return request, reply, advertisement
}

// checkBurst checks that one burst was sent for each address, and no more than one.
func checkBurst(t *testing.T, frames [][]byte, addresses []netip.Addr, owner lab.Host) {
	t.Helper()
	request, reply, advertisement := unasked(addresses, owner)
	got4, got6 := said(frames, addresses[0], owner), said(frames, addresses[1], owner)
	// The slow refresh, whose turn may come at any time, is one frame more of these kinds.
	if n := got4[request]; n != 6 && n != 7 {
		t.Errorf("%d times %q, want 6, or 7 with the refresh; of %v", n, request, got4)
	}
	if n := got6[advertisement]; n != 6 && n != 7 {
		t.Errorf("%d times %q, want 6, or 7 with the refresh; of %v", n, advertisement, got6)
	}
	if n := got4[reply]; n != 6 {
		t.Errorf("%d times %q, want 6; of %v", n, reply, got4)
	}
}

// TestBurstsAfterACable: the address is announced anew where it comes back to, once: not as soon as there is a carrier and
// again when the node has recovered.
func TestBurstsAfterACable(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "again", dualStack)
	advertise(ctx, t, "again")
	owner := first(addresses[0], all()...)
	awaitOwner(ctx, t, addresses, owner)
	t.Cleanup(func() { must(t, cluster.CableIn(context.Background(), owner)) })
	must(t, cluster.CableOut(ctx, owner))
	awaitOwner(ctx, t, addresses, first(addresses[0], others(owner)...))
	stop := capture(ctx, t)
	must(t, cluster.CableIn(ctx, owner))
	awaitOwner(ctx, t, addresses, owner)
	time.Sleep(5500 * time.Millisecond)
	checkBurst(t, stop(), addresses, owner)
}

// TestRealClients: arping, ndisc6 and the kernel's own duplicate address detection find that the addresses are taken.
func TestRealClients(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	addresses := service(ctx, t, "asked", dualStack)
	advertise(ctx, t, "asked")
	owner := first(addresses[0], all()...)
	awaitOwner(ctx, t, addresses, owner)
	v4, v6 := addresses[0], addresses[1]
	stop := capture(ctx, t)

	t.Run("arping -D", func(t *testing.T) {
		command, err := cluster.Command(ctx, lab.Client, "arping", "-D", "-c", "2", "-I", "eth0", v4.String())
		must(t, err)
		output, err := command.CombinedOutput()
		if err == nil || !strings.Contains(strings.ToLower(string(output)), mac(owner).String()) {
			t.Errorf("%v: %s", err, output)
		}
	})
	t.Run("ndisc6 of a single answer", func(t *testing.T) {
		hosts, err := herald.Answers(ctx, cluster, v6)
		must(t, err)
		if !slices.Equal(hosts, []lab.Host{owner}) {
			t.Errorf("answered by %v", hosts)
		}
	})
	t.Run("the kernel, before it takes an address for its own", func(t *testing.T) {
		t.Cleanup(func() {
			onNode(context.Background(), t, lab.Client, fmt.Sprintf("ip address delete %s/64 dev eth0; sysctl -qw net.ipv6.conf.eth0.accept_dad=0", v6))
		})
		onNode(ctx, t, lab.Client, fmt.Sprintf("sysctl -qw net.ipv6.conf.all.accept_dad=1 net.ipv6.conf.eth0.accept_dad=1 && ip address add %s/64 dev eth0", v6))
		await(ctx, t, "the kernel to find a duplicate of "+v6.String(), func(ctx context.Context) error {
			output, err := cluster.In(ctx, lab.Client, "ip", "address", "show", "dev", "eth0", "to", v6.String())
			if err == nil && !strings.Contains(output, "dadfailed") {
				err = fmt.Errorf("it says %s", output)
			}
			return err
		})
		onNode(ctx, t, lab.Client, "sysctl -qw net.ipv6.conf.all.accept_dad=0")
	})

	frames := stop()
	toClient := fmt.Sprintf("advertisement from %s %s to client %s: flags 60, option 0201 %s", owner, v6, lab.AddressesOf(lab.Client).V6, owner)
	toAll := fmt.Sprintf("advertisement from %s %s to 33:33:00:00:00:01 ff02::1: flags 20, option 0201 %s", owner, v6, owner)
	probed := fmt.Sprintf("ARP reply from %s to client: sender %s, target client 0.0.0.0", owner, v4)
	got := said(frames, v6, owner)
	if got[toAll] == 0 || !slices.ContainsFunc(keys(got), func(words string) bool {
		return strings.Contains(words, "to client") && strings.Contains(words, "flags 60")
	}) {
		t.Errorf("want %q and the like of %q, got %v", toAll, toClient, got)
	}
	if got := said(frames, v4, owner); got[probed] == 0 {
		t.Errorf("want %q, got %v", probed, got)
	}
}

func keys(m map[string]int) (all []string) {
	for k := range m {
		all = append(all, k)
	}
	return all
}
