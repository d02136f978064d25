package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-kit/log/level"
	"github.com/vishvananda/netlink"

	"github.com/herald-lb/herald/internal/lb"
)

// rivalPause lies between two looks whether a rival is still there: once it has left, the
// router has no route by way of this node.
const rivalPause = 500 * time.Millisecond

// outwaitRival returns when no other program on this node holds the one session that the router
// has with our address, such as a frr-k8s that was left behind when Herald took MetalLB's
// place. While one does, the router would refuse ours; or, if it takes whoever comes for
// one that restarts (RFC 4724, section 5), end theirs for ours, and ours again for theirs.
func (s *session) outwaitRival(ctx context.Context, p lb.Peer, router netip.AddrPort) *sessionError {
	for told := false; ; told = true {
		from, err := s.speaker.rival(p, router)
		if err != nil {
			level.Debug(s.logger).Log("msg", "cannot tell whether another program has a session with the router", "error", err)
		}
		if !from.IsValid() {
			return nil
		}
		why := fmt.Sprintf("another program on this node holds a session with the router, from %s, and a router keeps one with each address. "+
			"If it is frr-k8s, left behind by MetalLB, retire it: see README.md, Retire frr-k8s", from)
		if !told {
			level.Error(s.logger).Log("msg", "BGP session has a rival", "address", router.Addr(), "reason", lb.RivalSession, "error", why)
		}
		s.waits(lb.RivalSession, why)
		select {
		case <-time.After(rivalPause):
		case <-ctx.Done():
			return cause(ctx)
		}
	}
}

// rival is our address, if another program has a connection from there with a router.
func rival(p lb.Peer, router netip.AddrPort) (netip.Addr, error) {
	all, err := others(router.Port())
	if err != nil || len(all) == 0 {
		return netip.Addr{}, err
	}
	from, err := sourceAddress(p, router.Addr())
	if err != nil {
		return netip.Addr{}, err
	}
	for _, c := range all {
		if c.isSession(p, from, router) {
			return from, nil
		}
	}
	return netip.Addr{}, nil
}

// isSession reports whether a connection is one for BGP between our address and the router's,
// in the peer's VRF or on its link.
func (c connection) isSession(p lb.Peer, from netip.Addr, router netip.AddrPort) bool {
	return c.device == device(p) && c.local.Addr() == from && c.remote.Addr() == router.Addr().WithZone("") &&
		(c.remote.Port() == router.Port() || c.local.Port() == bgpPort)
}

// sourceAddress is what a session with a router runs from: as configured, or as the kernel
// chooses.
func sourceAddress(p lb.Peer, router netip.Addr) (netip.Addr, error) {
	if p.SourceAddress.IsValid() && p.Interface == "" {
		return p.SourceAddress, nil
	}
	routes, err := netlink.RouteGetWithOptions(router.AsSlice(), &netlink.RouteGetOptions{Oif: device(p)})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("look for the route to %s: %w", router, err)
	}
	var from netip.Addr
	for _, r := range routes {
		from, _ = netip.AddrFromSlice(r.Src)
	}
	return from.Unmap(), nil
}
