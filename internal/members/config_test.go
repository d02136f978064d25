package members

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"
)

func TestEffectiveKey(t *testing.T) {
	const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	tests := map[string]struct {
		secret string
		want   string // in hexadecimal
	}{
		"no secret gives the sum of nothing": {"", nothing},
		"a short secret is padded":           {"secret", hex.EncodeToString([]byte("secret")) + nothing[:52]},
		"white space counts":                 {"secret\n", hex.EncodeToString([]byte("secret\n")) + nothing[:50]},
		"32 bytes are the key":               {strings.Repeat("a", 32), strings.Repeat("61", 32)},
		"further bytes do not count":         {strings.Repeat("a", 32) + "bcd", strings.Repeat("61", 32)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := hex.EncodeToString(effectiveKey([]byte(tt.secret))); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestEffectiveKeyLeavesTheSecretAlone(t *testing.T) {
	secret := append(make([]byte, 0, 64), "secret"...)
	effectiveKey(secret)
	if got := secret[:7][6]; got != 0 {
		t.Errorf("byte behind the secret became %x", got)
	}
}

func TestProfile(t *testing.T) {
	tests := map[string]struct {
		config Config
		want   time.Duration // the probe interval
	}{
		"nodes on a LAN are probed often":         {Config{}, 100 * time.Millisecond},
		"the WAN flag means memberlist's WAN":     {Config{WAN: true}, 5 * time.Second},
		"the file is preferred to the LAN":        {Config{Overrides: []byte(completeFile)}, 700 * time.Millisecond},
		"the file is preferred to the WAN's flag": {Config{Overrides: []byte(completeFile), WAN: true}, 700 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.config.NodeName, tt.config.BindAddr = "node-a", "127.0.0.1"
			mc, err := tt.config.memberlistConfig()
			if err != nil {
				t.Fatal(err)
			}
			if mc.ProbeInterval != tt.want {
				t.Errorf("probe interval is %s, want %s", mc.ProbeInterval, tt.want)
			}
		})
	}
}

func TestConfigurationMistakes(t *testing.T) {
	tests := map[string]struct {
		config Config
		want   string
	}{
		"no node name":       {Config{BindAddr: "127.0.0.1"}, "no node name"},
		"no bind address":    {Config{NodeName: "a"}, "bind address"},
		"a name for address": {Config{NodeName: "a", BindAddr: "localhost"}, "bind address"},
		"a bad timing file":  {Config{NodeName: "a", BindAddr: "::1", Overrides: []byte("{}")}, "TCPTimeout"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := tt.config.memberlistConfig()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one about %q", err, tt.want)
			}
		})
	}
}

const completeFile = `{
	"TCPTimeout": "3s", "IndirectChecks": 5, "RetransmitMult": 6, "SuspicionMult": 7,
	"SuspicionMaxTimeoutMult": 8, "PushPullInterval": "1m30s", "ProbeTimeout": "300ms",
	"ProbeInterval": "700ms", "DisableTcpPings": true, "AwarenessMaxMultiplier": 9,
	"GossipNodes": 10, "GossipInterval": "110ms", "GossipToTheDeadTime": "12s",
	"GossipVerifyIncoming": true, "GossipVerifyOutgoing": true, "EnableCompression": true,
	"HandoffQueueDepth": 13, "UDPBufferSize": 1400, "QueueCheckInterval": "15s"
}`

func TestParseOverrides(t *testing.T) {
	got, err := ParseOverrides([]byte(completeFile))
	if err != nil {
		t.Fatal(err)
	}
	want := memberlist.DefaultLANConfig()
	want.TCPTimeout, want.IndirectChecks, want.RetransmitMult, want.SuspicionMult = 3*time.Second, 5, 6, 7
	want.SuspicionMaxTimeoutMult, want.PushPullInterval, want.ProbeTimeout = 8, 90*time.Second, 300*time.Millisecond
	want.ProbeInterval, want.DisableTcpPings, want.AwarenessMaxMultiplier = 700*time.Millisecond, true, 9
	want.GossipNodes, want.GossipInterval, want.GossipToTheDeadTime = 10, 110*time.Millisecond, 12*time.Second
	want.HandoffQueueDepth, want.UDPBufferSize, want.QueueCheckInterval = 13, 1400, 15*time.Second
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseOverridesOfNumbersLeftOut(t *testing.T) {
	var kept []string
	for line := range strings.SplitSeq(completeFile, ",") {
		if strings.Contains(line, `"Suspicion`) || strings.Contains(line, "Verify") {
			continue
		}
		kept = append(kept, line)
	}
	got, err := ParseOverrides([]byte(strings.Join(kept, ",")))
	if err != nil {
		t.Fatal(err)
	}
	if got.SuspicionMult != 0 || got.SuspicionMaxTimeoutMult != 0 || got.GossipVerifyIncoming || got.GossipVerifyOutgoing {
		t.Errorf("what was left out is not zero: %+v", got)
	}
}

func TestParseOverridesNamesTheMistake(t *testing.T) {
	tests := map[string]struct{ old, changed, want string }{
		"a duration left out":       {`"ProbeInterval": "700ms",`, "", "ProbeInterval"},
		"a duration without a unit": {`"3s"`, `"3"`, "TCPTimeout"},
		"a negative duration":       {`"12s"`, `"-12s"`, "GossipToTheDeadTime"},
		"a duration as a number":    {`"12s"`, `12`, "GossipToTheDeadTime"},
		"a number as text":          {`"GossipNodes": 10`, `"GossipNodes": "10"`, "GossipNodes"},
		"a negative number":         {`"GossipNodes": 10`, `"GossipNodes": -10`, "GossipNodes"},
		"a switch as text":          {`"DisableTcpPings": true`, `"DisableTcpPings": "yes"`, "DisableTcpPings"},
		"checks without a pause":    {`"15s"`, `"0s"`, "QueueCheckInterval"},
		"not JSON":                  {`{`, `[`, "parse memberlist timing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := strings.Replace(completeFile, tt.old, tt.changed, 1)
			_, err := ParseOverrides([]byte(file))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one about %s", err, tt.want)
			}
		})
	}
}

// FuzzParseOverrides checks that whatever is accepted keeps memberlist's timers sane.
func FuzzParseOverrides(f *testing.F) {
	f.Add([]byte(completeFile))
	f.Add([]byte(`{"TCPTimeout": "1h"}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		mc, err := ParseOverrides(file)
		if err != nil {
			return
		}
		for _, d := range []time.Duration{mc.TCPTimeout, mc.PushPullInterval, mc.ProbeTimeout, mc.ProbeInterval, mc.GossipInterval, mc.GossipToTheDeadTime} {
			if d < 0 {
				t.Errorf("accepted a negative duration: %+v", mc)
			}
		}
		if mc.QueueCheckInterval <= 0 || mc.GossipNodes < 0 || mc.IndirectChecks < 0 {
			t.Errorf("accepted %+v", mc)
		}
	})
}

// FuzzParseMeta checks that only a member that says so is unusable.
func FuzzParseMeta(f *testing.F) {
	for _, text := range []string{"", "{}", `{"unusable":true}`, `{"unusable":false,"more":1}`, "\x00", `"unusable"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if parseMeta(text).Unusable && !strings.Contains(string(text), "true") {
			t.Errorf("%q counts as unusable", text)
		}
	})
}
