package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// columns are what `kubectl get` shows: users' scripts cut them. The number is the priority; those above 0 are shown
// with -o wide only.
const columns = `
BFDProfile v1beta1: Passive Mode boolean .spec.passiveMode 0
BFDProfile v1beta1: Transmit Interval integer .spec.transmitInterval 0
BFDProfile v1beta1: Receive Interval integer .spec.receiveInterval 0
BFDProfile v1beta1: Multiplier integer .spec.detectMultiplier 0
BGPAdvertisement v1beta1: IPAddressPools string .spec.ipAddressPools 0
BGPAdvertisement v1beta1: IPAddressPool Selectors string .spec.ipAddressPoolSelectors 0
BGPAdvertisement v1beta1: Peers string .spec.peers 0
BGPAdvertisement v1beta1: Node Selectors string .spec.nodeSelectors 10
BGPPeer v1beta1: Address string .spec.peerAddress 0
BGPPeer v1beta1: ASN string .spec.peerASN 0
BGPPeer v1beta1: BFD Profile string .spec.bfdProfile 0
BGPPeer v1beta1: Multi Hops string .spec.ebgpMultiHop 0
BGPPeer v1beta1: Established string .status.established 0
BGPPeer v1beta1: Problem string .status.problem 0
BGPPeer v1beta2: Address string .spec.peerAddress 0
BGPPeer v1beta2: ASN string .spec.peerASN 0
BGPPeer v1beta2: BFD Profile string .spec.bfdProfile 0
BGPPeer v1beta2: Multi Hops string .spec.ebgpMultiHop 0
BGPPeer v1beta2: Established string .status.established 0
BGPPeer v1beta2: Problem string .status.problem 0
BGPSessionState v1beta1: Node string .status.node 0
BGPSessionState v1beta1: BGPPeer string .status.bgpPeer 0
BGPSessionState v1beta1: Peer string .status.peer 0
BGPSessionState v1beta1: VRF string .status.vrf 0
BGPSessionState v1beta1: BGP string .status.bgpStatus 0
BGPSessionState v1beta1: BFD string .status.bfdStatus 0
BGPSessionState v1beta1: Reason string .status.reason 0
BGPSessionState v1beta1: Prefixes integer .status.prefixesAdvertised 1
BGPSessionState v1beta1: Since date .status.since 1
BGPSessionState v1beta1: Message string .status.message 1
BGPSessionState v1beta1: Age date .metadata.creationTimestamp 0
ConfigurationState v1beta1: Result string .status.result 0
ConfigurationState v1beta1: ErrorSummary string .status.errorSummary 0
ConfigurationState v1beta1: Age date .metadata.creationTimestamp 0
IPAddressPool v1beta1: Auto Assign boolean .spec.autoAssign 0
IPAddressPool v1beta1: Avoid Buggy IPs boolean .spec.avoidBuggyIPs 0
IPAddressPool v1beta1: Addresses string .spec.addresses 0
IPAddressPool v1beta1: Assigned IPv4 integer .status.assignedIPv4 0
IPAddressPool v1beta1: Available IPv4 integer .status.availableIPv4 0
IPAddressPool v1beta1: Assigned IPv6 integer .status.assignedIPv6 0
IPAddressPool v1beta1: Available IPv6 integer .status.availableIPv6 0
L2Advertisement v1beta1: IPAddressPools string .spec.ipAddressPools 0
L2Advertisement v1beta1: IPAddressPool Selectors string .spec.ipAddressPoolSelectors 0
L2Advertisement v1beta1: Interfaces string .spec.interfaces 0
L2Advertisement v1beta1: Node Selectors string .spec.nodeSelectors 10
ServiceBGPStatus v1beta1: Node string .status.node 0
ServiceBGPStatus v1beta1: Service Name string .status.serviceName 0
ServiceBGPStatus v1beta1: Service Namespace string .status.serviceNamespace 0
ServiceL2Status v1beta1: Allocated Node string .status.node 0
ServiceL2Status v1beta1: Service Name string .status.serviceName 0
ServiceL2Status v1beta1: Service Namespace string .status.serviceNamespace 0
`

func TestPrinterColumns(t *testing.T) {
	var got strings.Builder
	for _, crd := range loadCRDs(t) {
		for _, v := range crd.Spec.Versions {
			for _, c := range v.AdditionalPrinterColumns {
				fmt.Fprintf(&got, "%s %s: %s %s %s %d\n", crd.Spec.Names.Kind, v.Name, c.Name, c.Type, c.JSONPath, c.Priority)
			}
		}
	}
	if diff := cmp.Diff(strings.TrimPrefix(columns, "\n"), got.String()); diff != "" {
		t.Errorf("printer columns changed (-want +got):\n%s", diff)
	}
}

// TestNamesAndVersions checks by what names, in which versions and with what warnings the kinds are reached.
func TestNamesAndVersions(t *testing.T) {
	const want = `
bfdprofiles/bfdprofile Namespaced v1beta1(stored,status)
bgpadvertisements/bgpadvertisement Namespaced v1beta1(stored,status)
bgppeers/bgppeer Namespaced v1beta1(status,v1beta1 is deprecated, please use v1beta2) v1beta2(stored,status)
bgpsessionstates/bgpsessionstate Namespaced v1beta1(stored,status)
communities/community Namespaced v1beta1(stored,status)
configurationstates/configurationstate Namespaced v1beta1(stored,status)
ipaddresspools/ipaddresspool Namespaced v1beta1(stored,status)
l2advertisements/l2advertisement Namespaced v1beta1(stored,status)
servicebgpstatuses/servicebgpstatus Namespaced v1beta1(stored,status)
servicel2statuses/servicel2status Namespaced v1beta1(stored,status)
`
	var got strings.Builder
	for _, crd := range loadCRDs(t) {
		names := crd.Spec.Names
		fmt.Fprintf(&got, "%s/%s %s", names.Plural, names.Singular, crd.Spec.Scope)
		for _, v := range crd.Spec.Versions {
			fmt.Fprintf(&got, " %s(%s)", v.Name, strings.Join(traits(v), ","))
		}
		fmt.Fprintln(&got)
		if len(names.ShortNames)+len(names.Categories) > 0 {
			t.Errorf("%s has short names or categories, which may clash with others'", names.Kind)
		}
	}
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), got.String()); diff != "" {
		t.Errorf("names or versions changed (-want +got):\n%s", diff)
	}
}

func traits(v apiextensionsv1.CustomResourceDefinitionVersion) []string {
	var traits []string
	if !v.Served {
		traits = append(traits, "not served")
	}
	if v.Storage {
		traits = append(traits, "stored")
	}
	if v.Subresources != nil && v.Subresources.Status != nil {
		traits = append(traits, "status")
	}
	if v.Deprecated {
		traits = append(traits, *v.DeprecationWarning)
	}
	return traits
}

func TestDefaults(t *testing.T) {
	server := newAPIServer(t)
	for _, c := range []struct{ name, given, want string }{
		{
			"a pool gives its addresses to everybody",
			`{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [198.51.100.0/24]}}`,
			`{"addresses":["198.51.100.0/24"],"autoAssign":true,"avoidBuggyIPs":false}`,
		},
		{
			"what a pool says stays",
			`{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: p}, spec: {addresses: [198.51.100.0/24], autoAssign: false, avoidBuggyIPs: true}}`,
			`{"addresses":["198.51.100.0/24"],"autoAssign":false,"avoidBuggyIPs":true}`,
		},
		{
			"a BGP advertisement offers routes to single addresses",
			`{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: a}, spec: {}}`,
			`{"aggregationLength":32,"aggregationLengthV6":128}`,
		},
		{
			"a peer listens on port 179",
			`{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: p}, spec: {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1}}`,
			`{"disableMP":false,"dualStackAddressFamily":false,"myASN":1,"peerASN":2,"peerAddress":"192.0.2.1","peerPort":179}`,
		},
		{
			"an old peer has no defaults of its own",
			`{apiVersion: metallb.io/v1beta1, kind: BGPPeer, metadata: {name: p}, spec: {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1}}`,
			`{"myASN":1,"peerASN":2,"peerAddress":"192.0.2.1"}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj := parse(t, c.given)
			if errs := server.create(t.Context(), obj); len(errs) > 0 {
				t.Fatal(errs.ToAggregate())
			}
			got, err := json.Marshal(obj.Object["spec"])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("spec after defaulting (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOldPeersCarryNewFields keeps v1beta1 from falling behind: the API server drops from an object that it serves in a
// version what that version does not know, and who then writes the object back takes it away.
func TestOldPeersCarryNewFields(t *testing.T) {
	fields := map[string]map[string][]string{}
	for _, crd := range loadCRDs(t) {
		for _, v := range crd.Spec.Versions {
			if crd.Spec.Names.Kind == "BGPPeer" {
				parts := v.Schema.OpenAPIV3Schema.Properties
				fields[v.Name] = map[string][]string{"spec": sortedKeys(parts["spec"].Properties), "status": sortedKeys(parts["status"].Properties)}
			}
		}
	}
	if diff := cmp.Diff(fields["v1beta2"], fields["v1beta1"]); diff != "" {
		t.Errorf("fields of BGPPeer differ (-v1beta2 +v1beta1):\n%s", diff)
	}
}

// TestEveryFieldIsExplained looks for fields that `kubectl explain` would have nothing to say about.
func TestEveryFieldIsExplained(t *testing.T) {
	for _, crd := range loadCRDs(t) {
		for _, v := range crd.Spec.Versions {
			for _, part := range []string{"spec", "status"} {
				if schema, ok := v.Schema.OpenAPIV3Schema.Properties[part]; ok {
					checkExplained(t, crd.Spec.Names.Kind+"."+v.Name+"."+part, schema)
				}
			}
		}
	}
}

func checkExplained(t *testing.T, path string, schema apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	if schema.Description == "" {
		t.Errorf("%s has no description", path)
	}
	if schema.Items != nil {
		schema = *schema.Items.Schema
	}
	for _, name := range sortedKeys(schema.Properties) {
		checkExplained(t, path+"."+name, schema.Properties[name])
	}
}

func sortedKeys(properties map[string]apiextensionsv1.JSONSchemaProps) []string {
	var names []string
	for name := range properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
