package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/mdlayher/ndp"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/ipv6"
)

// routers learns, for an unnumbered session, which router is on a link, and lets the
// router learn us. Both happen by router advertisements (RFC 4861, section 6): routers
// take the sender of one for their neighbour. Ours have a lifetime of 0, which says that
// we are no default router. What the kernel's neighbour table knows as a router counts, too.
type routers struct {
	link string
	news chan struct{} // latest or problem changed

	mu      sync.Mutex
	latest  netip.Addr // with its zone
	problem string     // why none can be learned; empty while we listen
}

const (
	// advertiseEvery is how often we advertise ourselves, as FRR does on unnumbered links.
	advertiseEvery = 10 * time.Second
	// solicitEvery is how often we ask for routers, and advertise ourselves, while we know none:
	// as often as may be (RFC 4861, section 10).
	solicitEvery = 3 * time.Second
	// listenAgain is how long after an error, such as a link that is down, to listen again.
	listenAgain = 500 * time.Millisecond
)

func newRouters(link string) *routers {
	return &routers{link: link, news: make(chan struct{}, 1)}
}

// await returns the router heard last. While there is none, it says why.
func (r *routers) await(ctx context.Context, missing func(why string)) (netip.Addr, error) {
	for {
		address, problem := r.heard()
		if address.IsValid() {
			return address, nil
		}
		missing(problem)
		select {
		case <-r.news:
		case <-ctx.Done():
			return netip.Addr{}, context.Cause(ctx)
		}
	}
}

func (r *routers) heard() (netip.Addr, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.problem == "" {
		return r.latest, "no router advertised itself on link " + r.link + " yet"
	}
	return r.latest, r.problem
}

func (r *routers) hear(address netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.latest != address || r.problem != "" {
		r.latest, r.problem = address, ""
		signal(r.news)
	}
}

// run listens and advertises until ctx ends, through all that may happen to the link.
func (r *routers) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		r.fail(err)
		wait(ctx, nil, listenAgain)
	}
}

// fail notes what keeps us from listening; nil is nothing any more.
func (r *routers) fail(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.problem != problem {
		r.problem = problem
		signal(r.news)
	}
}

// listen opens the link and stays on it until something goes wrong.
func (r *routers) listen(ctx context.Context) error {
	link, err := net.InterfaceByName(r.link)
	if err != nil {
		return fmt.Errorf("look for link %s: %w", r.link, err)
	}
	conn, self, err := ndp.Listen(byNumber(link), ndp.LinkLocal)
	if err != nil {
		return fmt.Errorf("open NDP socket on %s: %w", r.link, err)
	}
	defer conn.Close()
	if err := onlyRouters(conn); err != nil {
		return fmt.Errorf("set up NDP socket on %s: %w", r.link, err)
	}
	r.fail(nil)
	r.lookUp(link)
	return r.advertise(ctx, conn, link, self)
}

// byNumber gives the link its number for a name. Package net remembers for a minute which
// link has which name, which is wrong for one that was removed and made again.
func byNumber(link *net.Interface) *net.Interface {
	numbered := *link
	numbered.Name = strconv.Itoa(link.Index)
	return &numbered
}

var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
)

// onlyRouters makes the kernel hand over what routers say and are asked.
func onlyRouters(conn *ndp.Conn) error {
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeRouterAdvertisement)
	filter.Accept(ipv6.ICMPTypeRouterSolicitation)
	if err := conn.SetICMPFilter(&filter); err != nil {
		return err
	}
	return errors.Join(conn.SetControlMessage(ipv6.FlagHopLimit, true), conn.JoinGroup(allRouters))
}

// advertise tells routers on the link that we are there, at intervals and whenever asked,
// and takes note of those that do the same.
func (r *routers) advertise(ctx context.Context, conn *ndp.Conn, link *net.Interface, self netip.Addr) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(longAgo) })
	defer stop()
	for next := time.Now(); ; {
		if !time.Now().Before(next) {
			every, err := r.send(conn, link)
			if err != nil {
				return err
			}
			next = time.Now().Add(every)
		}
		if err := conn.SetReadDeadline(next); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		asked, err := r.read(conn, self)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("listen for routers on %s: %w", r.link, err)
		}
		// RFC 4861, section 6.2.6: an answer may take half a second, and is for all.
		if soon := time.Now().Add(maxAnswerDelay); asked && soon.Before(next) {
			next = soon
		}
	}
}

// send advertises us, and asks for routers until there is one. It returns when to do so again.
func (r *routers) send(conn *ndp.Conn, link *net.Interface) (time.Duration, error) {
	if err := conn.WriteTo(advertisement(link), nil, allNodes); err != nil {
		return 0, fmt.Errorf("advertise on %s: %w", r.link, err)
	}
	if address, _ := r.heard(); address.IsValid() {
		return advertiseEvery, nil
	}
	if err := conn.WriteTo(&ndp.RouterSolicitation{}, nil, allRouters); err != nil {
		return 0, fmt.Errorf("solicit routers on %s: %w", r.link, err)
	}
	return solicitEvery, nil
}

const maxAnswerDelay = 500 * time.Millisecond

// advertisement says that we are here, and no default router.
func advertisement(link *net.Interface) ndp.Message {
	m := &ndp.RouterAdvertisement{}
	if len(link.HardwareAddr) > 0 {
		m.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: link.HardwareAddr}}
	}
	return m
}

// read takes one packet, and reports whether it asks us to advertise ourselves.
func (r *routers) read(conn *ndp.Conn, self netip.Addr) (asked bool, err error) {
	packet := make([]byte, 64)
	n, control, from, err := conn.ReadRaw(packet)
	if err != nil {
		return false, err
	}
	if control == nil || from.WithZone("") == self.WithZone("") {
		return false, nil
	}
	switch routerMessage(packet[:n], control.HopLimit, from) {
	case ipv6.ICMPTypeRouterAdvertisement:
		r.hear(from.WithZone(r.link))
	case ipv6.ICMPTypeRouterSolicitation:
		return true, nil
	}
	return false, nil
}

// routerMessage returns the type of a message that may be believed (RFC 4861, sections
// 6.1.1 and 6.1.2): it did not come from beyond the link. 0 is none. What else it says is
// of no interest.
func routerMessage(packet []byte, hopLimit int, from netip.Addr) ipv6.ICMPType {
	if hopLimit != ndp.HopLimit || len(packet) < 8 || packet[1] != 0 {
		return 0
	}
	switch kind := ipv6.ICMPType(packet[0]); {
	case kind == ipv6.ICMPTypeRouterAdvertisement && len(packet) >= 16 && from.IsLinkLocalUnicast():
		return kind
	case kind == ipv6.ICMPTypeRouterSolicitation:
		return kind
	}
	return 0
}

// lookUp asks the kernel, which may have met the router before.
func (r *routers) lookUp(link *net.Interface) {
	neighbours, err := netlink.NeighList(link.Index, netlink.FAMILY_V6)
	if err != nil {
		return // the router will tell us
	}
	for _, n := range neighbours {
		address, ok := netip.AddrFromSlice(n.IP)
		if ok && n.Flags&netlink.NTF_ROUTER != 0 && address.IsLinkLocalUnicast() {
			r.hear(address.WithZone(r.link))
		}
	}
}
