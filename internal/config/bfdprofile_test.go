package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

func TestBFDProfiles(t *testing.T) {
	unset := lb.BFDProfile{
		Name: "fast", ReceiveInterval: 300 * time.Millisecond, TransmitInterval: 300 * time.Millisecond,
		DetectMultiplier: 3, EchoInterval: 50 * time.Millisecond, MinimumTTL: 254,
	}
	for name, tc := range map[string]struct {
		spec v1beta1.BFDProfileSpec
		want lb.BFDProfile
	}{
		"what is unset is as with FRR": {v1beta1.BFDProfileSpec{}, unset},
		"everything set": {
			v1beta1.BFDProfileSpec{
				ReceiveInterval: new(uint32(10)), TransmitInterval: new(uint32(60000)), DetectMultiplier: new(uint32(255)),
				EchoInterval: new(uint32(20)), EchoMode: new(true), PassiveMode: new(true), MinimumTTL: new(uint32(1)),
			},
			lb.BFDProfile{
				Name: "fast", ReceiveInterval: 10 * time.Millisecond, TransmitInterval: time.Minute, DetectMultiplier: 255,
				EchoInterval: 20 * time.Millisecond, EchoMode: true, PassiveMode: true, MinimumTTL: 1,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, problems := config.Parse(config.Objects{
				Peers:       []v1beta2.BGPPeer{peer("tor", "192.0.2.1", watchedBy("fast"))},
				BFDProfiles: []v1beta1.BFDProfile{profile("fast", tc.spec)},
			})
			want := []lb.Peer{compiled("tor", "192.0.2.1", func(p *lb.Peer) { p.BFD = &tc.want })}
			if diff := cmp.Diff(want, c.Peers, byValue); diff != "" || len(problems) > 0 {
				t.Errorf("peers (-want +got):\n%sproblems: %v", diff, problems)
			}
		})
	}
}

func TestProblemsOfBFDProfiles(t *testing.T) {
	for name, tc := range map[string]struct {
		spec           v1beta1.BFDProfileSpec
		field, message string
	}{
		"an interval too short":   {v1beta1.BFDProfileSpec{ReceiveInterval: new(uint32(9))}, "spec.receiveInterval", "9 is not between 10 and 60000"},
		"an interval too long":    {v1beta1.BFDProfileSpec{TransmitInterval: new(uint32(60001))}, "spec.transmitInterval", "60001 is not between 10 and 60000"},
		"echoes too often":        {v1beta1.BFDProfileSpec{EchoInterval: new(uint32(0))}, "spec.echoInterval", "0 is not between 10 and 60000"},
		"a multiplier too low":    {v1beta1.BFDProfileSpec{DetectMultiplier: new(uint32(1))}, "spec.detectMultiplier", "1 is not between 2 and 255"},
		"a multiplier too high":   {v1beta1.BFDProfileSpec{DetectMultiplier: new(uint32(256))}, "spec.detectMultiplier", "256 is not between 2 and 255"},
		"a TTL of nothing":        {v1beta1.BFDProfileSpec{MinimumTTL: new(uint32(0))}, "spec.minimumTtl", "0 is not between 1 and 254"},
		"a TTL of a single hop's": {v1beta1.BFDProfileSpec{MinimumTTL: new(uint32(255))}, "spec.minimumTtl", "255 is not between 1 and 254"},
	} {
		t.Run(name, func(t *testing.T) {
			wantConfig(t,
				config.Objects{
					Peers:       []v1beta2.BGPPeer{peer("tor-a", "192.0.2.1", watchedBy("bad")), peer("tor-b", "192.0.2.2")},
					BFDProfiles: []v1beta1.BFDProfile{profile("bad", tc.spec)},
				},
				lb.Config{Peers: []lb.Peer{compiled("tor-b", "192.0.2.2")}},
				problem("BFDProfile bad", tc.field, tc.message),
				verbatim("BGPPeer tor-a", "spec.bfdProfile", "peer tor-a referencing invalid bfd profile bad"),
			)
		})
	}
}
