package api_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The rules that judge users' text are written in CEL. Here each is held against a few lines of Go that say the same.

// TestOrderOfRanges compares the ends of random ranges, many of which differ late, in every spelling of IPv6.
func TestOrderOfRanges(t *testing.T) {
	server, random := newAPIServer(t), rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		first := randomAddress(random)
		last := alter(random, first)
		checkAddresses(t, server, spell(random, first)+"-"+spell(random, last))
	}
}

func randomAddress(random *rand.Rand) netip.Addr {
	bytes := make([]byte, []int{4, 16}[random.IntN(2)])
	for i := range bytes {
		// Zeros are common, so that "::" is; and the neighbours of the others often differ in more than the last digit.
		bytes[i] = []byte{0, 0, 0, 0x0f, 0x10, 0xff, byte(random.UintN(256))}[random.IntN(7)]
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// alter changes a byte of the address and at times some after it, or takes a neighbour.
func alter(random *rand.Rand, addr netip.Addr) netip.Addr {
	if neighbour := []netip.Addr{addr.Next(), addr.Prev(), {}, {}}[random.IntN(4)]; neighbour.IsValid() {
		return neighbour
	}
	bytes := addr.AsSlice()
	for i := random.IntN(len(bytes)); i < len(bytes); i += 1 + random.IntN(len(bytes)) {
		bytes[i] = byte(random.UintN(256))
	}
	altered, _ := netip.AddrFromSlice(bytes)
	return altered
}

func spell(random *rand.Rand, addr netip.Addr) string {
	return []string{addr.String(), addr.StringExpanded(), strings.ToUpper(addr.String())}[random.IntN(3)]
}

func FuzzAddresses(f *testing.F) {
	for _, seed := range []string{
		"198.51.100.0/24", "198.51.100.1-198.51.100.9", "2001:db8::/32", "2001:db8::1 - 2001:db8::ff", "::1.2.3.4-::1.2.3.5",
		"::-::", "1::-1:2:3:4:5:6:7::", "fe80::1%eth0-fe80::2", "::ffff:1.2.3.4-::ffff:1.2.3.5", "1.2.3.4-", "-", "1-2", ":-:",
	} {
		f.Add(seed)
	}
	server := newAPIServer(f)
	f.Fuzz(func(t *testing.T, text string) {
		if utf8.ValidString(text) && utf8.RuneCountInString(text) <= 128 {
			checkAddresses(t, server, text)
		}
	})
}

func checkAddresses(t *testing.T, server apiServer, text string) {
	t.Helper()
	obj := object("v1beta1", "IPAddressPool", map[string]any{"addresses": []any{text}})
	errs := server.create(t.Context(), obj)
	if got, want := len(errs) == 0, validAddresses(text); got != want {
		t.Errorf("addresses item %q: taken %v, want %v (%v)", text, got, want, errs.ToAggregate())
	}
}

func validAddresses(text string) bool {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		prefix, err := netip.ParsePrefix(text)
		return err == nil && plain(prefix.Addr())
	}
	a, errA := netip.ParseAddr(strings.TrimSpace(first))
	b, errB := netip.ParseAddr(strings.TrimSpace(last))
	if errA != nil || errB != nil || !plain(a) || !plain(b) || a.Is4() != b.Is4() {
		return false
	}
	dotted := strings.Contains(text, ".") && !a.Is4() // the rule leaves "::198.51.100.1" alone
	return dotted || a.Compare(b) <= 0
}

// plain tells an address without a zone, and not IPv4 in IPv6's clothes.
func plain(addr netip.Addr) bool { return addr.Zone() == "" && !addr.Is4In6() }

func FuzzCommunities(f *testing.F) {
	for _, seed := range []string{"64512:100", "65536:1", "large:1:2:3", "large:1:2:4294967296", "1:2:3:4", "NO_EXPORT", "a:b", "", "::", "large:::", "0000000000000000000001:1"} {
		f.Add(seed)
	}
	server := newAPIServer(f)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > 128 {
			return
		}
		advertisement := object("v1beta1", "BGPAdvertisement", map[string]any{"communities": []any{text}})
		alias := object("v1beta1", "Community", map[string]any{"communities": []any{map[string]any{"name": "a", "value": text}}})
		isCommunity, isAlias := validCommunity(text)
		if errs := server.create(t.Context(), advertisement); (len(errs) == 0) != (isCommunity || isAlias) {
			t.Errorf("in a BGPAdvertisement, %q: %v", text, errs.ToAggregate())
		}
		if errs := server.create(t.Context(), alias); (len(errs) == 0) != isCommunity {
			t.Errorf("in a Community, %q: %v", text, errs.ToAggregate())
		}
	})
}

// validCommunity tells whether the text is a community, and whether it may be the name of one.
func validCommunity(text string) (isCommunity, isAlias bool) {
	sections := strings.Split(text, ":")
	switch len(sections) {
	case 2:
		return numbers(sections, 16, 10), false
	case 4:
		return sections[0] == "large" && numbers(sections[1:], 32, 18), false
	default:
		return false, true
	}
}

func numbers(sections []string, bits, digits int) bool {
	for _, section := range sections {
		if _, err := strconv.ParseUint(section, 10, bits); err != nil || len(section) > digits {
			return false
		}
	}
	return true
}

func FuzzHoldTime(f *testing.F) {
	for _, seed := range []string{"90s", "1m30s", "0", "+3s", "-3s", ".5m", "2.999s", "3000ms", "3µs", "90", "1d", "s", "9999999999h", "1h1h", "0.0s", "."} {
		f.Add(seed)
	}
	server := newAPIServer(f)
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > 64 {
			return
		}
		peer := object("v1beta2", "BGPPeer", map[string]any{"myASN": int64(1), "peerASN": int64(2), "peerAddress": "192.0.2.1", "holdTime": text})
		hold, err := time.ParseDuration(text)
		want := err == nil && !strings.HasPrefix(text, "-") && (hold < time.Second || hold >= 3*time.Second)
		if errs := server.create(t.Context(), peer); (len(errs) == 0) != want {
			t.Errorf("holdTime %q: want it taken: %v, got %v", text, want, errs.ToAggregate())
		}
	})
}

func object(version, kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": fmt.Sprintf("metallb.io/%s", version),
		"kind":       kind,
		"metadata":   map[string]any{"name": "under-test"},
		"spec":       spec,
	}}
}
