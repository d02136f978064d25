package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Community gives BGP communities names, by which BGPAdvertisements can then call them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=communities
type Community struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   CommunitySpec   `json:"spec,omitempty"`
	Status CommunityStatus `json:"status,omitempty"`
}

// CommunitySpec holds the aliases.
type CommunitySpec struct {
	// Communities are the aliases. A name may be defined only once, over all Community objects.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="[self.map(c, c.name)].all(names, names.all(x, names.indexOf(x) == names.lastIndexOf(x)))",message="duplicate definition of community: communities must not hold the same name twice"
	// +kubebuilder:validation:MaxItems=256
	Communities []CommunityAlias `json:"communities,omitempty"`
}

// CommunityAlias is a name for one BGP community.
type CommunityAlias struct {
	// Name is what BGPAdvertisements call the community, such as "NO_EXPORT".
	//
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`

	// Value is the community: "65535:65281" (a standard community, RFC 1997, two numbers up to 65535) or
	// "large:64512:1:2" (a large community, RFC 8092, three numbers up to 4294967295).
	//
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule=`size(self.split(":")) != 2 || (self.matches("^[0-9]{1,10}:[0-9]{1,10}$") && self.split(":").all(n, int(n) <= 65535))`,message="invalid community value: invalid section: a standard community is two numbers from 0 to 65535, such as 64512:100"
	// +kubebuilder:validation:XValidation:rule=`size(self.split(":")) != 4 || self.startsWith("large:")`,message="invalid community value: expected community to be of format large, such as large:64512:1:2"
	// +kubebuilder:validation:XValidation:rule=`size(self.split(":")) != 4 || !self.startsWith("large:") || (self.matches("^large(:[0-9]{1,18}){3}$") && self.substring(6).split(":").all(n, int(n) <= 4294967295))`,message="invalid community value: invalid section: a large community is three numbers from 0 to 4294967295, such as large:64512:1:2"
	// +kubebuilder:validation:XValidation:rule=`size(self.split(":")) in [2, 4]`,message="invalid community format: value must be a standard community such as 65535:65281, or a large one such as large:64512:1:2"
	Value string `json:"value"`
}

// CommunityStatus is what became of the aliases.
type CommunityStatus struct {
	// Conditions say whether the object is in force. Valid is False, with what is wrong as its message, where it has a
	// mistake that was not refused when it was applied, such as a reference to what does not exist any more.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CommunityList is a list of Communities.
//
// +kubebuilder:object:root=true
type CommunityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Community `json:"items"`
}
