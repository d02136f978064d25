package chaos

import (
	"fmt"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The annotations that users write.
const (
	sharingAnnotation = "metallb.io/allow-shared-ip"
	poolAnnotation    = "metallb.io/address-pool"
)

// wish is one thing that a Service may ask for.
type wish func(*corev1.Service)

// newService is a Service before the pods that answer. kube-proxy lets it be: its work would take the machine's cores from
// what is looked at.
func newService(name string, wishes ...wish) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Annotations: map[string]string{}, Labels: map[string]string{"service.kubernetes.io/service-proxy-name": "none"},
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}
	for _, w := range wishes {
		w(svc)
	}
	return svc
}

func families(policy corev1.IPFamilyPolicy, families ...corev1.IPFamily) wish {
	return func(svc *corev1.Service) {
		if svc.Spec.ClusterIP == "" { // a Service that exists keeps its first family
			svc.Spec.IPFamilyPolicy, svc.Spec.IPFamilies = &policy, families
		}
	}
}

var (
	ipv4      = families(corev1.IPFamilyPolicySingleStack, corev1.IPv4Protocol)
	ipv6      = families(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol)
	dualStack = families(corev1.IPFamilyPolicyRequireDualStack)
)

// oneFamily and bothFamilies change a Service that exists.
func oneFamily(svc *corev1.Service) {
	policy := corev1.IPFamilyPolicySingleStack
	svc.Spec.IPFamilyPolicy = &policy
	if len(svc.Spec.ClusterIPs) > 1 {
		svc.Spec.ClusterIPs, svc.Spec.IPFamilies = svc.Spec.ClusterIPs[:1], svc.Spec.IPFamilies[:1]
	}
}

func bothFamilies(svc *corev1.Service) {
	policy := corev1.IPFamilyPolicyPreferDualStack
	svc.Spec.IPFamilyPolicy = &policy
}

func localTraffic(svc *corev1.Service) {
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

func anyTraffic(svc *corev1.Service) {
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
}

func loadBalancer(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeLoadBalancer }

func noLoadBalancer(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeClusterIP }

// fitType takes away what only a load balancer may have, from a Service that is none.
func fitType(svc *corev1.Service) {
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		return
	}
	svc.Spec.ExternalTrafficPolicy, svc.Spec.HealthCheckNodePort, svc.Spec.AllocateLoadBalancerNodePorts = "", 0, nil
	for i := range svc.Spec.Ports {
		svc.Spec.Ports[i].NodePort = 0
	}
}

func port(number int32) wish {
	return func(svc *corev1.Service) { svc.Spec.Ports[0].Port = number }
}

func sharing(key string) wish { return annotated(sharingAnnotation, key) }

func fromPool(name string) wish { return annotated(poolAnnotation, name) }

func annotated(key, value string) wish {
	return func(svc *corev1.Service) { metav1.SetMetaDataAnnotation(&svc.ObjectMeta, key, value) }
}

func without(annotation string) wish {
	return func(svc *corev1.Service) { delete(svc.Annotations, annotation) }
}

// newcomer draws what a new Service asks for.
func newcomer(chance *rand.Rand) []wish {
	wishes := []wish{pick(chance, ipv4, ipv6, dualStack, bothFamilies)}
	for range chance.IntN(3) {
		wishes = append(wishes, change(chance))
	}
	return wishes
}

// change draws what a Service asks for from now on.
func change(chance *rand.Rand) wish {
	key := fmt.Sprintf("key-%d", chance.IntN(3))
	return pick(chance,
		port(int32(80+chance.IntN(3))), sharing(key), sharing(key), without(sharingAnnotation), localTraffic, anyTraffic,
		fromPool("shared"), fromPool("fickle"), fromPool("routed"), fromPool("routed"), without(poolAnnotation),
		oneFamily, bothFamilies, noLoadBalancer, loadBalancer, loadBalancer,
	)
}

func pick[T any](chance *rand.Rand, among ...T) T { return among[chance.IntN(len(among))] }
