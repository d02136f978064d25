package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPAddressPool is a named set of addresses that Services of type LoadBalancer may be given, and the rules for who may
// draw from it. A pool alone announces nothing: an L2Advertisement or a BGPAdvertisement must select it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=ipaddresspools
// +kubebuilder:printcolumn:name="Auto Assign",type=boolean,JSONPath=`.spec.autoAssign`
// +kubebuilder:printcolumn:name="Avoid Buggy IPs",type=boolean,JSONPath=`.spec.avoidBuggyIPs`
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="Assigned IPv4",type=integer,JSONPath=`.status.assignedIPv4`
// +kubebuilder:printcolumn:name="Available IPv4",type=integer,JSONPath=`.status.availableIPv4`
// +kubebuilder:printcolumn:name="Assigned IPv6",type=integer,JSONPath=`.status.assignedIPv6`
// +kubebuilder:printcolumn:name="Available IPv6",type=integer,JSONPath=`.status.availableIPv6`
type IPAddressPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   IPAddressPoolSpec   `json:"spec"`
	Status IPAddressPoolStatus `json:"status,omitempty"`
}

// IPAddressPoolSpec says which addresses the pool holds and who may have them.
type IPAddressPoolSpec struct {
	// Addresses are the pool's ranges, IPv4 and IPv6 in any mix, used in the order in which they stand here.
	// Each is a CIDR such as "198.51.100.0/24", or a first and a last address such as "198.51.100.10-198.51.100.20".
	// A CIDR stands for its whole network: "198.51.100.10/24" is the same as "198.51.100.0/24". At least one is needed,
	// and no address may be in two ranges, be it of one pool or of two.
	//
	// ---
	// The last two rules compare the ends of a range as numbers, which CEL's address types do not: those of IPv4 as one
	// number each, those of IPv6, with "::" written out, as eight. Written so that the API server can bound their cost.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule=`self.contains("-") ? isIP(self.substring(0, self.indexOf("-")).trim()) && isIP(self.substring(self.indexOf("-") + 1).trim()) : isCIDR(self)`,message="an item of addresses must be a CIDR such as 198.51.100.0/24, or a first and a last address such as 198.51.100.10-198.51.100.20"
	// +kubebuilder:validation:items:XValidation:rule=`!self.contains("-") || self.substring(0, self.indexOf("-")).trim().contains(":") == self.substring(self.indexOf("-") + 1).trim().contains(":")`,message="a range in addresses must begin and end in the same IP family"
	// +kubebuilder:validation:items:XValidation:rule=`!self.matches("^\\s*[0-9.]+\\s*-\\s*[0-9.]+\\s*$") || [self.substring(0, self.indexOf("-")).trim().split("."), self.substring(self.indexOf("-") + 1).trim().split(".")].map(o, int(o[0]) * 16777216 + int(o[1]) * 65536 + int(o[2]) * 256 + int(o[3])).isSorted()`,message="a range in addresses must not end before it begins"
	// +kubebuilder:validation:items:XValidation:rule=`!self.matches("^\\s*[0-9A-Fa-f:]+:[0-9A-Fa-f:]*\\s*-\\s*[0-9A-Fa-f:]+:[0-9A-Fa-f:]*\\s*$") || [[self.substring(0, self.indexOf("-")).trim().lowerAscii().replace("::", ":0:0:0:0:0:0:0:".substring(0, 19 - 2 * size(self.substring(0, self.indexOf("-")).trim().split(":")))).split(":", 8), self.substring(self.indexOf("-") + 1).trim().lowerAscii().replace("::", ":0:0:0:0:0:0:0:".substring(0, 19 - 2 * size(self.substring(self.indexOf("-") + 1).trim().split(":")))).split(":", 8)].map(g, [0, 1, 2, 3, 4, 5, 6, 7].map(i, [0, 1, 2, 3].map(d, d < size(g[i]) ? "0123456789abcdef".indexOf(g[i].charAt(size(g[i]) - 1 - d)) * [1, 16, 256, 4096][d] : 0).sum()))].all(a, ![0, 1, 2, 3, 4, 5, 6, 7].exists(i, a[0][i] > a[1][i] && [0, 1, 2, 3, 4, 5, 6, 7].all(j, j >= i || a[0][j] == a[1][j])))`,message="a range in addresses must not end before it begins"
	Addresses []string `json:"addresses"`

	// AutoAssign says whether Services that do not ask for this pool may be given an address of it. With false, only a
	// Service with the annotation metallb.io/address-pool or metallb.io/loadBalancerIPs gets one. Default: true.
	//
	// +optional
	// +kubebuilder:default=true
	AutoAssign *bool `json:"autoAssign,omitempty"`

	// AvoidBuggyIPs keeps IPv4 addresses that end in .0 or .255 from being given away, for the sake of old routers and
	// clients that take them for network or broadcast addresses. Default: false.
	//
	// +optional
	// +kubebuilder:default=false
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// AllocateTo reserves the pool for some Services and ranks it against other pools that would do for them.
	// Unset, the pool is there for every Service that no reserved pool could serve.
	//
	// +optional
	AllocateTo *ServiceAllocation `json:"serviceAllocation,omitempty"`
}

// ServiceAllocation names the Services that a pool is reserved for: those in one of the namespaces (by name or by label)
// that also match one of the service selectors. What is left empty does not restrict, so an empty object means all Services.
type ServiceAllocation struct {
	// Priority ranks this pool among the reserved pools that would do for a Service: 1 is tried before 2, and 0, the
	// default, is tried last. Pools of equal priority are tried in the order of their names.
	//
	// +optional
	Priority int `json:"priority,omitempty"`

	// Namespaces are the names of namespaces whose Services may draw from the pool, each at most once.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="namespaces must not hold the same namespace twice"
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=128
	Namespaces []string `json:"namespaces,omitempty"`

	// NamespaceSelectors select further namespaces by their labels. A namespace that is named in namespaces or matches
	// any one of the selectors will do.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="namespaceSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	NamespaceSelectors []metav1.LabelSelector `json:"namespaceSelectors,omitempty"`

	// ServiceSelectors select Services by their labels. A Service that matches any one of them may draw from the pool.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="serviceSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	ServiceSelectors []metav1.LabelSelector `json:"serviceSelectors,omitempty"`
}

// IPAddressPoolStatus counts the pool's addresses, and says whether it is in force. An address that several Services
// share counts once.
type IPAddressPoolStatus struct {
	// AssignedIPv4 is the number of IPv4 addresses that Services hold.
	AssignedIPv4 int64 `json:"assignedIPv4"`

	// AssignedIPv6 is the number of IPv6 addresses that Services hold.
	AssignedIPv6 int64 `json:"assignedIPv6"`

	// AvailableIPv4 is the number of IPv4 addresses still free to be given away.
	AvailableIPv4 int64 `json:"availableIPv4"`

	// AvailableIPv6 is the number of IPv6 addresses still free to be given away. It stays at 9223372036854775807 where
	// the pool holds more than can be counted, as a range of a /66 or larger does.
	AvailableIPv6 int64 `json:"availableIPv6"`

	// Conditions say whether the object is in force. Valid is False, with what is wrong as its message, where it has a
	// mistake that was not refused when it was applied, such as a reference to what does not exist any more.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IPAddressPoolList is a list of IPAddressPools.
//
// +kubebuilder:object:root=true
type IPAddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []IPAddressPool `json:"items"`
}
