// Package v1beta2 is the metallb.io/v1beta2 API: BGPPeer in the version that is stored. All other kinds live in v1beta1.
//
// +kubebuilder:object:generate=true
// +groupName=metallb.io
package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion names this API to Kubernetes.
var GroupVersion = schema.GroupVersion{Group: "metallb.io", Version: "v1beta2"}

var builder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme teaches a scheme the kinds of this package.
var AddToScheme = builder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &BGPPeer{}, &BGPPeerList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
