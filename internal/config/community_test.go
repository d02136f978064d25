package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

func TestCommunities(t *testing.T) {
	known := []v1beta1.Community{
		aliases("ours", "web=64512:100", "db=large:64512:1:2", "vip:of:ours=1:1", "NO_ADVERTISE=64512:200"),
		aliases("theirs", "65535:0=1:2"),
	}
	large := func(a, b, c uint32) []lb.LargeCommunity {
		return []lb.LargeCommunity{{Global: a, Local1: b, Local2: c}}
	}
	for name, tc := range map[string]struct {
		texts []string
		want  lb.Attributes
	}{
		"a standard one":                {[]string{"64512:100"}, lb.Attributes{Communities: []lb.Community{64512<<16 | 100}}},
		"the lowest and the highest":    {[]string{"65535:65535", "0:0"}, lb.Attributes{Communities: []lb.Community{0, 0xffffffff}}},
		"leading zeros":                 {[]string{"065535:0065281"}, lb.Attributes{Communities: []lb.Community{0xffffff01}}},
		"a large one":                   {[]string{"large:4294967295:0:1"}, lb.Attributes{LargeCommunities: large(4294967295, 0, 1)}},
		"aliases of both kinds":         {[]string{"web", "db"}, lb.Attributes{Communities: []lb.Community{64512<<16 | 100}, LargeCommunities: large(64512, 1, 2)}},
		"an alias with colons":          {[]string{"vip:of:ours"}, lb.Attributes{Communities: []lb.Community{1<<16 | 1}}},
		"one community by two names":    {[]string{"web", "64512:100"}, lb.Attributes{Communities: []lb.Community{64512<<16 | 100}}},
		"one large one in two ways":     {[]string{"db", "large:064512:1:2"}, lb.Attributes{LargeCommunities: large(64512, 1, 2)}},
		"an alias takes IANA's place":   {[]string{"NO_ADVERTISE"}, lb.Attributes{Communities: []lb.Community{64512<<16 | 200}}},
		"no alias takes a community's":  {[]string{"65535:0"}, lb.Attributes{Communities: []lb.Community{65535 << 16}}},
		"leave by the end of the drain": {[]string{"GRACEFUL_SHUTDOWN"}, lb.Attributes{Communities: []lb.Community{65535 << 16}}},
		"to nobody but ourselves": {
			[]string{"NO_EXPORT", "NO_EXPORT_SUBCONFED", "NO_PEER", "NOPEER"},
			lb.Attributes{Communities: []lb.Community{0xffffff01, 0xffffff03, 0xffffff04}},
		},
		"all others that have a name": {
			[]string{"LOCAL_AS", "BLACKHOLE", "ACCEPT_OWN", "LLGR_STALE", "NO_LLGR"},
			lb.Attributes{Communities: []lb.Community{0xffff0001, 0xffff0006, 0xffff0007, 65535<<16 | 666, 0xffffff03}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, problems := config.Parse(config.Objects{
				Communities:       known,
				BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("a", v1beta1.BGPAdvertisementSpec{Communities: tc.texts})},
			})
			if len(problems) > 0 {
				t.Fatalf("problems: %v", problems)
			}
			if diff := cmp.Diff(tc.want, c.BGPAdvertisements[0].Attributes, byValue); diff != "" {
				t.Errorf("attributes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProblemsOfCommunities(t *testing.T) {
	const section = "invalid community value: invalid section %q of community %q: it must be a number from 0 to %d"
	for text, message := range map[string]string{
		"web":                  "invalid community format: web",
		"":                     "invalid community format: ",
		"1:2:3":                "invalid community format: 1:2:3",
		"no-export":            "invalid community format: no-export",
		"large:1:2":            "invalid community format: large:1:2",
		"65536:1":              fmt.Sprintf(section, "65536", "65536:1", 65535),
		"1:65536":              fmt.Sprintf(section, "65536", "1:65536", 65535),
		"1:-1":                 fmt.Sprintf(section, "-1", "1:-1", 65535),
		"a:b":                  fmt.Sprintf(section, "a", "a:b", 65535),
		":":                    fmt.Sprintf(section, "", ":", 65535),
		"large:4294967296:1:2": fmt.Sprintf(section, "4294967296", "large:4294967296:1:2", uint32(4294967295)),
		"large:1:2:x":          fmt.Sprintf(section, "x", "large:1:2:x", uint32(4294967295)),
		"1:2:3:4":              `invalid community value: expected community to be of format large, such as large:64512:1:2, and not "1:2:3:4"`,
	} {
		t.Run(text, func(t *testing.T) {
			wantConfig(t,
				config.Objects{
					Communities: []v1beta1.Community{aliases("bad", "here="+text)},
					BGPAdvertisements: []v1beta1.BGPAdvertisement{
						bgp("bad", v1beta1.BGPAdvertisementSpec{Communities: []string{"1:1", text}}),
						bgp("good", v1beta1.BGPAdvertisementSpec{}),
					},
				},
				lb.Config{BGPAdvertisements: []lb.BGPAdvertisement{{Name: "good", AggregationLength: 32, AggregationLengthV6: 128}}},
				verbatim("BGPAdvertisement bad", "spec.communities[1]", fmt.Sprintf("%s\ninvalid community %q in BGP advertisement", message, text)),
				problem("Community bad", "spec.communities[0].value", message),
			)
		})
	}
}

func TestAnAliasIsDefinedOnce(t *testing.T) {
	younger := aliases("a-younger", "mine=1:1", "web=1:2")
	younger.CreationTimestamp.Time = monday.AddDate(0, 0, 1)
	for name, objects := range map[string][]v1beta1.Community{
		"in two objects": {younger, aliases("older", "web=64512:100")},
		"in one object":  {aliases("a-younger", "db=1:1", "web=64512:100", "web=64512:100"), aliases("older", "web=64512:100")},
	} {
		t.Run(name, func(t *testing.T) {
			use := func(names ...string) v1beta1.BGPAdvertisementSpec {
				return v1beta1.BGPAdvertisementSpec{Communities: names}
			}
			c, problems := config.Parse(config.Objects{
				Communities:       objects,
				BGPAdvertisements: []v1beta1.BGPAdvertisement{bgp("one", use("web")), bgp("two", use("mine"))},
			})
			if len(c.BGPAdvertisements) != 1 || c.BGPAdvertisements[0].Attributes.Communities[0] != 64512<<16|100 {
				t.Errorf("in force: %v, want the one that uses the older definition", c.BGPAdvertisements)
			}
			var duplicates int
			for _, p := range problems {
				if p.Object.Name == "a-younger" && strings.Contains(p.Message, `duplicate definition of community "web"`) {
					duplicates++
				}
			}
			if duplicates == 0 || duplicates+1 != len(problems) {
				t.Errorf("problems %v, want those of a-younger, and that of the advertisement that counts on it", problems)
			}
		})
	}
}

// FuzzCommunity puts any text where an advertisement and an alias have a community: both
// are of one mind, and what is taken is written as it is read.
func FuzzCommunity(f *testing.F) {
	for _, seed := range []string{"64512:100", "65536:1", "large:1:2:3", "large:1:2:4294967296", "1:2:3:4", "NO_EXPORT", "a:b", "", "::", "large:::", "+1:1", "1_0:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, problems := config.Parse(config.Objects{
			Communities: []v1beta1.Community{aliases("fuzzed", "alias="+text)},
			BGPAdvertisements: []v1beta1.BGPAdvertisement{
				bgp("alias", v1beta1.BGPAdvertisementSpec{Communities: []string{"alias"}}),
				bgp("text", v1beta1.BGPAdvertisementSpec{Communities: []string{text}}),
			},
		})
		switch sections := strings.Split(text, ":"); {
		case len(c.BGPAdvertisements) == 2:
			checkSpelling(t, c.BGPAdvertisements[0].Attributes, text)
			if !c.BGPAdvertisements[0].Attributes.Equal(c.BGPAdvertisements[1].Attributes) {
				t.Errorf("%q is %v by alias, and %v as it is", text, c.BGPAdvertisements[0].Attributes, c.BGPAdvertisements[1].Attributes)
			}
		case len(problems) == 0:
			t.Errorf("%q is no community, and nobody says so", text)
		case len(sections) == 2 && len(c.BGPAdvertisements) > 0:
			t.Errorf("%q is wrong in one place and right in another: %v", text, problems)
		}
	})
}

func checkSpelling(t *testing.T, a lb.Attributes, text string) {
	t.Helper()
	var spelling string
	for _, c := range a.Communities {
		spelling = fmt.Sprintf("%d:%d", c>>16, c&0xffff)
	}
	for _, c := range a.LargeCommunities {
		spelling = fmt.Sprintf("large:%d:%d:%d", c.Global, c.Local1, c.Local2)
	}
	var sections []string
	for section := range strings.SplitSeq(text, ":") {
		if trimmed := strings.TrimLeft(section, "0"); trimmed != "" || section == "" {
			sections = append(sections, trimmed)
		} else {
			sections = append(sections, "0")
		}
	}
	if got := strings.Join(sections, ":"); got != spelling {
		t.Errorf("%q is read as %s", text, spelling)
	}
}
