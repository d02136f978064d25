package config

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/herald-lb/herald/internal/lb"
)

const communityKind = "Community"

// community is a standard community, or a large one.
type community struct {
	standard lb.Community
	large    *lb.LargeCommunity
}

// wellKnown are communities that advertisements may call by the names that IANA has for
// them: https://www.iana.org/assignments/bgp-well-known-communities. LOCAL_AS and NO_PEER are
// how routers write NO_EXPORT_SUBCONFED and NOPEER.
var wellKnown = map[string]lb.Community{
	"GRACEFUL_SHUTDOWN":   0xffff0000,
	"ACCEPT_OWN":          0xffff0001,
	"LLGR_STALE":          0xffff0006,
	"NO_LLGR":             0xffff0007,
	"BLACKHOLE":           0xffff029a,
	"NO_EXPORT":           0xffffff01,
	"NO_ADVERTISE":        0xffffff02,
	"NO_EXPORT_SUBCONFED": 0xffffff03,
	"LOCAL_AS":            0xffffff03,
	"NOPEER":              0xffffff04,
	"NO_PEER":             0xffffff04,
}

// parseCommunities returns the aliases that advertisements may use.
func parseCommunities(r *report, o Objects) map[string]community {
	aliases := map[string]community{}
	for _, raw := range inPrecedence(communityKind, o.Communities, o.past.standing) {
		f := r.about(communityKind, &raw)
		mine := map[string]community{}
		for i, alias := range raw.Spec.Communities {
			at := fmt.Sprintf("spec.communities[%d]", i)
			if defined(aliases, alias.Name) || defined(mine, alias.Name) {
				f.add(at+".name", "duplicate definition of community %q", alias.Name)
			}
			c, err := parseCommunity(alias.Value)
			if err != nil {
				f.add(at+".value", "%s", err)
			}
			mine[alias.Name] = c
		}
		if !f.any {
			maps.Copy(aliases, mine)
		}
	}
	return aliases
}

func defined(aliases map[string]community, name string) bool {
	_, ok := aliases[name]
	return ok
}

// parseCommunity reads "64512:100" (RFC 1997) or "large:64512:1:2" (RFC 8092).
func parseCommunity(text string) (community, error) {
	sections := strings.Split(text, ":")
	switch {
	case len(sections) == 2:
		n, err := parseSections(text, sections, 16)
		if err != nil {
			return community{}, err
		}
		return community{standard: lb.Community(n[0]<<16 | n[1])}, nil
	case len(sections) == 4 && sections[0] == "large":
		n, err := parseSections(text, sections[1:], 32)
		if err != nil {
			return community{}, err
		}
		return community{large: &lb.LargeCommunity{Global: n[0], Local1: n[1], Local2: n[2]}}, nil
	case len(sections) == 4:
		return community{}, fmt.Errorf("invalid community value: expected community to be of format large, such as large:64512:1:2, and not %q", text)
	}
	return community{}, fmt.Errorf("invalid community format: %s", text)
}

func parseSections(text string, sections []string, bits int) ([]uint32, error) {
	var out []uint32
	for _, s := range sections {
		n, err := strconv.ParseUint(s, 10, bits)
		if err != nil {
			return nil, fmt.Errorf("invalid community value: invalid section %q of community %q: it must be a number from 0 to %d", s, text, uint64(1)<<bits-1)
		}
		out = append(out, uint32(n))
	}
	return out, nil
}
