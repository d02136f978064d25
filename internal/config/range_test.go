package config_test

import (
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

func TestRangesAreReadAsUsersWriteThem(t *testing.T) {
	for name, tc := range map[string]struct{ text, first, last string }{
		"a network": {"198.51.100.0/24", "198.51.100.0", "198.51.100.255"},
		"a network whose host bits do not matter":     {"198.51.100.10/24", "198.51.100.0", "198.51.100.255"},
		"a network of one address":                    {"198.51.100.7/32", "198.51.100.7", "198.51.100.7"},
		"all of IPv4":                                 {"0.0.0.0/0", "0.0.0.0", "255.255.255.255"},
		"an IPv6 network":                             {"2001:db8::/126", "2001:db8::", "2001:db8::3"},
		"an IPv6 network in capitals":                 {"2001:DB8::5/127", "2001:db8::4", "2001:db8::5"},
		"a network among spaces":                      {" 198.51.100.0/31 ", "198.51.100.0", "198.51.100.1"},
		"first to last":                               {"198.51.100.10-198.51.100.20", "198.51.100.10", "198.51.100.20"},
		"first to last with spaces":                   {" 198.51.100.10 - 198.51.100.20 ", "198.51.100.10", "198.51.100.20"},
		"one address from itself to itself":           {"198.51.100.10-198.51.100.10", "198.51.100.10", "198.51.100.10"},
		"across networks":                             {"198.51.100.250-198.51.101.5", "198.51.100.250", "198.51.101.5"},
		"first to last in IPv6":                       {"2001:db8::1-2001:db8::1:0", "2001:db8::1", "2001:db8::1:0"},
		"IPv4 as IPv6 writes it is IPv4":              {"::ffff:198.51.100.1-::ffff:198.51.100.9", "198.51.100.1", "198.51.100.9"},
		"an IPv4 network as IPv6 writes it is one":    {"::ffff:198.51.100.0/120", "198.51.100.0", "198.51.100.255"},
		"the two ways of writing IPv4 are one family": {"198.51.100.1-::ffff:198.51.100.9", "198.51.100.1", "198.51.100.9"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.ParseRange(tc.text)
			if want := ranged(tc.first, tc.last); err != nil || got != want {
				t.Errorf("ParseRange(%q) = %s, %v; want %s", tc.text, got, err, want)
			}
		})
	}
}

func TestBadRangesAreRefusedInWords(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":                       {"", `invalid CIDR ""`},
		"words":                         {"the office network", `invalid CIDR "the office network"`},
		"an address without a length":   {"198.51.100.1", `invalid CIDR "198.51.100.1"`},
		"a length beyond the family's":  {"198.51.100.0/33", `invalid CIDR "198.51.100.0/33"`},
		"an octet beyond 255":           {"198.51.100.256/32", `invalid CIDR "198.51.100.256/32"`},
		"an octet with a leading zero":  {"198.51.100.010/32", `invalid CIDR "198.51.100.010/32"`},
		"a network with a zone":         {"fe80::%eth0/64", `invalid CIDR "fe80::%eth0/64"`},
		"a network around IPv4 in IPv6": {"::ffff:0.0.0.0/95", `invalid CIDR "::ffff:0.0.0.0/95": the prefix of an IPv4-mapped address is 96 bits at least`},
		"a range without a start":       {"-198.51.100.9", `invalid IP range "-198.51.100.9": invalid start IP ""`},
		"a range without an end":        {"198.51.100.1-", `invalid IP range "198.51.100.1-": invalid end IP ""`},
		"a range with two dashes":       {"198.51.100.1-198.51.100.2-198.51.100.3", `invalid IP range "198.51.100.1-198.51.100.2-198.51.100.3": invalid end IP "198.51.100.2-198.51.100.3"`},
		"a range of networks":           {"198.51.100.0/24-198.51.101.0/24", `invalid IP range "198.51.100.0/24-198.51.101.0/24": invalid start IP "198.51.100.0/24"`},
		"a range that ends before it starts": {
			"198.51.100.9-198.51.100.1",
			`invalid IP range "198.51.100.9-198.51.100.1": start IP 198.51.100.9 is after end IP 198.51.100.1`,
		},
		"a range from one family into the other": {
			"198.51.100.1-2001:db8::1",
			`invalid IP range "198.51.100.1-2001:db8::1": start and end are of different families`,
		},
		"a range with a zone": {"fe80::1%eth0-fe80::9%eth0", `invalid IP range "fe80::1%eth0-fe80::9%eth0": invalid start IP "fe80::1%eth0"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := config.ParseRange(tc.text)
			if err == nil {
				t.Fatalf("ParseRange(%q) = %s, want an error", tc.text, got)
			}
			if err.Error() != tc.want {
				t.Errorf("ParseRange(%q): %s\nwant %s", tc.text, err, tc.want)
			}
		})
	}
}

// FuzzParseRange compares with package net, which parses and counts in another way.
func FuzzParseRange(f *testing.F) {
	for _, text := range []string{
		"198.51.100.0/24", "198.51.100.10/24", "0.0.0.0/0", "2001:db8::/64", "::/0", "::ffff:198.51.100.0/120", "fe80::%eth0/64",
		"198.51.100.1 - 198.51.100.9", "2001:db8::1-2001:db8::f", "198.51.100.9-198.51.100.1", "198.51.100.1-2001:db8::1", "-", "",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := config.ParseRange(text)
		want, ok := oracle(text)
		if (err == nil) != ok {
			t.Fatalf("ParseRange(%q): error %v, but package net says that it is valid: %t", text, err, ok)
		}
		if err != nil {
			return
		}
		if got != want {
			t.Fatalf("ParseRange(%q) = %s, package net says %s", text, got, want)
		}
		checkRange(t, got)
		again, err := config.ParseRange(got.String())
		if err != nil || again != got {
			t.Fatalf("ParseRange(%q) = %s, which is read as %s, %v", text, got, again, err)
		}
	})
}

// checkRange checks that the range ends where it says it does.
func checkRange(t *testing.T, r lb.Range) {
	t.Helper()
	if r.Last.Less(r.First) || r.First.Is4() != r.Last.Is4() || r.First.Zone() != "" || r.First.Is4In6() {
		t.Fatalf("range %s is none", r)
	}
	if !r.Contains(r.First) || !r.Contains(r.Last) || r.Contains(r.First.Prev()) || r.Contains(r.Last.Next()) {
		t.Fatalf("range %s does not end where it says", r)
	}
}

// oracle reads a range with package net and big numbers.
func oracle(text string) (lb.Range, bool) {
	if first, last, isRange := strings.Cut(text, "-"); isRange {
		return between(net.ParseIP(strings.TrimSpace(first)), net.ParseIP(strings.TrimSpace(last)))
	}
	ip, network, err := net.ParseCIDR(strings.TrimSpace(text))
	if _, length, _ := strings.Cut(text, "/0"); err != nil || strings.TrimSpace(length) != "" {
		return lb.Range{}, false // Package net lets a length start with zeros.
	}
	if ones, bits := network.Mask.Size(); bits == 128 && ip.To4() != nil && ones < 96 {
		return lb.Range{}, false // A network around the IPv4-mapped ones is of neither family.
	}
	last := make(net.IP, len(network.IP))
	for i := range last {
		last[i] = network.IP[i] | ^network.Mask[len(network.Mask)-len(last)+i]
	}
	return between(network.IP, last)
}

func between(first, last net.IP) (lb.Range, bool) {
	if first == nil || last == nil || (first.To4() == nil) != (last.To4() == nil) {
		return lb.Range{}, false
	}
	if new(big.Int).SetBytes(first.To16()).Cmp(new(big.Int).SetBytes(last.To16())) > 0 {
		return lb.Range{}, false
	}
	from, _ := netip.AddrFromSlice(first)
	to, _ := netip.AddrFromSlice(last)
	return lb.Range{First: from.Unmap(), Last: to.Unmap()}, true
}
