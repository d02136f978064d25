package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

// SetCondition makes the status of an object of the configuration show a condition.
func SetCondition(o client.Object, c Condition) {
	meta.SetStatusCondition(conditionsOf(o), metav1.Condition{
		Type: c.Type, Status: c.Status, Reason: inCamelCase(c.Reason), Message: c.Message, ObservedGeneration: o.GetGeneration(),
	})
}

func conditionsOf(o client.Object) *[]metav1.Condition {
	switch o := o.(type) {
	case *v1beta1.IPAddressPool:
		return &o.Status.Conditions
	case *v1beta1.L2Advertisement:
		return &o.Status.Conditions
	case *v1beta2.BGPPeer:
		return &o.Status.Conditions
	case *v1beta1.BGPAdvertisement:
		return &o.Status.Conditions
	case *v1beta1.BFDProfile:
		return &o.Status.Conditions
	case *v1beta1.Community:
		return &o.Status.Conditions
	}
	panic(fmt.Sprintf("%T is no object of the configuration", o))
}
