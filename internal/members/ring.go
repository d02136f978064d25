package members

import (
	"encoding/json"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/hashicorp/memberlist"
)

// Member is a speaker as gossip sees it.
type Member struct {
	// Name is the name of its node.
	Name string
	// Addr is where it listens.
	Addr netip.AddrPort
	// Usable says that it knows what to announce, and has a link for that. A member
	// that does not say so, because it runs other software, counts as usable.
	Usable bool
	// Unlinked are the links that it cannot announce on, of those that matter, sorted; not
	// all of them if there are so many that gossip cannot carry them.
	Unlinked []string
}

// meta is what members tell of themselves in gossip, as JSON. What is not there
// is as usual: most members have nothing to tell.
type meta struct {
	Unusable bool     `json:"unusable,omitempty"`
	Unlinked []string `json:"unlinked,omitempty"`
}

// ring is what memberlist tells of the members. Memberlist calls it with its
// own locks held, so nothing here waits or calls back.
type ring struct {
	logger  log.Logger
	changed chan struct{}
	joined  chan struct{} // somebody was found alive
	lost    chan struct{} // somebody has left, or was found dead
	ready   atomic.Bool
	alive   atomic.Pointer[[]Member]

	// This member:
	prepared   atomic.Bool // it knows what to announce
	linked     atomic.Bool // it has a link
	recovering atomic.Bool // it had none, and is not to be relied on yet
	withheld   atomic.Bool // others are not to hear that it is usable, if it is
	unlinked   atomic.Pointer[[]string]

	mu      sync.Mutex // guards members and lives
	members map[string]Member
	lives   map[string]life // of those who are alive or were
}

func newRing(logger log.Logger) *ring {
	r := &ring{logger: logger, changed: make(chan struct{}, 1), joined: make(chan struct{}, 1), lost: make(chan struct{}, 1), members: map[string]Member{}, lives: map[string]life{}}
	r.prepared.Store(true)
	r.linked.Store(true)
	r.unlinked.Store(new([]string))
	r.alive.Store(&[]Member{})
	return r
}

// NotifyJoin is called when a member was found alive.
func (r *ring) NotifyJoin(n *memberlist.Node) {
	member := memberOf(n)
	r.publish(func() { r.members[member.Name], r.lives[member.Name] = member, life{lastAlive: time.Now()} })
	signal(r.joined)
	level.Info(r.logger).Log("msg", "member joined", "member", member.Name, "addr", member.Addr, "usable", member.Usable)
}

// NotifyUpdate is called when a member has changed what it tells of itself.
func (r *ring) NotifyUpdate(n *memberlist.Node) {
	member := memberOf(n)
	r.publish(func() { r.members[member.Name] = member })
	level.Info(r.logger).Log("msg", "member changed", "member", member.Name, "addr", member.Addr, "usable", member.Usable)
}

// NotifyLeave is called when a member has left or was found dead.
func (r *ring) NotifyLeave(n *memberlist.Node) {
	r.publish(func() { delete(r.members, n.Name) })
	signal(r.lost)
	level.Info(r.logger).Log("msg", "member gone", "member", n.Name)
}

// setReady notes that the others were looked for, which may be news by itself.
func (r *ring) setReady() {
	if !r.ready.Swap(true) {
		signal(r.changed)
	}
}

// publish makes a change and the snapshot that has it.
func (r *ring) publish(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	alive := make([]Member, 0, len(r.members))
	for _, member := range r.members {
		alive = append(alive, member)
	}
	slices.SortFunc(alive, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	r.alive.Store(&alive)
	signal(r.changed)
}

func memberOf(n *memberlist.Node) Member {
	addr, _ := netip.AddrFromSlice(n.Addr)
	told := parseMeta(n.Meta)
	return Member{
		Name:     n.Name,
		Addr:     netip.AddrPortFrom(addr.Unmap(), n.Port),
		Usable:   !told.Unusable,
		Unlinked: told.Unlinked,
	}
}

// parseMeta reads what a member tells of itself; what cannot be read is nothing.
func parseMeta(text []byte) meta {
	var m meta
	if err := json.Unmarshal(text, &m); err != nil {
		return meta{}
	}
	return m
}

func (r *ring) usable() bool {
	return r.prepared.Load() && r.linked.Load() && !r.recovering.Load()
}

// NodeMeta returns what this member tells of itself; nothing, where that exceeds the limit.
func (r *ring) NodeMeta(limit int) []byte {
	told := meta{Unusable: !r.usable() || r.withheld.Load(), Unlinked: *r.unlinked.Load()}
	if !told.Unusable && len(told.Unlinked) == 0 {
		return nil
	}
	text, err := json.Marshal(told)
	if err != nil || len(text) > limit {
		return nil
	}
	return text
}

// tellable are the first of the links, as many as gossip carries whatever else is to be told.
func tellable(links []string) []string {
	tooMany := func(count int) bool {
		text, err := json.Marshal(meta{Unusable: true, Unlinked: links[:count]})
		return err != nil || len(text) > memberlist.MetaMaxSize
	}
	return links[:sort.Search(len(links), func(n int) bool { return tooMany(n + 1) })]
}

// GetBroadcasts and the methods below are for data of our own that would travel with
// gossip. There is none.
func (r *ring) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState returns nothing to send.
func (r *ring) LocalState(bool) []byte { return nil }

// MergeRemoteState receives nothing.
func (r *ring) MergeRemoteState([]byte, bool) {}
