//go:build e2e

package bgp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/router"
)

// What a Service says of how it is announced, as its routers come and go.
func TestAServiceSaysToWhomItIsAnnounced(t *testing.T) {
	ctx := begin(t)
	create(ctx, t, advertisement("told"))
	service(ctx, t, "told")
	awaitCondition(ctx, t, "False NoMatchingPeer no BGPPeer that is meant has a session on node1, node2, node3 for the address's family")

	t.Log("there is a router")
	everyNode(ctx, t, frr, "tor")
	awaitCondition(ctx, t, "True Announced BGP: node1, node2, node3 to tor")

	t.Log("it goes")
	must(t, frr.Kill())
	t.Cleanup(func() {
		must(t, errors.Join(frr.Kill(), frr.Start(context.Background(), router.Config{ASN: routerASN})))
	})
	awaitCondition(ctx, t, "False SessionsDown BGP: node1, node2, node3 to tor, and no session is established: ",
		"node1 with tor (", "node2 with tor (", "node3 with tor (")
	description, err := cluster.Kubectl(ctx, "describe", "service", "told").CombinedOutput()
	must(t, err)
	if !strings.Contains(string(description), "sessionsDown") {
		t.Errorf("kubectl describe service told has no word of the session:\n%s", description)
	}

	t.Log("it is back")
	must(t, frr.Start(ctx, router.Config{ASN: routerASN, Neighbours: router.Nodes(cluster, router.Neighbour{ASN: nodesASN, DualStack: true})}))
	awaitCondition(ctx, t, "True Announced BGP: node1, node2, node3 to tor")
}

// awaitCondition waits until the Service told says that it is announced, or why not, in these words: "status reason message",
// as it begins, and more.
func awaitCondition(ctx context.Context, t *testing.T, begins string, more ...string) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("the Service to say %q", begins), func(ctx context.Context) error {
		svc, err := cluster.Client().CoreV1().Services("default").Get(ctx, "told", metav1.GetOptions{})
		if err != nil {
			return err
		}
		got := ""
		if c := meta.FindStatusCondition(svc.Status.Conditions, "metallb.io/Announced"); c != nil {
			got = fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message)
		}
		err = want("beginning", got[:min(len(got), len(begins))], begins)
		for _, m := range more {
			if !strings.Contains(got, m) {
				err = fmt.Errorf("it says %q", got)
			}
		}
		return err
	})
}
