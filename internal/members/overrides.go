package members

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"
)

// overrides is the timing file. Its keys are those of memberlist.Config;
// durations are written as Go does: "500ms", "1m30s".
type overrides struct {
	TCPTimeout              string
	IndirectChecks          int
	RetransmitMult          int
	SuspicionMult           int
	SuspicionMaxTimeoutMult int
	PushPullInterval        string
	ProbeTimeout            string
	ProbeInterval           string
	DisableTcpPings         bool //nolint:revive,staticcheck // the file's spelling
	AwarenessMaxMultiplier  int
	GossipNodes             int
	GossipInterval          string
	GossipToTheDeadTime     string
	GossipVerifyIncoming    bool
	GossipVerifyOutgoing    bool
	EnableCompression       bool
	HandoffQueueDepth       int
	UDPBufferSize           int
	QueueCheckInterval      string
}

// ParseOverrides reads a timing file: a JSON object that replaces all timing of
// memberlist's LAN defaults at once. Every duration is mandatory; a number or
// switch that is left out counts as 0 or false.
func ParseOverrides(file []byte) (*memberlist.Config, error) {
	var o overrides
	if err := json.Unmarshal(file, &o); err != nil {
		return nil, fmt.Errorf("parse memberlist timing: %w", err)
	}
	mc := memberlist.DefaultLANConfig()
	if err := o.setDurations(mc); err != nil {
		return nil, fmt.Errorf("parse memberlist timing: %w", err)
	}
	if err := o.setNumbers(mc); err != nil {
		return nil, fmt.Errorf("parse memberlist timing: %w", err)
	}
	mc.DisableTcpPings = o.DisableTcpPings
	mc.GossipVerifyIncoming = o.GossipVerifyIncoming
	mc.GossipVerifyOutgoing = o.GossipVerifyOutgoing
	mc.EnableCompression = o.EnableCompression
	return mc, nil
}

func (o overrides) setDurations(mc *memberlist.Config) error {
	for _, d := range []struct {
		key, text string
		to        *time.Duration
	}{
		{"TCPTimeout", o.TCPTimeout, &mc.TCPTimeout},
		{"PushPullInterval", o.PushPullInterval, &mc.PushPullInterval},
		{"ProbeTimeout", o.ProbeTimeout, &mc.ProbeTimeout},
		{"ProbeInterval", o.ProbeInterval, &mc.ProbeInterval},
		{"GossipInterval", o.GossipInterval, &mc.GossipInterval},
		{"GossipToTheDeadTime", o.GossipToTheDeadTime, &mc.GossipToTheDeadTime},
		{"QueueCheckInterval", o.QueueCheckInterval, &mc.QueueCheckInterval},
	} {
		v, err := time.ParseDuration(d.text)
		if err != nil {
			return fmt.Errorf("%s: %w", d.key, err)
		}
		if v < 0 {
			return fmt.Errorf("%s: %s is negative", d.key, v)
		}
		*d.to = v
	}
	// memberlist would check its queue without a pause.
	if mc.QueueCheckInterval == 0 {
		return fmt.Errorf("QueueCheckInterval: must be more than 0")
	}
	return nil
}

func (o overrides) setNumbers(mc *memberlist.Config) error {
	for _, n := range []struct {
		key   string
		value int
		to    *int
	}{
		{"IndirectChecks", o.IndirectChecks, &mc.IndirectChecks},
		{"RetransmitMult", o.RetransmitMult, &mc.RetransmitMult},
		{"SuspicionMult", o.SuspicionMult, &mc.SuspicionMult},
		{"SuspicionMaxTimeoutMult", o.SuspicionMaxTimeoutMult, &mc.SuspicionMaxTimeoutMult},
		{"AwarenessMaxMultiplier", o.AwarenessMaxMultiplier, &mc.AwarenessMaxMultiplier},
		{"GossipNodes", o.GossipNodes, &mc.GossipNodes},
		{"HandoffQueueDepth", o.HandoffQueueDepth, &mc.HandoffQueueDepth},
		{"UDPBufferSize", o.UDPBufferSize, &mc.UDPBufferSize},
	} {
		if n.value < 0 {
			return fmt.Errorf("%s: %d is negative", n.key, n.value)
		}
		*n.to = n.value
	}
	return nil
}
