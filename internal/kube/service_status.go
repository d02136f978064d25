package kube

import (
	"context"
	"encoding/json"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/lb"
)

// Assignment is what a Service's status and annotation say, or should say, about
// the addresses that it holds.
type Assignment struct {
	Addresses []netip.Addr
	Pool      lb.PoolName
	// Conditions travel along.
	Conditions []Condition
}

// Records reports whether the Service already says so, so that nothing is to be
// written. The API server fills in an absent ipMode as VIP, so both are the same.
func (a Assignment) Records(svc *corev1.Service) bool {
	return a.recordsAddresses(svc) && Says(svc, a.Conditions)
}

func (a Assignment) recordsAddresses(svc *corev1.Service) bool {
	ingress := svc.Status.LoadBalancer.Ingress
	if svc.Annotations[annotationAllocatedFrom] != string(a.Pool) || len(ingress) != len(a.Addresses) {
		return false
	}
	if _, present := svc.Annotations[annotationAllocatedFrom]; present && a.Pool == "" {
		return false
	}
	for i, in := range ingress {
		vip := in.IPMode == nil || *in.IPMode == corev1.LoadBalancerIPModeVIP
		if in.IP != a.Addresses[i].String() || in.Hostname != "" || !vip {
			return false
		}
	}
	return true
}

// Write makes the Service say so: status and annotation in one PATCH, which fails with
// a conflict unless the Service is still as it was when this was decided: no other
// controller that leads by now is written over. It returns the object as the API server
// stored it. Roles that predate Herald grant update alone; under those
// it does the same with an update.
func (a Assignment) Write(ctx context.Context, c client.Client, svc *corev1.Service) (*corev1.Service, error) {
	conditions, changed := withConditions(svc, a.Conditions)
	patch, err := a.patch(svc, conditions, changed)
	if err != nil {
		return nil, err
	}
	return writeStatus(ctx, c, svc, patch, func(svc *corev1.Service) { a.apply(svc, conditions) })
}

func (a Assignment) patch(svc *corev1.Service, conditions []metav1.Condition, changed bool) ([]byte, error) {
	var pool any
	if a.Pool != "" {
		pool = string(a.Pool)
	}
	status := map[string]any{"loadBalancer": map[string]any{"ingress": a.ingress()}}
	if changed {
		status["conditions"] = conditions
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{
			"uid":             svc.UID,
			"resourceVersion": svc.ResourceVersion,
			"annotations":     map[string]any{annotationAllocatedFrom: pool},
		},
		"status": status,
	})
}

func (a Assignment) ingress() []corev1.LoadBalancerIngress {
	vip := corev1.LoadBalancerIPModeVIP
	var out []corev1.LoadBalancerIngress
	for _, addr := range a.Addresses {
		out = append(out, corev1.LoadBalancerIngress{IP: addr.String(), IPMode: &vip})
	}
	return out
}

func (a Assignment) apply(svc *corev1.Service, conditions []metav1.Condition) {
	svc.Status.LoadBalancer.Ingress, svc.Status.Conditions = a.ingress(), conditions
	delete(svc.Annotations, annotationAllocatedFrom)
	if a.Pool == "" {
		return
	}
	if svc.Annotations == nil {
		svc.Annotations = map[string]string{}
	}
	svc.Annotations[annotationAllocatedFrom] = string(a.Pool)
}
