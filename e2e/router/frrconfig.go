package router

import (
	"cmp"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

//go:embed frr.conf
var frrTemplate string

var frrConfig = template.Must(template.New("frr.conf").Parse(frrTemplate))

// frrValues are what the template needs.
type frrValues struct {
	Config
	Host     lab.Host
	RouterID string
	Families []frrFamily
}

type frrFamily struct {
	Name string
	V4   bool
}

// renderFRR writes a configuration in FRR's words.
func renderFRR(host lab.Host, c Config) (string, error) {
	var out strings.Builder
	err := frrConfig.Execute(&out, frrValues{
		Config: c, Host: host, RouterID: lab.AddressesOf(host).V4.String(),
		Families: []frrFamily{{"ipv4", true}, {"ipv6", false}},
	})
	return out.String(), err
}

// What follows is for the templates.

// Name is what FRR calls the neighbour.
func (n Neighbour) Name() string {
	if n.Interface != "" {
		return n.Interface
	}
	return n.Address.String()
}

// RemoteAS is FRR's word for who the neighbour may be.
func (n Neighbour) RemoteAS() string {
	if n.ASN == 0 {
		return "external"
	}
	return fmt.Sprint(n.ASN)
}

// Hold is the hold time in seconds.
func (n Neighbour) Hold() int { return int(n.HoldTime / time.Second) }

// Keepalive is a third of it (RFC 4271, section 10).
func (n Neighbour) Keepalive() int { return max(n.Hold()/3, 1) }

// Carries says whether routes of a family are exchanged.
func (n Neighbour) Carries(v4 bool) bool {
	return n.DualStack || n.Interface != "" || n.Address.Is4() == v4
}

// Milliseconds is the interval between packets.
func (b BFD) Milliseconds() int {
	return int(cmp.Or(b.Interval, 300*time.Millisecond) / time.Millisecond)
}

// Times is how many packets may be missed.
func (b BFD) Times() int { return cmp.Or(b.Multiplier, 3) }

// Profile names the values: those that have all in common share one.
func (b BFD) Profile() string {
	return fmt.Sprintf("every-%d-times-%d-passive-%v-echo-%v", b.Milliseconds(), b.Times(), b.Passive, b.Echo)
}
