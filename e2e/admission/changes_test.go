//go:build e2e

package admission

import (
	"context"
	"strings"
	"testing"

	"github.com/herald-lb/herald/e2e/herald"
)

func TestRefusals(t *testing.T) {
	ctx := begin(t)
	for name, c := range map[string]struct{ verb, object, want string }{
		"a pool that overlaps":                                 {"create", "IPAddressPool p metallb-system {addresses: [10.1.0.9/32]}", `overlaps with already defined CIDR "10.1.0.0/24" in pool "blue"`},
		"a pool that grows into another":                       {"apply", "IPAddressPool blue metallb-system {addresses: [10.1.0.0/24, 10.2.0.7-10.2.0.9]}", "overlaps with already defined CIDR"},
		"a pool that shrinks below an aggregation":             {"apply", "IPAddressPool blue metallb-system {addresses: [10.1.0.0/28]}", "invalid aggregation length 24: prefix 28 in this pool is more specific than the aggregation length for addresses 10.1.0.0/28"},
		"an aggregation that is longer than a pool":            {"create", "BGPAdvertisement a metallb-system {aggregationLength: 16}", "invalid aggregation length 16: prefix 24 in this pool is more specific than the aggregation length"},
		"advertisements that contradict each other":            {"create", "BGPAdvertisement a metallb-system {aggregationLength: 24, localPref: 200}", "localPref 200 contradicts localPref 100"},
		"a community that is none":                             {"create", "BGPAdvertisement a metallb-system {communities: ['1:2:3:4:5:6:7']}", "community"},
		"a name of a community for the second time":            {"create", "Community c metallb-system {communities: [{name: here, value: '1:2'}]}", "duplicate definition of community"},
		"a peer that is there already":                         {"create", "BGPPeer p metallb-system {myASN: 64512, peerASN: 64513, peerAddress: 192.168.10.1}", "already exists"},
		"also in the version before":                           {"create", "BGPPeer/v1beta1 p metallb-system {myASN: 64512, peerASN: 64513, peerAddress: 192.168.10.1}", "already exists"},
		"a peer that is there already, by another ASN of ours": {"create", "BGPPeer p metallb-system {myASN: 64514, peerASN: 64513, peerAddress: 192.168.10.1}", "already exists"},
		"the removal of a BFDProfile in use":                   {"delete", "BFDProfile fast metallb-system {}", "failed to delete BFDProfile fast, used by BGPPeer tor"},
		"an IPAddressPool in another namespace":                {"create", "IPAddressPool p default {addresses: [10.9.0.0/24]}", "resource must be created in metallb-system namespace"},
		"a BGPAdvertisement in another namespace":              {"create", "BGPAdvertisement a default {}", "resource must be created in metallb-system namespace"},
		"a BGPPeer in another namespace":                       {"create", "BGPPeer p default {myASN: 1, peerASN: 2, peerAddress: 192.168.10.1}", "resource must be created in metallb-system namespace"},
		"a BFDProfile in another namespace":                    {"create", "BFDProfile b default {}", "resource must be created in metallb-system namespace"},
		"a Community in another namespace":                     {"create", "Community c default {communities: []}", "resource must be created in metallb-system namespace"},
		"an L2Advertisement in another namespace":              {"create", "L2Advertisement l default {}", "resource must be created in metallb-system namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			output, err := kubectl(ctx, c.object, c.verb, "--dry-run=server")
			if err == nil || !strings.Contains(output, "validationwebhook.metallb.io\" denied the request: ") || !strings.Contains(output, c.want) {
				t.Errorf("kubectl says %q (%v), want a refusal that says %q", output, err, c.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	ctx := begin(t)
	must(t, cluster.Apply(ctx, services))
	for _, name := range []string{"one", "two"} {
		_, err := herald.AwaitAddresses(ctx, cluster, "default", name, 1)
		must(t, err)
	}
	const deprecated = "spec.disableMP is deprecated and has no effect"
	for name, c := range map[string]struct{ verb, object, want string }{
		"an L2Advertisement for no pool":          {"create", "L2Advertisement a metallb-system {ipAddressPools: [none]}", "L2Advertisement a selects no IPAddressPool that exists: it announces nothing"},
		"a BGPAdvertisement for no pool":          {"create", "BGPAdvertisement a metallb-system {ipAddressPools: [none]}", "BGPAdvertisement a selects no IPAddressPool that exists: it announces nothing"},
		"a pool that nobody announces":            {"create", "IPAddressPool yellow metallb-system {addresses: [10.3.0.0/24]}", "no advertisement selects IPAddressPool yellow: Services are given its addresses, and nobody announces them"},
		"an advertisement that drops a pool":      {"apply", "L2Advertisement both metallb-system {ipAddressPools: [blue]}", "no advertisement selects IPAddressPool green"},
		"a peer for no node":                      {"create", "BGPPeer p metallb-system {myASN: 1, peerASN: 2, peerAddress: 192.168.10.9, nodeSelectors: [{matchLabels: {rack: z}}]}", "the nodeSelectors of BGPPeer p match no node: nobody opens a session"},
		"what is deprecated":                      {"create", "BGPPeer p metallb-system {myASN: 64512, peerASN: 2, peerAddress: 192.168.10.9, disableMP: true}", deprecated},
		"the removal of the last advertisement":   {"delete", "L2Advertisement both metallb-system {}", "no advertisement selects IPAddressPool green: Services are given its addresses, and nobody announces them"},
		"the removal of a pool with two Services": {"delete", "IPAddressPool green metallb-system {addresses: []}", "this takes addresses from Services (2): default/one, default/two"},
		"a pool that shrinks by one of them":      {"apply", "IPAddressPool green metallb-system {addresses: [10.2.0.0/32]}", "this takes addresses from Services (1): default/two"},
	} {
		t.Run(name, func(t *testing.T) {
			output, err := kubectl(ctx, c.object, c.verb, "--dry-run=server")
			if err != nil || !strings.Contains(output, "Warning: "+c.want) {
				t.Errorf("kubectl says %q (%v), want the warning %q", output, err, c.want)
			}
		})
	}
}

// services draw the first two addresses of pool green.
const services = `
apiVersion: v1
kind: Service
metadata: {name: one, annotations: {metallb.io/loadBalancerIPs: 10.2.0.0}}
spec: {type: LoadBalancer, ipFamilyPolicy: SingleStack, ipFamilies: [IPv4], ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, annotations: {metallb.io/loadBalancerIPs: 10.2.0.1}}
spec: {type: LoadBalancer, ipFamilyPolicy: SingleStack, ipFamilies: [IPv4], ports: [{port: 80}]}
`

func TestWhatIsAcceptedWithoutAWord(t *testing.T) {
	ctx := begin(t)
	for name, c := range map[string]struct{ verb, object string }{
		"a pool that is waited for":                      {"create", "IPAddressPool red metallb-system {addresses: [10.4.0.0/24]}"},
		"a peer whose BFDProfile and Secret are to come": {"create", "BGPPeer p metallb-system {myASN: 64512, peerASN: 64513, peerAddress: 192.168.10.9, bfdProfile: later, passwordSecret: {name: later}}"},
		"a peer by another ASN of ours":                  {"create", "BGPPeer p metallb-system {myASN: 64514, peerASN: 64513, peerAddress: 192.168.10.9}"},
		"a community whose name is to come":              {"create", "BGPAdvertisement a metallb-system {ipAddressPools: [green], communities: [later]}"},
		"a community that has a name":                    {"create", "BGPAdvertisement a metallb-system {ipAddressPools: [green], communities: [here]}"},
		"the removal of one advertisement of two":        {"delete", "BGPAdvertisement wide metallb-system {}"},
	} {
		t.Run(name, func(t *testing.T) {
			if output, err := kubectl(ctx, c.object, c.verb, "--dry-run=server"); err != nil || strings.Contains(output, "Warning") {
				t.Errorf("kubectl says %q (%v)", output, err)
			}
		})
	}
}

// refused checks that changes are reviewed now.
func refused(ctx context.Context, t *testing.T) {
	t.Helper()
	if output, err := kubectl(ctx, overlapping, "create", "--dry-run=server"); err == nil || !strings.Contains(output, overlaps) {
		t.Errorf("kubectl says %q (%v), want a refusal", output, err)
	}
}

const (
	overlapping = "IPAddressPool overlapping metallb-system {addresses: [10.1.0.128/25]}"
	overlaps    = "overlaps with already defined CIDR"
)
