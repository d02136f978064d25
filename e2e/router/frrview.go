package router

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// show asks vtysh for JSON.
func (f *FRR) show(ctx context.Context, command string, into any) error {
	said, err := f.vtysh(ctx, command+" json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(said), into); err != nil {
		return fmt.Errorf("parse what FRR says to %s: %w", command, err)
	}
	return nil
}

// Sessions are all sessions, up or not.
func (f *FRR) Sessions(ctx context.Context) ([]Session, error) {
	var said map[string]json.RawMessage
	if err := f.show(ctx, "show bgp neighbors", &said); err != nil {
		return nil, err
	}
	return parseFRRSessions(said)
}

// frrSession is a part of what FRR says of a neighbour.
type frrSession struct {
	RemoteAS         uint32 `json:"remoteAs"`
	RemoteRouterID   string `json:"remoteRouterId"`
	State            string `json:"bgpState"`
	UpMS             int64  `json:"bgpTimerUpMsec"`
	HoldMS           int64  `json:"bgpTimerHoldTimeMsecs"`
	KeepaliveMS      int64  `json:"bgpTimerKeepAliveIntervalMsecs"`
	LastReset        string `json:"lastResetDueTo"`
	LastNotification string `json:"lastNotificationReason"`
	LastShutdown     string `json:"lastShutdownDescription"`
	Ups              int    `json:"connectionsEstablished"`
	Downs            int    `json:"connectionsDropped"`
	Capabilities     struct {
		GracefulRestart string          `json:"gracefulRestart"`
		RestartMS       int64           `json:"gracefulRestartRemoteTimerMsecs"`
		ExtendedNextHop string          `json:"extendedNexthop"`
		RestartFamilies json.RawMessage `json:"addressFamiliesByPeer"`
	} `json:"neighborCapabilities"`
	Messages struct {
		UpdatesReceived int `json:"updatesRecv"`
	} `json:"messageStats"`
	Families map[string]struct {
		Accepted int `json:"acceptedPrefixCounter"`
	} `json:"addressFamilyInfo"`
}

func parseFRRSessions(said map[string]json.RawMessage) ([]Session, error) {
	var all []Session
	for neighbour, text := range said {
		var s frrSession
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, fmt.Errorf("parse what FRR says of %s: %w", neighbour, err)
		}
		all = append(all, s.session(neighbour))
	}
	slices.SortFunc(all, func(a, b Session) int { return strings.Compare(a.Neighbour, b.Neighbour) })
	return all, nil
}

func (s frrSession) session(neighbour string) Session {
	out := Session{
		Neighbour: neighbour, State: s.State, Established: s.State == "Established", ASN: s.RemoteAS,
		Uptime: milliseconds(s.UpMS), HoldTime: milliseconds(s.HoldMS), Keepalive: milliseconds(s.KeepaliveMS),
		Ups: s.Ups, Downs: s.Downs, LastError: joinWords(s.LastReset, s.LastNotification, s.LastShutdown),
		RestartTime: milliseconds(s.Capabilities.RestartMS), UpdatesReceived: s.Messages.UpdatesReceived,
	}
	if id, err := netip.ParseAddr(s.RemoteRouterID); err == nil && !id.IsUnspecified() {
		out.RouterID = id
	}
	// The capability alone is what a helper offers, too; a router that may restart lists families in it.
	if received(s.Capabilities.GracefulRestart) && string(s.Capabilities.RestartFamilies) != `"none"` {
		out.Capabilities = append(out.Capabilities, GracefulRestart)
	}
	if received(s.Capabilities.ExtendedNextHop) {
		out.Capabilities = append(out.Capabilities, ExtendedNextHop)
	}
	for _, family := range s.Families {
		out.Received += family.Accepted
	}
	return out
}

// received reads FRR's advertised, received and advertisedAndReceived.
func received(who string) bool { return strings.Contains(strings.ToLower(who), "received") }

func milliseconds(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func joinWords(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ": ")
}

// Routes are all routes that it has received, of both families.
func (f *FRR) Routes(ctx context.Context) ([]Route, error) {
	var all []Route
	for _, family := range []string{"ipv4", "ipv6"} {
		said, err := f.vtysh(ctx, "show bgp "+family+" unicast json detail")
		if err != nil {
			return nil, err
		}
		routes, err := parseFRRRoutes(said)
		if err != nil {
			return nil, fmt.Errorf("parse FRR's %s routes: %w", family, err)
		}
		all = append(all, routes...)
	}
	sortRoutes(all)
	return all, nil
}

// frrPath is a part of what FRR says of one path to a prefix.
type frrPath struct {
	Path struct {
		Segments []struct {
			List []uint32 `json:"list"`
		} `json:"segments"`
	} `json:"aspath"`
	MED       *uint32         `json:"metric"`
	LocalPref *uint32         `json:"locPrf"`
	Best      json.RawMessage `json:"bestpath"`
	Multipath bool            `json:"multipath"`
	Stale     bool            `json:"stale"`
	Community struct {
		String string `json:"string"`
	} `json:"community"`
	Large struct {
		List []string `json:"list"`
	} `json:"largeCommunity"`
	NextHops []struct {
		IP netip.Addr `json:"ip"`
	} `json:"nexthops"`
	Peer struct {
		ID        string `json:"peerId"`
		Interface string `json:"interface"`
	} `json:"peer"`
}

// parseFRRRoutes reads a table: each prefix has a heading and then its paths. FRR says nothing at all without a router.
func parseFRRRoutes(said string) (all []Route, err error) {
	var table struct {
		Routes map[string][]json.RawMessage `json:"routes"`
	}
	if strings.TrimSpace(said) == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(said), &table); err != nil {
		return nil, err
	}
	for text, entries := range table.Routes {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		for _, entry := range entries[1:] {
			var p frrPath
			if err := json.Unmarshal(entry, &p); err != nil {
				return nil, fmt.Errorf("%s: %w", prefix, err)
			}
			all = append(all, p.route(prefix))
		}
	}
	return all, nil
}

func (p frrPath) route(prefix netip.Prefix) Route {
	r := Route{
		Prefix: prefix, From: p.Peer.ID, LocalPref: p.LocalPref, MED: p.MED, Best: p.Best != nil || p.Multipath, Stale: p.Stale,
		LargeCommunities: slices.Sorted(slices.Values(p.Large.List)),
	}
	if p.Peer.Interface != "" {
		r.From = p.Peer.Interface
	}
	for _, s := range p.Path.Segments {
		r.Path = append(r.Path, s.List...)
	}
	for _, n := range p.NextHops {
		r.NextHops = append(r.NextHops, n.IP)
	}
	for _, c := range strings.Fields(p.Community.String) {
		r.Communities = append(r.Communities, numbered(c))
	}
	slices.Sort(r.Communities)
	return r
}

// numbered writes a well-known community, which FRR calls by its name, in numbers (IANA's registry of RFC 1997).
func numbered(community string) string {
	number, known := map[string]string{
		"graceful-shutdown": "65535:0", "accept-own": "65535:1", "llgr-stale": "65535:6", "no-llgr": "65535:7", "blackhole": "65535:666",
		"no-export": "65535:65281", "no-advertise": "65535:65282", "local-AS": "65535:65283", "no-peer": "65535:65284",
	}[community]
	if !known {
		return community
	}
	return number
}

// BFD are the paths that it watches.
func (f *FRR) BFD(ctx context.Context) ([]BFDSession, error) {
	var said []frrBFD
	if err := f.show(ctx, "show bfd peers", &said); err != nil {
		return nil, err
	}
	var all []BFDSession
	for _, b := range said {
		all = append(all, b.session())
	}
	return all, nil
}

type frrBFD struct {
	Peer             netip.Addr `json:"peer"`
	MultiHop         bool       `json:"multihop"`
	Status           string     `json:"status"`
	Diagnostic       string     `json:"diagnostic"`
	RemoteDiagnostic string     `json:"remote-diagnostic"`
	RemoteReceive    int64      `json:"remote-receive-interval"`
	RemoteTransmit   int64      `json:"remote-transmit-interval"`
	RemoteMultiplier int        `json:"remote-detect-multiplier"`
}

func (b frrBFD) session() BFDSession {
	return BFDSession{
		Peer: b.Peer, State: b.Status, Up: b.Status == "up", MultiHop: b.MultiHop, Diagnostic: b.Diagnostic, RemoteDiagnostic: b.RemoteDiagnostic,
		RemoteReceive: milliseconds(b.RemoteReceive), RemoteTransmit: milliseconds(b.RemoteTransmit), RemoteMultiplier: b.RemoteMultiplier,
	}
}
