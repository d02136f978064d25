package router

import (
	_ "embed"
	"fmt"
	"net/netip"
	"strings"
	"text/template"

	"github.com/herald-lb/herald/e2e/lab"
)

//go:embed bird.conf
var birdTemplate string

var birdConfig = template.Must(template.New("bird.conf").Parse(birdTemplate))

// birdValues are what the template needs.
type birdValues struct {
	Config
	Own      lab.Addresses
	Families []birdFamily
}

// RouterID identifies the router.
func (v birdValues) RouterID() netip.Addr { return v.Own.V4 }

// Source is the router's own address towards a neighbour: BIRD wants to be told where BFD is to watch several hops.
func (v birdValues) Source(neighbour netip.Addr) netip.Addr {
	if neighbour.Is4() {
		return v.Own.V4
	}
	return v.Own.V6
}

type birdFamily struct {
	Name string
	V4   bool
}

// renderBIRD writes a configuration in BIRD's words.
func renderBIRD(host lab.Host, c Config) (string, error) {
	var out strings.Builder
	err := birdConfig.Execute(&out, birdValues{
		Config: c, Own: lab.AddressesOf(host), Families: []birdFamily{{"ipv4", true}, {"ipv6", false}},
	})
	return out.String(), err
}

// Protocol is BIRD's name for the session: letters, digits and underscores.
func (n Neighbour) Protocol() string {
	return "with_" + strings.NewReplacer(".", "_", ":", "_", "-", "_").Replace(n.Name())
}

// BIRDAS is BIRD's word for who the neighbour may be.
func (n Neighbour) BIRDAS() string {
	if n.ASN == 0 {
		return "external"
	}
	return fmt.Sprintf("as %d", n.ASN)
}
