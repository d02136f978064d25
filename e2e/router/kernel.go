package router

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// KernelRoute is what a host's kernel forwards by.
type KernelRoute struct {
	Prefix   netip.Prefix
	NextHops []netip.Addr // several: flows are spread over them (ECMP); sorted
}

// Hosts are those at the next hops.
func (r KernelRoute) Hosts(l *lab.Lab) (hosts []lab.Host) {
	for _, hop := range r.NextHops {
		if host, ok := l.HostAt(hop); ok {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return hosts
}

// KernelRoutes are those that a routing program has given to the kernel of its host.
func KernelRoutes(ctx context.Context, l *lab.Lab, host lab.Host) (all []KernelRoute, err error) {
	for _, family := range []string{"-4", "-6"} {
		for _, protocol := range []string{"bgp", "bird"} { // FRR's and BIRD's in iproute2's rt_protos
			said, err := l.In(ctx, host, "ip", family, "-json", "route", "show", "proto", protocol)
			if err != nil {
				return nil, err
			}
			routes, err := parseKernelRoutes(said)
			if err != nil {
				return nil, fmt.Errorf("parse the kernel's routes on %s: %w", host, err)
			}
			all = append(all, routes...)
		}
	}
	slices.SortFunc(all, func(a, b KernelRoute) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	return all, nil
}

type nextHop struct {
	Gateway netip.Addr `json:"gateway"`
	Via     struct {   // of another family
		Host netip.Addr `json:"host"`
	} `json:"via"`
}

func (h nextHop) address() netip.Addr {
	if h.Gateway.IsValid() {
		return h.Gateway
	}
	return h.Via.Host
}

func parseKernelRoutes(said string) (all []KernelRoute, err error) {
	var routes []struct {
		Destination string `json:"dst"`
		nextHop
		NextHops []nextHop `json:"nexthops"`
	}
	if err := json.Unmarshal([]byte(cmp.Or(strings.TrimSpace(said), "[]")), &routes); err != nil {
		return nil, err
	}
	for _, r := range routes {
		prefix, err := parseDestination(r.Destination)
		if err != nil {
			return nil, err
		}
		route := KernelRoute{Prefix: prefix}
		for _, hop := range append(r.NextHops, r.nextHop) {
			if hop.address().IsValid() {
				route.NextHops = append(route.NextHops, hop.address())
			}
		}
		slices.SortFunc(route.NextHops, netip.Addr.Compare)
		all = append(all, route)
	}
	return all, nil
}

// parseDestination reads a prefix as iproute2 writes it: without its length where that is an address's.
func parseDestination(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	address, err := netip.ParseAddr(text)
	return netip.PrefixFrom(address, address.BitLen()), err
}

// KernelWatch sees the routes of a host's kernel come and go.
type KernelWatch struct {
	monitor *exec.Cmd
	changed chan struct{} // of capacity 1: look again

	mu     sync.Mutex // guards events
	events []KernelEvent
}

// KernelEvent is one change: a route was added, or given other next hops, or removed.
type KernelEvent struct {
	At     time.Time
	Prefix netip.Prefix
	Gone   bool
}

// WatchKernel begins to watch; Stop must follow.
func WatchKernel(ctx context.Context, l *lab.Lab, host lab.Host) (*KernelWatch, error) {
	monitor, err := l.Command(ctx, host, "ip", "-oneline", "monitor", "route")
	if err != nil {
		return nil, err
	}
	output, err := monitor.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := monitor.Start(); err != nil {
		return nil, fmt.Errorf("watch the kernel's routes on %s: %w", host, err)
	}
	w := &KernelWatch{monitor: monitor, changed: make(chan struct{}, 1)}
	go w.read(output)
	return w, nil
}

func (w *KernelWatch) read(output io.Reader) {
	for lines := bufio.NewScanner(output); lines.Scan(); {
		event, ok := parseKernelEvent(lines.Text(), time.Now())
		if !ok {
			continue
		}
		w.mu.Lock()
		w.events = append(w.events, event)
		w.mu.Unlock()
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
}

// parseKernelEvent reads a line of ip-monitor(8), if it is of a routing program's route.
func parseKernelEvent(line string, at time.Time) (KernelEvent, bool) {
	if !strings.Contains(line, " proto bgp") && !strings.Contains(line, " proto bird") {
		return KernelEvent{}, false
	}
	words := strings.Fields(line)
	gone := words[0] == "Deleted"
	if gone {
		words = words[1:]
	}
	prefix, err := parseDestination(words[0])
	return KernelEvent{At: at, Prefix: prefix, Gone: gone}, err == nil
}

// Events are all so far.
func (w *KernelWatch) Events() []KernelEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.events)
}

// Await waits for an event about a prefix, after some moment: that its route is there, or that it is gone.
func (w *KernelWatch) Await(ctx context.Context, prefix netip.Prefix, gone bool, after time.Time) (time.Time, error) {
	for {
		for _, e := range w.Events() {
			if e.Prefix == prefix && e.Gone == gone && e.At.After(after) {
				return e.At, nil
			}
		}
		select {
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("wait for the kernel's route to %s: %w", prefix, ctx.Err())
		case <-w.changed:
		}
	}
}

// Stop ends the watch.
func (w *KernelWatch) Stop() {
	_ = w.monitor.Process.Kill()
	_ = w.monitor.Wait()
}
