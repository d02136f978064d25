//go:build e2e

package layer2

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/lab"
)

func TestNodesThatAreNoCandidates(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "candidates", dualStack)
	advertise(ctx, t, "candidates")
	owner := first(addresses[0], all()...)
	awaitOwner(ctx, t, addresses, owner)

	t.Run("one with the label that excludes it from load balancers", func(t *testing.T) {
		const label = "node.kubernetes.io/exclude-from-external-load-balancers"
		t.Cleanup(func() { kubectl(context.Background(), t, "label", "node", string(owner), label+"-") })
		kubectl(ctx, t, "label", "node", string(owner), label+"=")
		awaitOwner(ctx, t, addresses, first(addresses[0], others(owner)...))
		kubectl(ctx, t, "label", "node", string(owner), label+"-")
		awaitOwner(ctx, t, addresses, owner)
	})

	t.Run("one whose network is unavailable", func(t *testing.T) {
		t.Cleanup(func() { setNetworkUnavailable(context.Background(), t, owner, "False") })
		setNetworkUnavailable(ctx, t, owner, "True")
		awaitOwner(ctx, t, addresses, first(addresses[0], others(owner)...))
		setNetworkUnavailable(ctx, t, owner, "False")
		awaitOwner(ctx, t, addresses, owner)
	})

	t.Run("but not one that takes no pods", func(t *testing.T) {
		t.Cleanup(func() { kubectl(context.Background(), t, "uncordon", string(owner)) })
		kubectl(ctx, t, "cordon", string(owner))
		awaitOwner(ctx, t, addresses, owner)
	})
}

func setNetworkUnavailable(ctx context.Context, t *testing.T, node lab.Host, status string) {
	t.Helper()
	patch := `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"` + status + `","reason":"Test","message":"set by a test"}]}}`
	_, err := cluster.Client().CoreV1().Nodes().Patch(ctx, string(node), types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	must(t, err)
}

// What keeps an address from working on a node is told of on the Service.
func TestMisconfiguredNodes(t *testing.T) {
	ctx := begin(t)
	addresses := service(ctx, t, "hindered")
	advertise(ctx, t, "hindered")
	owner := first(addresses[0], all()...)
	awaitOwner(ctx, t, addresses, owner)

	t.Run("the owner does not forward", func(t *testing.T) {
		t.Cleanup(func() { onNode(context.Background(), t, owner, "sysctl -qw net.ipv4.conf.eth0.forwarding=1") })
		onNode(ctx, t, owner, "sysctl -qw net.ipv4.conf.eth0.forwarding=0")
		awaitEvent(ctx, t, "hindered", "nodeMisconfigured", "net.ipv4.conf.eth0.forwarding is 0: what arrives for "+addresses[0].String()+" is not forwarded to pods")
	})

	t.Run("the kernel of another node answers, as kube-proxy in IPVS mode has it do without strictARP", func(t *testing.T) {
		other := others(owner)[0]
		t.Cleanup(func() {
			onNode(context.Background(), t, other, "ip link delete kube-ipvs0; sysctl -qw net.ipv4.conf.eth0.arp_ignore=0 net.ipv4.conf.eth0.arp_announce=0")
		})
		onNode(ctx, t, other, "ip link add kube-ipvs0 type bridge && ip address add "+addresses[0].String()+"/32 dev kube-ipvs0")
		awaitMACs(ctx, t, addresses[0], string(owner), string(other))
		awaitEvent(ctx, t, "hindered", "nodeMisconfigured", "node \""+string(other)+"\": the kernel of this node answers ARP for "+addresses[0].String())
		// What strictARP sets.
		onNode(ctx, t, other, "sysctl -qw net.ipv4.conf.eth0.arp_ignore=1 net.ipv4.conf.eth0.arp_announce=2")
		awaitOwner(ctx, t, addresses, owner)
	})
}
