// Package v1beta1 is the metallb.io/v1beta1 API: the objects with which a user tells Herald which addresses it may
// give away and how to announce them, and those in which Herald says what became of it.
//
// The comments on the fields are the user's reference: they become the descriptions that `kubectl explain` shows.
// The validation markers become schema and CEL rules of the CRDs, so that a mistake which one object alone shows is
// refused by the API server itself. Lists of what may be selected are bounded (1000 ranges, 256 names, 128 selectors),
// because the API server wants to know beforehand what judging an object may cost. None is declared a set: changing a
// list from atomic, which it was for those who come from MetalLB, would make items that they take away with server-side
// apply stay.
//
// +kubebuilder:object:generate=true
// +groupName=metallb.io
package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion names this API to Kubernetes.
var GroupVersion = schema.GroupVersion{Group: "metallb.io", Version: "v1beta1"}

var builder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme teaches a scheme the kinds of this package.
var AddToScheme = builder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&IPAddressPool{}, &IPAddressPoolList{},
		&L2Advertisement{}, &L2AdvertisementList{},
		&BGPAdvertisement{}, &BGPAdvertisementList{},
		&BGPPeer{}, &BGPPeerList{},
		&BFDProfile{}, &BFDProfileList{},
		&Community{}, &CommunityList{},
		&ServiceL2Status{}, &ServiceL2StatusList{},
		&ServiceBGPStatus{}, &ServiceBGPStatusList{},
		&BGPSessionState{}, &BGPSessionStateList{},
		&ConfigurationState{}, &ConfigurationStateList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
