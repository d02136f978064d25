package config_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// What is done to the objects of a session that is up, and what is then in force of the
// peer and the advertisement.
func TestTheLastValidVersionOfASessionStaysInForce(t *testing.T) {
	type change = func(*config.Objects)
	with := func(p v1beta2.BGPPeer) change { return func(o *config.Objects) { o.Peers = []v1beta2.BGPPeer{p} } }
	fast := watchedBy("fast")
	secret := passwordIn("tor-password")
	for name, tc := range map[string]struct {
		change    change
		inForce   string
		community lb.Community
		password  lb.Secret
		detect    int
		problems  []lb.Problem
	}{
		"a new address": {
			with(peer("tor", "192.0.2.2", fast, secret)), "192.0.2.2", 64512<<16 | 100, "hunter2", 3, nil,
		},
		"nonsense for an address": {
			with(peer("tor", "nonsense", fast, secret)), "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{problem("BGPPeer tor", "spec.peerAddress", `invalid BGPPeer address "nonsense"`)},
		},
		"a profile that is not there, with a new address": {
			with(peer("tor", "192.0.2.2", watchedBy("gone"), secret)), "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{verbatim("BGPPeer tor", "spec.bfdProfile", "peer tor referencing non existing bfd profile gone")},
		},
		"the profile is deleted": {
			func(o *config.Objects) { o.BFDProfiles = nil }, "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{verbatim("BGPPeer tor", "spec.bfdProfile", "peer tor referencing non existing bfd profile fast")},
		},
		"the profile is spoilt, which is no problem of the peer's": {
			func(o *config.Objects) {
				o.BFDProfiles = []v1beta1.BFDProfile{profile("fast", v1beta1.BFDProfileSpec{DetectMultiplier: new(uint32(1))})}
			}, "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{problem("BFDProfile fast", "spec.detectMultiplier", "1 is not between 2 and 255")},
		},
		"the profile is changed while the peer is spoilt": {
			func(o *config.Objects) {
				o.BFDProfiles = []v1beta1.BFDProfile{profile("fast", v1beta1.BFDProfileSpec{DetectMultiplier: new(uint32(5))})}
				o.Peers = []v1beta2.BGPPeer{peer("tor", "nonsense", fast, secret)}
			}, "192.0.2.1", 64512<<16 | 100, "hunter2", 5,
			[]lb.Problem{problem("BGPPeer tor", "spec.peerAddress", `invalid BGPPeer address "nonsense"`)},
		},
		"a new password": {
			func(o *config.Objects) { o.Secrets[0].Password = "hunter3" }, "192.0.2.1", 64512<<16 | 100, "hunter3", 3, nil,
		},
		"the Secret is deleted": {
			func(o *config.Objects) { o.Secrets = nil }, "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{verbatim("BGPPeer tor", "spec.passwordSecret", "parsing peer tor secret ref not found for peer config \"metallb-system\"/\"tor\"\nfailed to parse peer tor password secret")},
		},
		"the alias gets another value": {
			func(o *config.Objects) { o.Communities = []v1beta1.Community{aliases("ours", "web=64512:200")} },
			"192.0.2.1", 64512<<16 | 200, "hunter2", 3, nil,
		},
		"the alias is deleted": {
			func(o *config.Objects) { o.Communities = nil }, "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{verbatim("BGPAdvertisement wan", "spec.communities[0]", "invalid community format: web\ninvalid community \"web\" in BGP advertisement")},
		},
		"the alias is spoilt, which is no problem of the advertisement's": {
			func(o *config.Objects) { o.Communities = []v1beta1.Community{aliases("ours", "web=64512")} },
			"192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{problem("Community ours", "spec.communities[0].value", "invalid community format: 64512")},
		},
		"a router that an older peer comes to have, too": {
			func(o *config.Objects) {
				o.Peers = append(o.Peers, peer("older", "192.0.2.1", peerCreated(-time.Hour)))
			}, "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{verbatim("BGPPeer older", "spec.peerAddress", "peer 192.0.2.1 already exists, FRR mode doesn't support duplicate BGPPeers selecting the same node")},
		},
		"an older object defines the alias, too": {
			func(o *config.Objects) {
				older := aliases("older", "web=1:1")
				older.CreationTimestamp.Time = monday.AddDate(0, 0, -1)
				o.Communities = append(o.Communities, older)
			}, "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{problem("Community older", "spec.communities[0].name", `duplicate definition of community "web"`)},
		},
		"the advertisement comes to be wider than the pool": {
			func(o *config.Objects) {
				o.BGPAdvertisements = []v1beta1.BGPAdvertisement{bgp("wan", v1beta1.BGPAdvertisementSpec{AggregationLength: new(int32(16))})}
			}, "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{problem("BGPAdvertisement wan", "spec.aggregationLength", "invalid aggregation length 16: prefix 24 in this pool is more specific than the aggregation length for addresses 192.0.2.0/24")},
		},
		"an older advertisement comes to contradict it": {
			func(o *config.Objects) {
				o.BGPAdvertisements = append(o.BGPAdvertisements, later(-time.Hour, bgp("zealous", v1beta1.BGPAdvertisementSpec{LocalPref: 100})))
			}, "192.0.2.1", 64512<<16 | 100, "hunter2", 3,
			[]lb.Problem{problem("BGPAdvertisement zealous", "spec.localPref", "localPref 100 contradicts localPref 0 of advertisement wan, which makes the same routes of pool blue")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var keeper config.Keeper
			keeper.Parse(bgpObjects())
			changed := bgpObjects()
			tc.change(&changed)
			for range 2 { // it stays so
				c, problems := keeper.Parse(changed)
				if diff := cmp.Diff(tc.problems, problems, byValue); diff != "" {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				if len(c.Peers) == 0 || len(c.BGPAdvertisements) == 0 {
					t.Fatalf("in force: %v", c)
				}
				p, ad := c.Peers[len(c.Peers)-1], c.BGPAdvertisements[0]
				if p.Address.String() != tc.inForce || p.Password != tc.password || p.BFD.DetectMultiplier != tc.detect {
					t.Errorf("peer in force: %+v %+v", p, p.BFD)
				}
				if diff := cmp.Diff([]lb.Community{tc.community}, ad.Attributes.Communities); diff != "" || len(ad.Pools) != 1 {
					t.Errorf("communities of the advertisement of %v in force (-want +got):\n%s", ad.Pools, diff)
				}
			}
		})
	}
}

func TestADeletedSessionIsGone(t *testing.T) {
	var keeper config.Keeper
	keeper.Parse(bgpObjects())
	if c, problems := keeper.Parse(config.Objects{}); len(c.Peers)+len(c.BGPAdvertisements)+len(problems) > 0 {
		t.Errorf("in force: %v; problems: %v", c, problems)
	}
}

// A pool that somebody adds takes no route from others. What is then done to the
// advertisement is told of as it is, and not as what stands in for it is.
func TestANewPoolThatDoesNotFitIsLeftOut(t *testing.T) {
	tooWide := func(length, prefix int, addresses string) lb.Problem {
		return problem("BGPAdvertisement wan", "spec.aggregationLength", fmt.Sprintf("invalid aggregation length %d: prefix %d in this pool is more specific than the aggregation length for addresses %s", length, prefix, addresses))
	}
	o := bgpObjects()
	o.BGPAdvertisements[0].Spec.AggregationLength = new(int32(24))
	var keeper config.Keeper
	keeper.Parse(o)
	o.Pools = append(o.Pools, pool("tiny", "198.51.100.0/30"))
	for _, moment := range []struct {
		length   int32
		problems []lb.Problem
	}{
		{24, []lb.Problem{tooWide(24, 30, "198.51.100.0/30")}},
		{24, []lb.Problem{tooWide(24, 30, "198.51.100.0/30")}},
		{16, []lb.Problem{tooWide(16, 24, "192.0.2.0/24"), tooWide(16, 30, "198.51.100.0/30")}},
	} {
		o.BGPAdvertisements = []v1beta1.BGPAdvertisement{bgp("wan", v1beta1.BGPAdvertisementSpec{AggregationLength: &moment.length})}
		c, problems := keeper.Parse(o)
		if diff := cmp.Diff(moment.problems, problems); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]lb.PoolName{"blue"}, c.BGPAdvertisements[0].Pools); diff != "" || len(c.Pools) != 2 {
			t.Errorf("pools of the advertisement (-want +got):\n%s", diff)
		}
	}
}
