package members

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// DefaultPort is the port that members talk on, over TCP and UDP.
const DefaultPort = 7946

// Config is how this speaker takes part in the ring.
type Config struct {
	// NodeName is the name of the Kubernetes node, and of the member.
	NodeName string
	// BindAddr is the address to listen on, and that others are told.
	BindAddr string
	// BindPort is the port to listen on, that others are told, and that they are
	// expected to listen on; zero is [DefaultPort].
	BindPort int
	// SecretKey is the content of the key file, unchanged; empty leaves gossip
	// in the clear.
	SecretKey []byte
	// WAN chooses timing for links with high latency.
	WAN bool
	// Overrides is the content of the timing file, empty if there is none. It
	// replaces all timing, whatever WAN says; see [ParseOverrides].
	Overrides []byte
}

// memberlistConfig returns the configuration of memberlist, less the delegates.
func (c Config) memberlistConfig() (*memberlist.Config, error) {
	if c.NodeName == "" {
		return nil, errors.New("configure memberlist: no node name")
	}
	if _, err := netip.ParseAddr(c.BindAddr); err != nil {
		return nil, fmt.Errorf("configure memberlist: bind address: %w", err)
	}
	mc, err := c.profile()
	if err != nil {
		return nil, fmt.Errorf("configure memberlist: %w", err)
	}
	mc.Name = c.NodeName
	mc.BindAddr, mc.AdvertiseAddr = c.BindAddr, c.BindAddr
	mc.BindPort, mc.AdvertisePort = c.port(), c.port()
	// A node that died may come back with another address.
	mc.DeadNodeReclaimTime = 5 * time.Second
	if len(c.SecretKey) > 0 {
		mc.SecretKey = effectiveKey(c.SecretKey)
	}
	return mc, nil
}

func (c Config) port() int {
	if c.BindPort == 0 {
		return DefaultPort
	}
	return c.BindPort
}

func (c Config) profile() (*memberlist.Config, error) {
	switch {
	case len(c.Overrides) > 0:
		return ParseOverrides(c.Overrides)
	case c.WAN:
		return memberlist.DefaultWANConfig(), nil
	}
	return fastLAN(), nil
}

// fastLAN is the profile for nodes on one LAN: a dead node is noticed in about
// half a second. A member that misses one probe (50 ms, and as long again by
// way of others and of TCP) is suspected, and has twice the probe interval to
// object; an overloaded member makes itself more patient first (AwarenessMaxMultiplier).
func fastLAN() *memberlist.Config {
	mc := memberlist.DefaultLANConfig()
	mc.ProbeInterval = 100 * time.Millisecond
	mc.ProbeTimeout = 50 * time.Millisecond
	mc.SuspicionMult = 2
	mc.SuspicionMaxTimeoutMult = 2
	mc.GossipInterval = 50 * time.Millisecond // each turn wakes the process, be there news or not
	mc.PushPullInterval = 10 * time.Second    // what rumours did not bring, this does
	mc.TCPTimeout = time.Second
	// Packets this small gain nothing, and cost more than all the rest of gossip.
	mc.EnableCompression = false
	return mc
}

// effectiveKey returns the AES-256 key for a secret: its first 32 bytes, and
// for a shorter one the beginning of the SHA-256 sum of nothing behind it. The
// speakers of a running ring derive it so, and a new one must agree to join.
func effectiveKey(secret []byte) []byte {
	nothing := sha256.Sum256(nil)
	return append(bytes.Clone(secret), nothing[:]...)[:32]
}
