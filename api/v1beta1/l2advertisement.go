package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// L2Advertisement announces addresses on the local network: one node at a time answers ARP (IPv4) and neighbour
// discovery (IPv6) for each address, and another takes over when that node goes away.
// One with an empty spec announces the addresses of all pools, from any node, on all its interfaces.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=l2advertisements
// +kubebuilder:printcolumn:name="IPAddressPools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="IPAddressPool Selectors",type=string,JSONPath=`.spec.ipAddressPoolSelectors`
// +kubebuilder:printcolumn:name="Interfaces",type=string,JSONPath=`.spec.interfaces`
// +kubebuilder:printcolumn:name="Node Selectors",type=string,priority=10,JSONPath=`.spec.nodeSelectors`
type L2Advertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   L2AdvertisementSpec   `json:"spec,omitempty"`
	Status L2AdvertisementStatus `json:"status,omitempty"`
}

// L2AdvertisementSpec says which addresses are announced, from which nodes and on which interfaces.
type L2AdvertisementSpec struct {
	// IPAddressPools are the names of the pools whose addresses are announced, each at most once. A name that no pool
	// has is ignored. With neither ipAddressPools nor ipAddressPoolSelectors, all pools are announced.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="ipAddressPools must not hold the same pool twice"
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=128
	IPAddressPools []string `json:"ipAddressPools,omitempty"`

	// IPAddressPoolSelectors select further pools by their labels. A pool that matches any one of them is announced.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="ipAddressPoolSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	IPAddressPoolSelectors []metav1.LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// NodeSelectors limit the nodes that may announce to those whose labels match any one of the selectors.
	// Empty means any node.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="nodeSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// Interfaces are the exact names of the network interfaces on which the node announces, such as "eth0".
	// Empty means all of them. A node is chosen without regard to this list, so select the nodes that have them.
	//
	// +optional
	Interfaces []string `json:"interfaces,omitempty"`

	// ServiceSelectors limit the Services announced to those whose labels match any one of the selectors. Empty means
	// all. A Service that carries the annotation metallb.io/allow-shared-ip is not announced through an advertisement
	// with serviceSelectors, as another Service at the same address might have to be announced from another node.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="serviceSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`

	// PreferredNodeSelectors say which of the nodes that may announce should do so. Each node scores the sum of the
	// weights whose preference its labels match, over all advertisements of the address; the highest score wins, and
	// nodes with equal scores are ranked as they are without preferences.
	//
	// +optional
	PreferredNodeSelectors []PreferredNodeSelector `json:"preferredNodeSelectors,omitempty"`
}

// PreferredNodeSelector gives the nodes that match it a weight.
type PreferredNodeSelector struct {
	// Weight is added to the score of each node that matches the preference: 1 to 100.
	//
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`

	// Preference selects nodes by their labels. An empty one matches every node.
	Preference metav1.LabelSelector `json:"preference"`
}

// L2AdvertisementStatus is what became of the advertisement itself. What it does for a Service stands in the
// ServiceL2Status of that.
type L2AdvertisementStatus struct {
	// Conditions say whether the object is in force. Valid is False, with what is wrong as its message, where it has a
	// mistake that was not refused when it was applied, such as a reference to what does not exist any more.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// L2AdvertisementList is a list of L2Advertisements.
//
// +kubebuilder:object:root=true
type L2AdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []L2Advertisement `json:"items"`
}
