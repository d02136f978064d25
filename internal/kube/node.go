package kube

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/herald-lb/herald/internal/lb"
)

// Node reads what Herald needs to know of a Node.
func Node(n *corev1.Node) lb.Node {
	out := lb.Node{Name: lb.NodeName(n.Name), Labels: n.Labels}
	_, out.Excluded = n.Labels[corev1.LabelNodeExcludeBalancers]
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable && c.Status == corev1.ConditionTrue {
			out.NetworkUnavailable = true
		}
	}
	return out
}

// Endpoints reads the endpoints of a Service from its slices. An endpoint can serve
// if it is ready, which it is where nothing is said, or if it is on its way out and
// still serving (KEP-1672).
func Endpoints(slices []discoveryv1.EndpointSlice) []lb.Endpoint {
	var out []lb.Endpoint
	for _, s := range slices {
		for _, e := range s.Endpoints {
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			serving := e.Conditions.Serving != nil && *e.Conditions.Serving
			ep := lb.Endpoint{Serving: ready || serving}
			if e.NodeName != nil {
				ep.Node = lb.NodeName(*e.NodeName)
			}
			out = append(out, ep)
		}
	}
	return out
}
