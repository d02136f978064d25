package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// world is a configuration in memory, of objects as users write them.
type world struct {
	objects config.Objects
	err     error
	losers  []lb.ServiceKey
}

func (w world) Objects(context.Context) (config.Objects, error)            { return w.objects, w.err }
func (w world) Losing(context.Context, lb.Config) (losers []lb.ServiceKey) { return w.losers }

// holding adds objects to the world.
func (w world) holding(t *testing.T, manifests ...string) world {
	t.Helper()
	for _, m := range manifests {
		k, obj := parse(t, m)
		decoded, err := k.decode(obj)
		if err != nil {
			t.Fatal(err)
		}
		w.objects = k.replace(w.objects, decoded.GetName(), decoded)
	}
	return w
}

// parse reads a manifest in one line, such as "BGPPeer p: {myASN: 1}".
func parse(t *testing.T, manifest string) (kind, []byte) {
	t.Helper()
	head, spec, _ := strings.Cut(manifest, ": ")
	kindName, name, _ := strings.Cut(head, " ")
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == kindName })
	if i < 0 {
		t.Fatalf("unknown kind in %q", manifest)
	}
	text := "metadata: {namespace: metallb-system, name: " + name + "}\nspec: " + spec
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("read %q: %s", manifest, err)
	}
	return kinds[i], raw
}

// ask has a change reviewed: "create", "update" or "delete" and a manifest.
func (w world) ask(t *testing.T, namespace, change string) admission.Response {
	t.Helper()
	operation, manifest, _ := strings.Cut(change, " ")
	k, raw := parse(t, manifest)
	_, name, _ := strings.Cut(strings.SplitN(manifest, ": ", 2)[0], " ")
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Namespace: namespace, Name: name, Operation: admissionv1.Operation(strings.ToUpper(operation)),
	}}
	if req.Operation != admissionv1.Delete {
		req.Object = runtime.RawExtension{Raw: raw}
	}
	return reviewer{logger: log.NewNopLogger(), namespace: "metallb-system", kind: k, world: w}.Handle(t.Context(), req)
}

const (
	blue   = "IPAddressPool blue: {addresses: [192.0.2.0/24]}"
	allL2  = "L2Advertisement all: {}"
	allBGP = "BGPAdvertisement all: {}"
	peer   = "BGPPeer tor: {myASN: 64512, peerASN: 64513, peerAddress: 198.51.100.1}"
)

func TestChanges(t *testing.T) {
	for name, tc := range map[string]struct {
		world  []string
		change string
		// denied is a part of the denial, or empty where the change is accepted.
		denied string
		warned []string
	}{
		"a first pool, before anything announces it": {
			nil, "create " + blue, "",
			[]string{"no advertisement selects IPAddressPool blue: Services are given its addresses, and nobody announces them"},
		},
		"a pool that an advertisement of all pools selects":  {[]string{allL2}, "create " + blue, "", nil},
		"a pool that an advertisement over BGP selects":      {[]string{allBGP}, "create " + blue, "", nil},
		"a pool that overlaps with another":                  {[]string{blue, allL2}, "create IPAddressPool green: {addresses: [192.0.2.128/25]}", `CIDR "192.0.2.128/25" in pool "green" overlaps with already defined CIDR "192.0.2.0/24" in pool "blue"`, nil},
		"a pool that comes to overlap with a younger one":    {[]string{blue, "IPAddressPool green: {addresses: [203.0.113.0/24]}", allL2}, "update IPAddressPool blue: {addresses: [192.0.2.0/24, 203.0.113.1/32]}", "IPAddressPool metallb-system/blue: spec.addresses[1]: CIDR", nil},
		"a pool that cannot be read":                         {[]string{allL2}, "create IPAddressPool blue: {addresses: [nonsense]}", `invalid CIDR "nonsense"`, nil},
		"a pool that was invalid before and is so still":     {[]string{"IPAddressPool bad: {addresses: [nonsense]}", allL2}, "update IPAddressPool bad: {addresses: [nonsense], autoAssign: false}", "", nil},
		"a pool that was invalid before and becomes so anew": {[]string{"IPAddressPool bad: {addresses: [nonsense]}", allL2}, "update IPAddressPool bad: {addresses: [drivel]}", `invalid CIDR "drivel"`, nil},
		"a problem that moves within its object":             {[]string{"IPAddressPool bad: {addresses: [nonsense]}", allL2}, "update IPAddressPool bad: {addresses: [192.0.2.0/24, nonsense]}", "", nil},
		"a pool beside one with a problem":                   {[]string{"IPAddressPool bad: {addresses: [nonsense]}", allL2}, "create " + blue, "", nil},
		"what mends one":                                     {[]string{"IPAddressPool bad: {addresses: [nonsense]}", allL2}, "update IPAddressPool bad: {addresses: [192.0.2.0/24]}", "", nil},
		"the removal of a pool":                              {[]string{blue, allL2}, "delete " + blue, "", nil},
		"an advertisement of a longer prefix than the pool":  {[]string{blue}, "create BGPAdvertisement wide: {aggregationLength: 16}", "invalid aggregation length 16: prefix 24 in this pool is more specific than the aggregation length for addresses 192.0.2.0/24", nil},
		"a pool that shrinks below an aggregation":           {[]string{blue, "BGPAdvertisement wide: {aggregationLength: 24}"}, "update IPAddressPool blue: {addresses: [192.0.2.0/28]}", "invalid aggregation length 24: prefix 28", nil},
		"two advertisements that differ in local preference": {[]string{blue, "BGPAdvertisement a: {localPref: 100}"}, "create BGPAdvertisement b: {localPref: 200}", "localPref 200 contradicts localPref 100", nil},
		"an advertisement with an alias that does not exist": {[]string{blue}, "create BGPAdvertisement a: {communities: [later]}", "", nil},
		"the removal of an alias in use":                     {[]string{blue, "BGPAdvertisement a: {communities: [x]}", `Community c: {communities: [{name: x, value: "1:2"}]}`}, "update Community c: {communities: []}", "", nil},
		"a community that is none":                           {[]string{blue}, `create BGPAdvertisement a: {communities: ["1:70000"]}`, "invalid community value", nil},
		"an alias that another Community has":                {[]string{`Community a: {communities: [{name: x, value: "1:2"}]}`}, `create Community b: {communities: [{name: x, value: "1:3"}]}`, `duplicate definition of community "x"`, nil},
		"a large community without its marker":               {nil, `create Community b: {communities: [{name: x, value: "small:1:2:3"}]}`, "expected community to be of format large", nil},
		"an advertisement over BGP that selects no pool":     {[]string{blue, allL2}, "create BGPAdvertisement a: {ipAddressPools: [green]}", "", []string{"BGPAdvertisement a selects no IPAddressPool that exists: it announces nothing"}},
		"an advertisement over layer 2 that selects no pool": {[]string{blue, allBGP}, "create L2Advertisement a: {ipAddressPools: [green]}", "", []string{"L2Advertisement a selects no IPAddressPool that exists: it announces nothing"}},
		"an advertisement that leaves a pool to nobody":      {[]string{blue, "IPAddressPool green: {addresses: [203.0.113.0/24]}", allL2}, "update L2Advertisement all: {ipAddressPools: [blue]}", "", []string{"no advertisement selects IPAddressPool green: Services are given its addresses, and nobody announces them"}},
		"the removal of the last advertisement over layer 2": {[]string{blue, allL2}, "delete " + allL2, "", []string{"no advertisement selects IPAddressPool blue: Services are given its addresses, and nobody announces them"}},
		"the removal of the last advertisement over BGP":     {[]string{blue, allBGP}, "delete " + allBGP, "", []string{"no advertisement selects IPAddressPool blue: Services are given its addresses, and nobody announces them"}},
		"the removal of one advertisement of two":            {[]string{blue, allL2, allBGP}, "delete " + allL2, "", nil},
		"the removal of an advertisement of no pool":         {[]string{blue, "L2Advertisement a: {ipAddressPools: [green]}"}, "delete L2Advertisement a: {}", "", nil},
		"the removal of what another one contradicts":        {[]string{blue, "BGPAdvertisement a: {localPref: 100}", "BGPAdvertisement b: {localPref: 100}", "BGPAdvertisement c: {localPref: 200}"}, "delete BGPAdvertisement a: {}", "", nil},
		"the removal of what another pool overlaps with":     {[]string{"IPAddressPool a: {addresses: [192.0.2.0/25]}", "IPAddressPool b: {addresses: [192.0.2.128/25]}", "IPAddressPool c: {addresses: [192.0.2.0/24]}", allL2}, "delete IPAddressPool a: {}", "", nil},
		"a peer":                       {nil, "create " + peer, "", nil},
		"a peer without an address":    {nil, "create BGPPeer tor: {myASN: 1, peerASN: 2, peerAddress: nonsense}", "invalid BGPPeer address", nil},
		"a peer that is there already": {[]string{peer}, "create BGPPeer again: {myASN: 64512, peerASN: 64513, peerAddress: 198.51.100.1}", "already exists", nil},
		"a peer whose BFDProfile and Secret are yet to come": {nil, "create BGPPeer tor: {myASN: 1, peerASN: 2, peerAddress: 198.51.100.1, bfdProfile: later, passwordSecret: {name: later}}", "", nil},
		"a peer for no node":                             {nil, "create BGPPeer tor: {myASN: 1, peerASN: 2, peerAddress: 198.51.100.1, nodeSelectors: [{matchLabels: {rack: z}}]}", "", []string{"the nodeSelectors of BGPPeer tor match no node: nobody opens a session"}},
		"a peer with what is deprecated":                 {nil, "create BGPPeer tor: {myASN: 1, peerASN: 2, peerAddress: 198.51.100.1, disableMP: true}", "", []string{"spec.disableMP is deprecated and has no effect: a session carries the family that it runs over, and both with spec.dualStackAddressFamily"}},
		"what is deprecated does not hide what is wrong": {[]string{peer}, "create BGPPeer again: {myASN: 64512, peerASN: 64513, peerAddress: 198.51.100.1, disableMP: true}", "already exists", nil},
		"a BFDProfile out of range":                      {nil, "create BFDProfile fast: {receiveInterval: 5}", "5 is not between 10 and 60000", nil},
		"the removal of a BFDProfile in use":             {[]string{"BFDProfile fast: {}", "BGPPeer tor: {myASN: 1, peerASN: 2, peerAddress: 198.51.100.1, bfdProfile: fast}"}, "delete BFDProfile fast: {}", "failed to delete BFDProfile fast, used by BGPPeer tor", nil},
		"the removal of another one":                     {[]string{"BFDProfile slow: {}", "BGPPeer tor: {myASN: 1, peerASN: 2, peerAddress: 198.51.100.1, bfdProfile: fast}"}, "delete BFDProfile slow: {}", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := world{}.holding(t, tc.world...)
			w.objects.Nodes = []lb.Node{{Name: "node1", Labels: map[string]string{"rack": "a"}}}
			r := w.ask(t, "metallb-system", tc.change)
			if r.Allowed != (tc.denied == "") || !strings.Contains(r.Result.Message, tc.denied) {
				t.Errorf("allowed: %t, %q, want a denial that says %q", r.Allowed, r.Result.Message, tc.denied)
			}
			if diff := cmp.Diff(tc.warned, r.Warnings, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObjectsAreCreatedWhereTheyAreReadAlone(t *testing.T) {
	for change, denied := range map[string]string{
		"create " + blue: "resource must be created in metallb-system namespace",
		"update " + blue: "", // its user could not remove a finalizer else
		"delete " + blue: "",
	} {
		r := world{err: errors.New("not to be asked")}.ask(t, "default", change)
		if r.Allowed != (denied == "") || r.Result.Message != denied {
			t.Errorf("%s: allowed: %t, %q, want %q", change, r.Allowed, r.Result.Message, denied)
		}
	}
}

func TestServicesThatLoseAddressesAreNamed(t *testing.T) {
	losers := []lb.ServiceKey{{Namespace: "a", Name: "1"}, {Namespace: "a", Name: "2"}, {Namespace: "b", Name: "1"}, {Namespace: "b", Name: "2"}}
	for name, tc := range map[string]struct {
		losers []lb.ServiceKey
		change string
		want   []string
	}{
		"one":                 {losers[:1], "delete " + blue, []string{"this takes addresses from Services (1): a/1"}},
		"three":               {losers[:3], "update IPAddressPool blue: {addresses: [192.0.2.9/32]}", []string{"this takes addresses from Services (3): a/1, a/2, b/1"}},
		"and not all of many": {losers, "delete " + blue, []string{"this takes addresses from Services (4): a/1, a/2, b/1, …"}},
		"nobody is asked about where the pools stay": {losers, "update L2Advertisement all: {interfaces: [eth0]}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := world{losers: tc.losers}.holding(t, blue, allL2)
			if diff := cmp.Diff(tc.want, w.ask(t, "metallb-system", tc.change).Warnings, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatCannotBeCheckedIsAccepted(t *testing.T) {
	r := world{err: errors.New("connection refused")}.ask(t, "metallb-system", "create "+blue)
	if !r.Allowed || len(r.Warnings) != 1 {
		t.Errorf("allowed: %t, warnings %q, want it accepted with a warning", r.Allowed, r.Warnings)
	}
	k, _ := parse(t, blue)
	r = reviewer{logger: log.NewNopLogger(), namespace: "metallb-system", kind: k, world: world{}}.Handle(t.Context(), admission.Request{
		AdmissionRequest: admissionv1.AdmissionRequest{Namespace: "metallb-system", Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte("{")}},
	})
	if !r.Allowed || len(r.Warnings) != 1 {
		t.Errorf("what is no object: allowed: %t, warnings %q", r.Allowed, r.Warnings)
	}
}

func TestAReviewChangesNothing(t *testing.T) {
	w := world{}.holding(t, blue, allL2, peer, "BGPAdvertisement a: {communities: [later]}")
	before, err := json.Marshal(w.objects)
	if err != nil {
		t.Fatal(err)
	}
	w.ask(t, "metallb-system", "update IPAddressPool blue: {addresses: [192.0.2.0/28]}")
	w.ask(t, "metallb-system", "delete "+blue)
	after, err := json.Marshal(w.objects)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("the configuration that was read (-before +after):\n%s", diff)
	}
}

func TestPathsAreThoseOfExistingWebhookConfigurations(t *testing.T) {
	var got []string
	for _, k := range kinds {
		got = append(got, k.path())
	}
	want := []string{
		"/validate-metallb-io-v1beta1-ipaddresspool", "/validate-metallb-io-v1beta1-l2advertisement", "/validate-metallb-io-v1beta1-bgpadvertisement",
		"/validate-metallb-io-v1beta2-bgppeer", "/validate-metallb-io-v1beta1-bfdprofile", "/validate-metallb-io-v1beta1-community",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}
