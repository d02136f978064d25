//go:build e2e

package suite

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
)

func TestAssignment(t *testing.T) {
	ctx := begin(t)
	for _, c := range []struct {
		name     string
		families func(*corev1.Service)
		want     []string
	}{
		{"one IPv4 address", families(corev1.IPFamilyPolicySingleStack, corev1.IPv4Protocol), []string{"IPv4"}},
		{"one IPv6 address", families(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol), []string{"IPv6"}},
		{"an address of each family where both are required", families(corev1.IPFamilyPolicyRequireDualStack), []string{"IPv4", "IPv6"}},
		{"an address of each family where both are preferred", families(corev1.IPFamilyPolicyPreferDualStack), []string{"IPv4", "IPv6"}},
		{"IPv4 first, whatever the order of the Service's families", families(corev1.IPFamilyPolicyRequireDualStack, corev1.IPv6Protocol, corev1.IPv4Protocol), []string{"IPv4", "IPv6"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			svc := service(ctx, t, "assigned", c.families)
			var got []string
			for _, a := range awaitAddresses(ctx, t, svc, len(c.want)) {
				if !inPool(a) {
					t.Errorf("%s is not of the pool", a)
				}
				got = append(got, map[bool]string{true: "IPv4", false: "IPv6"}[a.Is4()])
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("assigned %v, want %v", got, c.want)
			}
		})
	}

	t.Run("the address that the annotation asks for, in the status as VIP, and the pool in an annotation", func(t *testing.T) {
		svc := service(ctx, t, "wishes", annotation("metallb.io/loadBalancerIPs", "192.168.10.222"))
		awaitAddresses(ctx, t, svc, 1)
		svc = must(cluster.Client().CoreV1().Services("default").Get(ctx, svc.Name, metav1.GetOptions{}))(t)
		ingress := svc.Status.LoadBalancer.Ingress[0]
		if ingress.IP != "192.168.10.222" || ingress.IPMode == nil || *ingress.IPMode != corev1.LoadBalancerIPModeVIP {
			t.Errorf("the status has %+v, want 192.168.10.222 as VIP", ingress)
		}
		if pool := svc.Annotations["metallb.io/ip-allocated-from-pool"]; pool != "lan" {
			t.Errorf("the annotation names pool %q, want lan", pool)
		}
	})

	t.Run("kubectl describe tells which address was assigned and which node announces it", func(t *testing.T) {
		svc := service(ctx, t, "described")
		addresses := awaitAddresses(ctx, t, svc, 1)
		awaitEvent(ctx, t, svc, corev1.EventTypeNormal, "IPAllocated", fmt.Sprintf("Assigned IP [%q]", addresses[0]))
		node := owner(ctx, t, addresses, herald.Anyone)
		awaitEvent(ctx, t, svc, corev1.EventTypeNormal, "nodeAssigned", fmt.Sprintf("announcing from node %q with protocol \"layer2\"", node))
	})

	t.Run("an address that another holds is refused, and is given as soon as it is released", func(t *testing.T) {
		wish := annotation("metallb.io/loadBalancerIPs", "192.168.10.250")
		holder := service(ctx, t, "holder", wish)
		awaitAddresses(ctx, t, holder, 1)
		waiting := service(ctx, t, "waiting", wish)
		awaitEvent(ctx, t, waiting, corev1.EventTypeWarning, "AllocationFailed", "192.168.10.250")
		remove(t, holder)
		if got := awaitAddresses(ctx, t, waiting, 1); got[0].String() != "192.168.10.250" {
			t.Errorf("given %v, want 192.168.10.250", got)
		}
	})

	t.Run("a Service of another load balancer's class is left alone", func(t *testing.T) {
		class := "example.com/other"
		other := service(ctx, t, "other", func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &class })
		awaitAddresses(ctx, t, service(ctx, t, "ours"), 1) // by now it would have been served
		awaitAddresses(ctx, t, other, 0)
	})

	t.Run("a Service that is no longer of type LoadBalancer loses its address", func(t *testing.T) {
		svc := service(ctx, t, "retyped")
		addresses := awaitAddresses(ctx, t, svc, 1)
		owner(ctx, t, addresses, herald.Anyone)
		kubectl(ctx, t, "patch", "service", svc.Name, "--patch", `{"spec":{"type":"ClusterIP"}}`)
		awaitAddresses(ctx, t, svc, 0)
		awaitSilence(ctx, t, addresses[0])
	})
}
