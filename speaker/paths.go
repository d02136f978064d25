package main

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/herald-lb/herald/internal/lb"
)

// watcher is BFD: it watches paths.
type watcher interface {
	// Set hands over all paths that are to be watched. It does not block.
	Set([]lb.BFDSession)
	// States are those of the paths last set.
	States() map[lb.BFDKey]lb.BFDState
	// Changed signals that States has changed.
	Changed() <-chan struct{}
}

// ways are the sessions with routers, as far as their paths break and mend. Neither
// function blocks, and both may be called from any goroutine.
type ways interface {
	PathDown(peer lb.PeerName, why string)
	PathUp(peer lb.PeerName)
}

// paths are the ways to routers that BFD watches. When one breaks, the sessions over it
// go down at once, and come back with it (RFC 5882, section 4.3).
type paths struct {
	bfd watcher
	bgp ways

	mu sync.Mutex
	// over are the peers that are reached over each path.
	over map[lb.BFDKey][]lb.PeerName
	// broken are the peers whose sessions were taken down.
	broken map[lb.PeerName]lb.BFDKey
}

func newPaths(bgp ways) *paths {
	return &paths{bgp: bgp, over: map[lb.BFDKey][]lb.PeerName{}, broken: map[lb.PeerName]lb.BFDKey{}}
}

// changed is called by BFD, at once, when a path breaks or mends. A path whose other end
// says that it was taken out of service is not broken (RFC 5882, section 3.2).
func (p *paths) changed(key lb.BFDKey, state lb.BFDState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range p.over[key] {
		switch {
		case state.Status == lb.BFDUp:
			delete(p.broken, peer)
			p.bgp.PathUp(peer) // also where it is down for another reason: the router is there
		case state.RemoteStatus != lb.BFDAdminDown:
			p.broken[peer] = key
			p.bgp.PathDown(peer, state.Diagnostic)
		}
	}
}

// mend lets a session come back that was taken down. Call it with the lock held.
func (p *paths) mend(peer lb.PeerName) {
	if _, ok := p.broken[peer]; ok {
		delete(p.broken, peer)
		p.bgp.PathUp(peer)
	}
}

// watch has the paths of all sessions watched that ask for it. A path that is no longer
// watched, or has become another one, keeps no session down.
func (p *paths) watch(sessions []lb.Session, states []lb.SessionState, links []lb.Link) {
	var wanted []lb.BFDSession
	over := map[lb.BFDKey][]lb.PeerName{}
	for _, s := range sessions {
		path, ok := pathOf(s.Peer, states, links)
		if !ok {
			continue
		}
		if over[path.Key()] == nil {
			wanted = append(wanted, path)
		}
		over[path.Key()] = append(over[path.Key()], s.Peer.Name)
	}
	p.mu.Lock()
	p.over = over
	for peer, key := range maps.Clone(p.broken) {
		if !slices.Contains(over[key], peer) {
			p.mend(peer)
		}
	}
	p.mu.Unlock()
	p.bfd.Set(wanted)
}

// describe adds to the states of sessions those of their paths.
func (p *paths) describe(states []lb.SessionState) []lb.SessionState {
	bfd := p.bfd.States()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(states)
	for key, peers := range p.over {
		state, ok := bfd[key]
		if !ok {
			continue
		}
		for i := range out {
			if slices.Contains(peers, out[i].Peer) {
				out[i].BFD = &state
			}
		}
		if state.RemoteStatus == lb.BFDAdminDown { // said only after the path had broken
			for _, peer := range peers {
				p.mend(peer)
			}
		}
	}
	return out
}

// pathOf is the path to a peer, if it is to be watched and its address is known.
func pathOf(peer lb.Peer, states []lb.SessionState, links []lb.Link) (lb.BFDSession, bool) {
	if peer.BFD == nil {
		return lb.BFDSession{}, false
	}
	path := lb.BFDSession{
		Peer: peer.Address, Local: peer.SourceAddress, Interface: peer.Interface, VRF: peer.VRF,
		MultiHop: farAway(peer, links), Profile: *peer.BFD,
	}
	if peer.Interface != "" {
		i := slices.IndexFunc(states, func(s lb.SessionState) bool { return s.Peer == peer.Name })
		if i < 0 {
			return path, false
		}
		path.Peer = states[i].Address
	}
	return path, path.Peer.IsValid()
}

// farAway reports whether there may be routers on the way to the peer: where an external
// one is allowed to be, and where an internal one is on none of our networks. Both ends
// must see it alike, and routers see it so.
func farAway(peer lb.Peer, links []lb.Link) bool {
	if peer.Interface != "" {
		return false
	}
	if !peer.Internal() {
		return peer.MultiHop
	}
	near := func(network netip.Prefix) bool { return network.Contains(peer.Address.WithZone("")) }
	return !slices.ContainsFunc(links, func(l lb.Link) bool { return slices.ContainsFunc(l.Addrs, near) })
}
