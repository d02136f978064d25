//go:build e2e

package layer2

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

const (
	assigned  = "metallb.io/AddressAssigned"
	announced = "metallb.io/Announced"
)

// Each step is what a user does, and what the Service then says of itself.
func TestAServiceSaysWhetherItIsAnnounced(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "told", dualStack)
	setStatus(ctx, t, "told", `{"status":{"conditions":[{"type":"example.com/Theirs","status":"True","reason":"Test","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`)
	awaitCondition(ctx, t, "told", assigned, `True IPAllocated from pool "lan"`)

	t.Log("nothing announces the pool")
	awaitCondition(ctx, t, "told", announced, `False NoMatchingAdvertisement neither an L2Advertisement nor a BGPAdvertisement selects pool "lan"`)
	awaitDescription(ctx, t, "told", "noMatchingAdvertisement", `not announced: neither an L2Advertisement nor a BGPAdvertisement selects pool "lan"`)

	t.Log("something does")
	advertise(ctx, t, "told")
	waitFor(ctx, t, "told", announced)
	owner := first(addresses[0], all()...)
	awaitCondition(ctx, t, "told", announced, "True Announced layer 2: "+string(owner))
	awaitDescription(ctx, t, "told", "nodeAssigned", fmt.Sprintf("announcing from node %q", owner))
	since := conditionOf(ctx, t, "told", announced).LastTransitionTime

	t.Log("another node takes over")
	exclude(ctx, t, owner)
	awaitCondition(ctx, t, "told", announced, "True Announced layer 2: "+string(first(addresses[0], others(owner)...)))
	if now := conditionOf(ctx, t, "told", announced).LastTransitionTime; !now.Equal(&since) {
		t.Errorf("announced since %s, and since %s before", now, since)
	}

	t.Log("no node is left")
	exclude(ctx, t, others(owner)...)
	awaitCondition(ctx, t, "told", announced, fmt.Sprintf("False NodeLabeledExcludeBalancers %s: excluded by the label node.kubernetes.io/exclude-from-external-load-balancers", joined(all())))
	awaitDescription(ctx, t, "told", "nodeLabeledExcludeBalancers", "excluded by the label")
	include(ctx, t, all()...)
	waitFor(ctx, t, "told", announced)

	t.Log("it is no load balancer any more")
	kubectl(ctx, t, "patch", "service", "told", "--patch", `{"spec":{"type":"ClusterIP"}}`)
	await(ctx, t, "its conditions to go, and those of others to stay", func(ctx context.Context) error {
		svc, err := cluster.Client().CoreV1().Services("default").Get(ctx, "told", metav1.GetOptions{})
		if err == nil && (len(svc.Status.Conditions) != 1 || svc.Status.Conditions[0].Type != "example.com/Theirs") {
			err = fmt.Errorf("they are %v", svc.Status.Conditions)
		}
		return err
	})
}

func TestAServiceSaysThatItHasNoEndpoints(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	service(ctx, t, "unserved", local, byHand)
	here := all()[0]
	advertise(ctx, t, "unserved", "nodeSelectors: "+nodes(here))
	awaitCondition(ctx, t, "unserved", announced, "False NoEndpoints no endpoint can serve")
	setEndpoints(ctx, t, "unserved", ready(all()[1]))
	kubectl(ctx, t, "label", "service", "unserved", "looked-at=again")
	awaitCondition(ctx, t, "unserved", announced, fmt.Sprintf("False NoLocalEndpoints traffic must stay local, and no endpoint on %s can serve", here))
	awaitDescription(ctx, t, "unserved", "noLocalEndpoints", "no endpoint on "+string(here)+" can serve")
	setEndpoints(ctx, t, "unserved", ready(here))
	waitFor(ctx, t, "unserved", announced)
}

func TestAServiceSaysThatNoLinkIsUsable(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	addresses := service(ctx, t, "unlinked")
	advertise(ctx, t, "unlinked", "interfaces: [eth9]")
	owner := first(addresses[0], all()...)
	awaitCondition(ctx, t, "unlinked", announced, fmt.Sprintf(
		"False AnnounceFailed node %q is to announce it and does not: none of the permitted links eth9 is usable, or its speaker is not at work", owner))
	awaitDescription(ctx, t, "unlinked", "announceFailed", "eth9 does not exist")
}

func TestAServiceSaysThatThereIsNoAddress(t *testing.T) {
	t.Parallel()
	ctx := begin(t)
	must(t, cluster.Apply(ctx, `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: tiny, namespace: metallb-system}
spec: {addresses: [192.168.10.250/32], autoAssign: false}
`))
	t.Cleanup(func() {
		kubectl(context.Background(), t, "delete", "ipaddresspool", "tiny", "--namespace", herald.Namespace)
	})
	tiny := annotated("metallb.io/address-pool", "tiny")
	service(ctx, t, "served", tiny)
	create(ctx, t, "starved", tiny)
	awaitCondition(ctx, t, "starved", assigned, `False AllocationFailed Failed to allocate IP for "default/starved": no available IPs in pool "tiny" for IPv4`)
	awaitCondition(ctx, t, "starved", announced, "False NoIPAllocated the Service holds no address")
	awaitDescription(ctx, t, "starved", "AllocationFailed", `no available IPs in pool "tiny"`)
	removeService(t, "served")
	waitFor(ctx, t, "starved", assigned)
}

// conditionOf is a condition of a Service, or nothing.
func conditionOf(ctx context.Context, t *testing.T, service, kind string) metav1.Condition {
	t.Helper()
	svc, err := cluster.Client().CoreV1().Services("default").Get(ctx, service, metav1.GetOptions{})
	must(t, err)
	if c := meta.FindStatusCondition(svc.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// awaitCondition waits until a condition of a Service says "status reason message".
func awaitCondition(ctx context.Context, t *testing.T, service, kind, want string) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("%s of %s to say %q", kind, service, want), func(ctx context.Context) error {
		c := conditionOf(ctx, t, service, kind)
		if got := fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message); got != want {
			return fmt.Errorf("it says %q", got)
		}
		return nil
	})
}

// waitFor waits as users do.
func waitFor(ctx context.Context, t *testing.T, service, kind string) {
	t.Helper()
	kubectl(ctx, t, "wait", "--for=condition="+kind, "--timeout=1m", "service/"+service)
}

// awaitDescription waits until kubectl describe shows all of these words of a Service.
func awaitDescription(ctx context.Context, t *testing.T, service string, words ...string) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("a description of %s with %q", service, words), func(ctx context.Context) error {
		output, err := cluster.Kubectl(ctx, "describe", "service", service).CombinedOutput()
		for _, w := range words {
			if err == nil && !strings.Contains(string(output), w) {
				err = fmt.Errorf("it is\n%s", output)
			}
		}
		return err
	})
}

const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers"

func exclude(ctx context.Context, t *testing.T, names ...lab.Host) {
	t.Helper()
	for _, n := range names {
		t.Cleanup(func() { include(context.Background(), t, n) })
		kubectl(ctx, t, "label", "node", string(n), excludeLabel+"=")
	}
}

func include(ctx context.Context, t *testing.T, names ...lab.Host) {
	t.Helper()
	for _, n := range names {
		kubectl(ctx, t, "label", "node", string(n), excludeLabel+"-")
	}
}

func setStatus(ctx context.Context, t *testing.T, service, patch string) {
	t.Helper()
	_, err := cluster.Client().CoreV1().Services("default").Patch(ctx, service, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	must(t, err)
}
