package chaos

import (
	"cmp"
	"context"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/chaos/asking"
	"github.com/herald-lb/herald/e2e/lab"
)

// wire watches who answers for which address on the LAN.
type wire struct {
	asking *asking.Asking
	hosts  map[string]lab.Host // by link-layer address

	mu      sync.Mutex // guards all below
	targets asking.Targets
	line    *timeline
	broken  error // why nothing more is heard
}

// watchWire begins to watch, for no address at first.
func watchWire(ctx context.Context, l *lab.Lab) (*wire, error) {
	hosts := map[string]lab.Host{}
	for _, node := range l.NodeNames() {
		mac, err := l.In(ctx, node, "cat", "/sys/class/net/eth0/address")
		if err != nil {
			return nil, err
		}
		hosts[strings.TrimSpace(mac)] = node
	}
	client := lab.AddressesOf(lab.Client)
	command := func(ctx context.Context, args ...string) (*exec.Cmd, error) {
		return l.Command(ctx, lab.Client, args...)
	}
	a, err := asking.Start(ctx, command, asking.From{Link: "eth0", V4: client.V4, V6: client.V6})
	if err != nil {
		return nil, err
	}
	w := &wire{asking: a, hosts: hosts, targets: asking.Targets{}, line: newTimeline()}
	go w.listen()
	return w, nil
}

func (w *wire) listen() {
	for {
		told, err := w.asking.Next()
		w.mu.Lock()
		if err != nil {
			w.broken = err
			w.mu.Unlock()
			return
		}
		answers := map[netip.Addr][]lab.Host{}
		for address, by := range told.Answers {
			answers[address] = w.hostsWith(by)
		}
		w.line.add(told.At, answers)
		w.mu.Unlock()
	}
}

// hostsWith are the nodes with these link-layer addresses; a stranger is known by its own.
func (w *wire) hostsWith(macs []string) (hosts []lab.Host) {
	for _, mac := range macs {
		hosts = append(hosts, cmp.Or(w.hosts[mac], lab.Host(mac)))
	}
	slices.Sort(hosts)
	return hosts
}

// expect asks for an address of the LAN in every round while it is held, and seldom when it is free again.
func (w *wire) expect(address netip.Addr, held bool) {
	if within(routedRange, address) {
		return
	}
	every := map[bool]int{true: 1, false: asking.Seldom}[held]
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.targets[address] == every {
		return
	}
	w.targets[address] = every
	if err := w.asking.Ask(w.targets); err != nil && w.broken == nil {
		w.broken = err
	}
}

// read lets a function look at the timeline. It must not keep it.
func (w *wire) read(look func(*timeline)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	look(w.line)
	return w.broken
}

// forget forgets what was before a moment.
func (w *wire) forget(before time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line.forget(before)
}
