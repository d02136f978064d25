package config

import (
	"time"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

const bfdProfileKind = "BFDProfile"

// parseBFDProfiles returns the profiles by name, nil for those that have a problem.
func parseBFDProfiles(r *report, o Objects) map[string]*lb.BFDProfile {
	profiles := map[string]*lb.BFDProfile{}
	for _, raw := range o.BFDProfiles {
		f := r.about(bfdProfileKind, &raw)
		profiles[raw.Name] = nil
		if p := parseBFDProfile(f, raw); !f.any {
			profiles[raw.Name] = &p
		}
	}
	return profiles
}

// parseBFDProfile gives what is unset the defaults that FRR has, which users' profiles
// count on.
func parseBFDProfile(f *findings, raw v1beta1.BFDProfile) lb.BFDProfile {
	s := raw.Spec
	return lb.BFDProfile{
		Name:             raw.Name,
		ReceiveInterval:  f.milliseconds("spec.receiveInterval", s.ReceiveInterval, 300),
		TransmitInterval: f.milliseconds("spec.transmitInterval", s.TransmitInterval, 300),
		DetectMultiplier: f.number("spec.detectMultiplier", s.DetectMultiplier, 3, 2, 255),
		EchoInterval:     f.milliseconds("spec.echoInterval", s.EchoInterval, 50),
		EchoMode:         s.EchoMode != nil && *s.EchoMode,
		PassiveMode:      s.PassiveMode != nil && *s.PassiveMode,
		MinimumTTL:       f.number("spec.minimumTtl", s.MinimumTTL, 254, 1, 254),
	}
}

func (f *findings) milliseconds(field string, value *uint32, unset int) time.Duration {
	return time.Duration(f.number(field, value, unset, 10, 60000)) * time.Millisecond
}

func (f *findings) number(field string, value *uint32, unset, lowest, highest int) int {
	if value == nil {
		return unset
	}
	n := int(*value)
	if n < lowest || n > highest {
		f.add(field, "%d is not between %d and %d", n, lowest, highest)
	}
	return n
}
