package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BGPAdvertisement announces addresses to routers over BGP: each selected node offers a route to each address, and the
// routers spread traffic over the nodes. One with an empty spec offers the addresses of all pools, from all nodes, to
// all peers, as /32 and /128 routes.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=bgpadvertisements
// +kubebuilder:printcolumn:name="IPAddressPools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="IPAddressPool Selectors",type=string,JSONPath=`.spec.ipAddressPoolSelectors`
// +kubebuilder:printcolumn:name="Peers",type=string,JSONPath=`.spec.peers`
// +kubebuilder:printcolumn:name="Node Selectors",type=string,priority=10,JSONPath=`.spec.nodeSelectors`
type BGPAdvertisement struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BGPAdvertisementSpec   `json:"spec,omitempty"`
	Status BGPAdvertisementStatus `json:"status,omitempty"`
}

// BGPAdvertisementSpec says which routes are offered, with which attributes, from which nodes and to which peers.
//
// +kubebuilder:validation:XValidation:rule=`!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || ((!has(self.aggregationLength) || self.aggregationLength == 32) && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128))`,message="serviceSelectors and aggregationLength are mutually exclusive: with serviceSelectors, aggregationLength must be 32 and aggregationLengthV6 128"
type BGPAdvertisementSpec struct {
	// AggregationLength is the prefix length of the IPv4 routes offered: 1 to 32. With 24, one route to the /24 around
	// an address stands for all addresses in it. It must not be shorter than the ranges of the pools announced, so that
	// no address of someone else is attracted. Default: 32, one route per address.
	//
	// +optional
	// +kubebuilder:default=32
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:XValidation:rule=`self <= 32`,message="invalid aggregation length for IPv4: aggregationLength must be 1 to 32"
	AggregationLength *int32 `json:"aggregationLength,omitempty"`

	// AggregationLengthV6 is the same for IPv6 routes: up to 128. Default: 128, one route per address.
	//
	// +optional
	// +kubebuilder:default=128
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:XValidation:rule=`self <= 128`,message="invalid aggregation length for IPv6: aggregationLengthV6 must be at most 128"
	AggregationLengthV6 *int32 `json:"aggregationLengthV6,omitempty"`

	// LocalPref is the LOCAL_PREF attribute (RFC 4271, section 5.1.5) of the routes offered to internal peers; routers
	// prefer the route with the highest. 0 to 4294967295; external peers never see it. Default: 0, which sends none.
	//
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	LocalPref uint32 `json:"localPref,omitempty"`

	// MED is Herald's own: the MULTI_EXIT_DISC attribute (RFC 4271, section 5.1.4) of the routes offered. Routers prefer
	// the route with the lowest among those that they have from one neighbouring AS. 0 to 4294967295. Default: none.
	//
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	MED *uint32 `json:"med,omitempty"`

	// ASPathPrepend is Herald's own: how many more times than once our number stands in the path of the routes offered,
	// which makes them less preferred: 0 to 10. For external peers only; an internal one would take the number in the
	// path for a loop, and is offered the routes without. Default: 0.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	ASPathPrepend int32 `json:"asPathPrepend,omitempty"`

	// Communities are attached to the routes offered, each at most once: a standard community such as "64512:100"
	// (RFC 1997, two numbers up to 65535), a large community such as "large:64512:1:2" (RFC 8092, three numbers up to
	// 4294967295), the name of an alias that a Community object defines, or a name of IANA's for a well-known community:
	// GRACEFUL_SHUTDOWN, ACCEPT_OWN, LLGR_STALE, NO_LLGR, BLACKHOLE, NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED (or
	// LOCAL_AS) and NO_PEER. An alias of such a name takes its place.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="communities must not hold the same community twice"
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule=`size(self.split(":")) != 2 || (self.matches("^[0-9]{1,10}:[0-9]{1,10}$") && self.split(":").all(n, int(n) <= 65535))`,message="invalid community value: invalid section: a standard community is two numbers from 0 to 65535, such as 64512:100"
	// +kubebuilder:validation:items:XValidation:rule=`size(self.split(":")) != 4 || self.startsWith("large:")`,message="invalid community value: expected community to be of format large, such as large:64512:1:2"
	// +kubebuilder:validation:items:XValidation:rule=`size(self.split(":")) != 4 || !self.startsWith("large:") || (self.matches("^large(:[0-9]{1,18}){3}$") && self.substring(6).split(":").all(n, int(n) <= 4294967295))`,message="invalid community value: invalid section: a large community is three numbers from 0 to 4294967295, such as large:64512:1:2"
	Communities []string `json:"communities,omitempty"`

	// IPAddressPools are the names of the pools whose addresses are offered, each at most once. A name that no pool has
	// is ignored. With neither ipAddressPools nor ipAddressPoolSelectors, all pools are offered.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="ipAddressPools must not hold the same pool twice"
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=128
	IPAddressPools []string `json:"ipAddressPools,omitempty"`

	// IPAddressPoolSelectors select further pools by their labels. A pool that matches any one of them is offered.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="ipAddressPoolSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	IPAddressPoolSelectors []metav1.LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// NodeSelectors limit the nodes that offer routes to those whose labels match any one of the selectors.
	// Empty means all nodes.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="nodeSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// Peers are the names of the BGPPeers that are offered the routes, each at most once. Empty means all peers; a name
	// that no BGPPeer has is ignored.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="peers must not hold the same peer twice"
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=128
	Peers []string `json:"peers,omitempty"`

	// ServiceSelectors limit the Services whose addresses are offered to those whose labels match any one of the
	// selectors. Empty means all. They go with routes to single addresses only: aggregationLength must then be 32 and
	// aggregationLengthV6 128.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="serviceSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// BGPAdvertisementStatus is what became of the advertisement itself. What it does for a Service stands in the
// ServiceBGPStatuses of that.
type BGPAdvertisementStatus struct {
	// Conditions say whether the object is in force. Valid is False, with what is wrong as its message, where it has a
	// mistake that was not refused when it was applied, such as a reference to what does not exist any more.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BGPAdvertisementList is a list of BGPAdvertisements.
//
// +kubebuilder:object:root=true
type BGPAdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BGPAdvertisement `json:"items"`
}
