package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/internal/lb"
)

// The annotations of a Service. Users may also write those that they set under
// legacyPrefix; if both are there, the current prefix wins.
const (
	prefix       = "metallb.io/"
	legacyPrefix = "metallb.universe.tf/"

	annotationPool          = "address-pool"
	annotationAddresses     = "loadBalancerIPs"
	annotationSharingKey    = "allow-shared-ip"
	annotationAllocatedFrom = prefix + "ip-allocated-from-pool"
)

// Key names a Service.
func Key(svc *corev1.Service) lb.ServiceKey {
	return lb.ServiceKey{Namespace: svc.Namespace, Name: svc.Name}
}

// Classed reports whether a Service of its class is ours to look at: with an empty
// class the ones without any, else those of that very class (KEP-1959).
func Classed(svc *corev1.Service, class string) bool {
	if svc.Spec.LoadBalancerClass == nil {
		return class == ""
	}
	return class != "" && *svc.Spec.LoadBalancerClass == class
}

// Handled reports whether a Service is ours to give an address to.
func Handled(svc *corev1.Service, class string) bool {
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && Classed(svc, class)
}

// Created is when a Service was created, as closely as who first saw it at a moment can tell:
// Kubernetes keeps the second alone. It is never too early, and less than a second too late.
func Created(svc *corev1.Service, seen time.Time) time.Time {
	if latest := svc.CreationTimestamp.Add(time.Second); latest.Before(seen) {
		return latest
	}
	return seen
}

// Service reads what Herald needs to know of a Service.
func Service(svc *corev1.Service) lb.Service {
	out := lb.Service{
		Key:          Key(svc),
		UID:          string(svc.UID),
		Created:      svc.CreationTimestamp.Time,
		Labels:       svc.Labels,
		ClusterIPs:   clusterIPs(svc),
		LocalTraffic: svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		PodSelector:  labels.SelectorFromSet(svc.Spec.Selector).String(),
		Request:      request(svc),
		Held:         Held(svc),
		HeldFrom:     lb.PoolName(svc.Annotations[annotationAllocatedFrom]),
		FamilyPolicy: lb.SingleStack,
	}
	if svc.Spec.IPFamilyPolicy != nil {
		out.FamilyPolicy = lb.FamilyPolicy(*svc.Spec.IPFamilyPolicy)
	}
	for _, p := range svc.Spec.Ports {
		out.Ports = append(out.Ports, lb.Port{Protocol: string(cmp.Or(p.Protocol, corev1.ProtocolTCP)), Number: uint16(p.Port)})
	}
	return out
}

func clusterIPs(svc *corev1.Service) []netip.Addr {
	texts := svc.Spec.ClusterIPs
	if len(texts) == 0 {
		texts = []string{svc.Spec.ClusterIP}
	}
	return parseable(texts)
}

// Held reads which addresses the status of a Service records.
func Held(svc *corev1.Service) []netip.Addr {
	var texts []string
	for _, in := range svc.Status.LoadBalancer.Ingress {
		texts = append(texts, in.IP)
	}
	return parseable(texts)
}

// parseable returns those texts that are addresses; "None", "" and host names are not.
func parseable(texts []string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		if a, err := netip.ParseAddr(t); err == nil {
			out = append(out, a.Unmap())
		}
	}
	return out
}

func request(svc *corev1.Service) lb.Request {
	var r lb.Request
	pool, _ := annotation(svc, annotationPool, &r)
	r.Pool = lb.PoolName(strings.TrimSpace(pool))
	r.SharingKey, r.HasSharingKey = annotation(svc, annotationSharingKey, &r)
	addresses, _ := annotation(svc, annotationAddresses, &r)
	// A template that was given no address leaves the annotation empty.
	annotated := strings.TrimSpace(addresses) != ""
	slices.Sort(r.Deprecated)

	field := prefix + annotationAddresses
	switch {
	case annotated && svc.Spec.LoadBalancerIP != "":
		r.Invalid = fmt.Sprintf("annotation %s and spec.loadBalancerIP are both set: set one of them", field)
		return r
	case !annotated && svc.Spec.LoadBalancerIP == "":
		return r
	case !annotated:
		field, addresses = "spec.loadBalancerIP", svc.Spec.LoadBalancerIP
	}
	asked, err := ParseAddresses(addresses)
	if err != nil {
		r.Invalid = fmt.Sprintf("%s: %s", field, err)
		return r
	}
	r.Addresses = asked
	return r
}

// annotation reads an annotation under either prefix and notes the use of the old one.
func annotation(svc *corev1.Service, name string, r *lb.Request) (string, bool) {
	legacy, hasLegacy := svc.Annotations[legacyPrefix+name]
	if hasLegacy {
		r.Deprecated = append(r.Deprecated, legacyPrefix+name)
	}
	if v, ok := svc.Annotations[prefix+name]; ok {
		return v, true
	}
	return legacy, hasLegacy
}

// ParseAddresses reads the addresses that a Service asks for: one, or one of each
// family, separated by a comma, with spaces allowed around them.
func ParseAddresses(text string) ([]netip.Addr, error) {
	var out []netip.Addr
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		a, err := netip.ParseAddr(part)
		if err != nil || a.Zone() != "" {
			return nil, fmt.Errorf("invalid IP address %q", part)
		}
		out = append(out, a.Unmap())
	}
	if len(out) > 2 || len(out) == 2 && out[0].Is4() == out[1].Is4() {
		return nil, fmt.Errorf("%q: want one address, or one of each IP family", text)
	}
	return out, nil
}
