package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/internal/lb"
)

// Watcher knows the links of this node as they are now.
type Watcher struct {
	logger  log.Logger
	exclude []*regexp.Regexp
	links   atomic.Pointer[[]lb.Link]
	changed chan struct{}
	touched chan struct{} // the kernel has something new
	list    func() ([]netlink.Link, []netlink.Addr, error)
}

// New returns a Watcher. Links whose name matches one of the exclude patterns
// are never announced on.
func New(logger log.Logger, exclude []*regexp.Regexp) *Watcher {
	return &Watcher{
		logger:  logger,
		exclude: exclude,
		changed: make(chan struct{}, 1),
		touched: make(chan struct{}, 1),
		list:    list,
	}
}

// Links returns the latest snapshot: all links but loopback ones, sorted by
// name. It is shared; do not change it.
func (w *Watcher) Links() []lb.Link {
	if links := w.links.Load(); links != nil {
		return *links
	}
	return nil
}

// Changed signals that Links has changed in what is usable.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Ready reports whether the first snapshot was taken.
func (w *Watcher) Ready() bool { return w.links.Load() != nil }

const (
	// resync is how often a snapshot is taken though nothing seems to have
	// changed, as a safety net.
	resync = time.Minute
	// retry is how long to wait after netlink has failed.
	retry = time.Second
	// attempts is how many lists may be interrupted, one after the other, before
	// one is taken as it is.
	attempts = 5
	// breath is how long to wait before a list that was interrupted is asked for
	// again.
	breath = 20 * time.Millisecond
)

// Start watches until ctx ends.
func (w *Watcher) Start(ctx context.Context) error {
	var last string
	for ctx.Err() == nil {
		err := w.watch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err.Error() != last {
			level.Error(w.logger).Log("msg", "cannot watch links", "error", err)
			last = err.Error()
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
	return nil
}

// watch subscribes first and looks then, so that no change falls between.
func (w *Watcher) watch(ctx context.Context) error {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return fmt.Errorf("subscribe to link and address changes: %w", err)
	}
	var reader sync.WaitGroup
	broken := make(chan error, 1)
	reader.Go(func() { broken <- w.receive(socket) })
	defer reader.Wait()
	defer socket.Close()

	ticker := time.NewTicker(resync)
	defer ticker.Stop()
	for {
		if err := w.look(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return fmt.Errorf("receive link and address changes: %w", err)
		case <-w.touched:
		case <-ticker.C:
		}
	}
}

// receive says that something is new whenever the kernel does, until the socket
// is closed. What the messages say does not matter: a whole snapshot follows,
// one for all messages that came in during the snapshot before. So an overrun
// (ENOBUFS) loses nothing either.
func (w *Watcher) receive(socket *nl.NetlinkSocket) error {
	for {
		if _, _, err := socket.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		signal(w.touched)
	}
}

// look takes a snapshot, and tells of it if it differs.
func (w *Watcher) look(ctx context.Context) error {
	links, addrs, err := w.whole(ctx)
	if err != nil {
		return err
	}
	first, before, after := !w.Ready(), w.Links(), snapshot(links, addrs, w.exclude)
	w.links.Store(&after)
	if first || !slices.EqualFunc(usable(before), usable(after), lb.Link.Equal) {
		signal(w.changed)
	}
	w.logChanges(before, after)
	return nil
}

// whole asks again where something changed while the kernel made its lists, so
// that they may lack what did not change. Where links never come to rest, it
// returns what there is, and has it looked at again: else nothing new would ever
// be seen.
func (w *Watcher) whole(ctx context.Context) (links []netlink.Link, addrs []netlink.Addr, err error) {
	for range attempts {
		links, addrs, err = w.list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return links, addrs, err
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(breath):
		}
	}
	level.Debug(w.logger).Log("msg", "links change all the time", "lists", attempts)
	signal(w.touched)
	return links, addrs, nil
}

// list asks the kernel. Both lists are there if the error is that they were
// interrupted.
func list() ([]netlink.Link, []netlink.Addr, error) {
	links, interrupted := netlink.LinkList()
	if interrupted != nil && !errors.Is(interrupted, netlink.ErrDumpInterrupted) {
		return nil, nil, fmt.Errorf("list links: %w", interrupted)
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, nil, fmt.Errorf("list addresses of links: %w", err)
	}
	return links, addrs, cmp.Or(interrupted, err)
}

// usable returns the links on which something can be announced. Only these are
// worth a signal: where pods come and go, so do links that are not usable.
func usable(links []lb.Link) []lb.Link {
	return slices.DeleteFunc(slices.Clone(links), func(l lb.Link) bool { return !l.ARP && !l.NDP })
}

// logChanges logs every link that became usable or ceased to be. Those that
// never were, like the pods' ends of a large node, matter for debugging only.
func (w *Watcher) logChanges(before, after []lb.Link) {
	old := map[string]lb.Link{}
	for _, l := range before {
		old[l.Name] = l
	}
	for _, l := range after {
		was, known := old[l.Name]
		delete(old, l.Name)
		switch {
		case known && was.ARP == l.ARP && was.NDP == l.NDP && was.Unusable == l.Unusable:
		case l.Unusable == "":
			level.Info(w.logger).Log("msg", "link usable", "link", l.Name, "mac", l.MAC, "arp", l.ARP, "ndp", l.NDP)
		case known && was.Unusable == "":
			level.Info(w.logger).Log("msg", "link unusable", "link", l.Name, "why", l.Unusable)
		default:
			level.Debug(w.logger).Log("msg", "link unusable", "link", l.Name, "why", l.Unusable)
		}
	}
	for _, l := range old {
		level.Debug(w.logger).Log("msg", "link gone", "link", l.Name)
	}
}

// signal says "look again" on a channel of capacity 1.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
