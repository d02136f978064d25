package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/lb"
)

// The types of the conditions that Herald keeps in the status of Services, beside those of others.
const (
	// AddressAssigned: the Service holds an address.
	AddressAssigned = prefix + "AddressAssigned"
	// Announced: some node announces what it holds.
	Announced = prefix + "Announced"
)

// Condition is what one condition of a Service should say. One without a status should
// not be there.
// https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties
type Condition struct {
	Type    string
	Status  metav1.ConditionStatus
	Reason  lb.Reason
	Message string
}

// NoConditions has a Service show none of Herald's conditions.
func NoConditions() []Condition { return []Condition{{Type: AddressAssigned}, {Type: Announced}} }

// Says reports whether the Service shows these conditions already.
func Says(svc *corev1.Service, want []Condition) bool {
	_, changed := withConditions(svc, want)
	return !changed
}

// IsAnnounced reports whether the Service shows that somebody announces it.
func IsAnnounced(svc *corev1.Service) bool {
	return meta.IsStatusConditionTrue(svc.Status.Conditions, Announced)
}

// WriteConditions makes the Service show the conditions, under the terms of [Assignment.Write].
func WriteConditions(ctx context.Context, c client.Client, svc *corev1.Service, want []Condition) (*corev1.Service, error) {
	conditions, _ := withConditions(svc, want)
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": svc.UID, "resourceVersion": svc.ResourceVersion},
		"status":   map[string]any{"conditions": conditions},
	})
	if err != nil {
		return nil, err
	}
	return writeStatus(ctx, c, svc, patch, func(svc *corev1.Service) { svc.Status.Conditions = conditions })
}

// withConditions returns all conditions of a Service as they should be, those of others
// among them, and whether that differs from what they are.
func withConditions(svc *corev1.Service, want []Condition) (all []metav1.Condition, changed bool) {
	all = slices.Clone(svc.Status.Conditions)
	for _, c := range want {
		if c.Status == "" {
			changed = meta.RemoveStatusCondition(&all, c.Type) || changed
			continue
		}
		changed = meta.SetStatusCondition(&all, metav1.Condition{
			Type: c.Type, Status: c.Status, Reason: inCamelCase(c.Reason), Message: c.Message, ObservedGeneration: svc.Generation,
		}) || changed
	}
	return all, changed
}

// inCamelCase is a reason as conditions spell it: "NoMatchingPool" for noMatchingPool.
func inCamelCase(r lb.Reason) string {
	words := strings.Fields(string(r))
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// writeStatus sends a patch of a Service's status. Roles that predate Herald grant update
// alone; under those the change is made to the whole object.
func writeStatus(ctx context.Context, c client.Client, svc *corev1.Service, patch []byte, change func(*corev1.Service)) (*corev1.Service, error) {
	out := &corev1.Service{}
	out.Namespace, out.Name = svc.Namespace, svc.Name
	err := c.Status().Patch(ctx, out, client.RawPatch(types.MergePatchType, patch))
	if apierrors.IsForbidden(err) {
		out = svc.DeepCopy()
		change(out)
		err = c.Status().Update(ctx, out)
	}
	if err != nil {
		return nil, fmt.Errorf("write status of service %s: %w", Key(svc), err)
	}
	return out, nil
}
