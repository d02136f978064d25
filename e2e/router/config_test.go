package router

import (
	"flag"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

var update = flag.Bool("update", false, "write what the templates give into testdata")

// everything uses each field once.
var everything = Config{
	ASN: 64513, Port: 1179, Extra: "# the end",
	Neighbours: []Neighbour{
		{Address: netip.MustParseAddr("192.168.10.11"), ASN: 64512},
		{Address: netip.MustParseAddr("fd00:10::b"), DualStack: true, HoldTime: 9 * time.Second, Password: "secret", BFD: &BFD{Interval: 50 * time.Millisecond, Multiplier: 4, Passive: true, Echo: true}},
		{Address: netip.MustParseAddr("192.168.10.12"), ASN: 64512, MultiHop: true},
		{Address: netip.MustParseAddr("192.168.10.13"), ASN: 64512, TTLSecurity: true},
		{Interface: "direct0", ASN: 4200000000, ExtendedNextHop: true},
	},
}

func TestConfigurationIsWrittenInTheRoutersWords(t *testing.T) {
	for file, render := range map[string]func(lab.Host, Config) (string, error){
		"testdata/frr.conf": renderFRR, "testdata/bird.conf": renderBIRD,
	} {
		got, err := render(lab.Router, everything)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
	}
}
