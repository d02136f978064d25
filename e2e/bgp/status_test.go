//go:build e2e

package bgp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// Each row is a BGPPeer that does not work, and what `kubectl get bgppeers` says of it.
func TestPeersTellWhyTheyAreDown(t *testing.T) {
	wrong := open(stranger(10))
	wrong.ASN = 64999
	for i, row := range []struct {
		name        string
		script      router.Script // nil: nobody listens
		spec        []string
		established string
		words       []string // of the column Problem
		reason      string   // of the condition Established
	}{
		{name: "the ASN is another", script: router.WellBehaved(wrong), established: "0/1", words: []string{"node1: ", "64999", "64513"}, reason: "WrongASN"},
		{name: "nobody listens", established: "0/1", words: []string{"node1: ", "connection refused"}, reason: "ConnectionRefused"},
		{name: "a Secret is missing", spec: []string{"passwordSecret: {name: none}"}, established: "0/1", words: []string{"secret ref not found"}, reason: "ConfigurationError"},
		{name: "a profile is missing", spec: []string{"bfdProfile: none"}, established: "0/1", words: []string{"non existing bfd profile none"}, reason: "ConfigurationError"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx := begin(t)
			name, address := fmt.Sprintf("told-%d", i), stranger(10+i)
			if row.script != nil {
				listen(ctx, t, lab.Client, address, row.script)
			}
			create(ctx, t, peer(name, address, slices.Concat(external, row.spec, []string{on("node1")})...))
			awaitColumns(ctx, t, name, row.established, row.words...)
			kubectl(ctx, t, "wait", "--for=condition=Established=False", "bgppeer/"+name)
			kubectl(ctx, t, "wait", `--for=jsonpath={.status.conditions[?(@.type=="Established")].reason}=`+row.reason, "bgppeer/"+name)
		})
	}
}

// awaitColumns waits until kubectl shows what it should in the last two columns of a BGPPeer.
func awaitColumns(ctx context.Context, t *testing.T, peer, established string, problem ...string) {
	t.Helper()
	await(ctx, t, "what kubectl shows of BGPPeer "+peer, func(ctx context.Context) error {
		shown, err := cluster.Kubectl(ctx, "get", "bgppeer", peer, "--namespace", herald.Namespace).CombinedOutput()
		heading, line, _ := strings.Cut(string(shown), "\n")
		at, end := strings.Index(heading, "ESTABLISHED"), strings.Index(heading, "PROBLEM")
		if err != nil {
			return fmt.Errorf("%w: %s", err, shown)
		}
		if at < 0 || len(line) < end {
			return fmt.Errorf("it is\n%s", shown)
		}
		words := strings.TrimSpace(line[end:])
		missing := func(w string) bool { return !strings.Contains(words, w) }
		if strings.TrimSpace(line[at:end]) != established || slices.ContainsFunc(problem, missing) || (len(problem) == 0) != (words == "") {
			return fmt.Errorf("it is\n%s", shown)
		}
		return nil
	})
}

// kubectl runs a command in Herald's namespace.
func kubectl(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	said, err := cluster.Kubectl(ctx, append([]string{"--namespace", herald.Namespace}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, said)
	}
	return string(said)
}

// One BGPPeer through the troubles of its life. That a node is cut off Kubernetes notices after some 50 s.
func TestPeerTellsHowItGoes(t *testing.T) {
	ctx := beginFor(t, 3*time.Minute)
	configure(ctx, t, bird, withPassword("secret")...)
	create(ctx, t, peer("tale", lab.AddressesOf(lab.Router2).V4, append(slices.Clone(external), "password: secret")...))
	kubectl(ctx, t, "wait", "--for=condition=Established", "--timeout=30s", "bgppeer/tale")
	kubectl(ctx, t, "wait", "--for=condition=Valid", "bgppeers.v1beta1.metallb.io/tale")
	awaitColumns(ctx, t, "tale", "3/3")

	t.Run("the router has another password for one node", func(t *testing.T) {
		neighbours := withPassword("secret")
		neighbours[1].Password = "other"
		configure(ctx, t, bird, neighbours...)
		awaitColumns(ctx, t, "tale", "2/3", "node2: ", "another password")
		configure(ctx, t, bird, withPassword("secret")...)
		awaitColumns(ctx, t, "tale", "3/3")
	})
	t.Run("a node is cut off", func(t *testing.T) {
		t.Cleanup(func() { must(t, cluster.CableIn(context.Background(), "node3")) })
		must(t, cluster.CableOut(ctx, "node3"))
		awaitColumns(ctx, t, "tale", "2/3", "node3: the node is not ready") // the speaker there cannot say that it is down
		must(t, cluster.CableIn(ctx, "node3"))
		awaitColumns(ctx, t, "tale", "3/3")
	})
	t.Run("the peer is for other nodes", func(t *testing.T) {
		change(ctx, t, "BGPPeer", "tale", "spec: {nodeSelectors: [{matchLabels: {no: such}}]}")
		awaitColumns(ctx, t, "tale", "0/0", "no node")
		change(ctx, t, "BGPPeer", "tale", "spec: {nodeSelectors: [{matchLabels: {kubernetes.io/hostname: node1}}]}")
		awaitColumns(ctx, t, "tale", "1/1")
	})
	t.Run("somebody takes the status away", func(t *testing.T) {
		_, err := of(herald1("BGPPeer")).Patch(ctx, "tale", types.MergePatchType, []byte(`{"status": null}`), metav1.PatchOptions{}, "status")
		must(t, err)
		awaitColumns(ctx, t, "tale", "1/1")
	})
}

func withPassword(password string) []router.Neighbour {
	return router.Nodes(cluster, router.Neighbour{ASN: nodesASN, Password: password})
}

// A session that flaps is not written about each time that it does.
func TestPeerThatFlapsIsWrittenSeldom(t *testing.T) {
	ctx := begin(t)
	listen(ctx, t, lab.Client, stranger(0), router.Notifying(open(stranger(0)), router.Notification{Code: router.Cease, Subcode: router.PeerReset}))
	create(ctx, t, peer("flaps", stranger(0), append(slices.Clone(external), "connectTime: 1s", on("node1"))...))
	awaitColumns(ctx, t, "flaps", "0/1", "node1: ")
	began, last := time.Now(), version(ctx, t, "flaps")
	writes := 0
	for time.Since(began) < 5*time.Second {
		if now := version(ctx, t, "flaps"); now != last {
			last = now
			writes++
		}
		time.Sleep(20 * time.Millisecond)
	}
	if writes > 7 {
		t.Errorf("%d writes in %v", writes, time.Since(began))
	}
}

func version(ctx context.Context, t *testing.T, peer string) string {
	t.Helper()
	object, err := of(herald1("BGPPeer")).Get(ctx, peer, metav1.GetOptions{})
	must(t, err)
	return object.GetResourceVersion()
}

// What is wrong with an object of another kind stands in its status, too.
func TestObjectsTellWhatIsWrong(t *testing.T) {
	ctx := begin(t)
	create(ctx, t, advertisement("aliased", "communities: [later]"))
	await(ctx, t, "the problem of the BGPAdvertisement", func(ctx context.Context) error {
		said, err := cluster.Kubectl(ctx, "get", "bgpadvertisement", "aliased", "--namespace", herald.Namespace, "--output",
			`jsonpath={.status.conditions[?(@.type=="Valid")].message}`).CombinedOutput()
		if err == nil && !strings.Contains(string(said), `invalid community "later"`) {
			err = errors.New("it is " + string(said))
		}
		return err
	})
	create(ctx, t, "apiVersion: metallb.io/v1beta1\nkind: Community\nmetadata: {name: later}\nspec: {communities: [{name: later, value: '64512:1'}]}\n")
	kubectl(ctx, t, "wait", "--for=condition=Valid", "--timeout=30s", "bgpadvertisement/aliased", "community/later", "ipaddresspool/routed")
	if said := kubectl(ctx, t, "get", "ipaddresspool", "routed", "--output", "jsonpath={.status.availableIPv4}"); said == "" || said == "0" {
		t.Errorf("the pool has %q free addresses", said)
	}
}
