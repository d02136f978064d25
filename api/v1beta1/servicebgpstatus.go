package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServiceBGPStatus says to which BGP peers one node offers the addresses of a Service. Herald writes it, one for each
// Service and node that offers it; it carries the labels metallb.io/node, metallb.io/service-name and
// metallb.io/service-namespace, by which it can be found.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=servicebgpstatuses,singular=servicebgpstatus
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="Service Name",type=string,JSONPath=`.status.serviceName`
// +kubebuilder:printcolumn:name="Service Namespace",type=string,JSONPath=`.status.serviceNamespace`
type ServiceBGPStatus struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ServiceBGPStatusSpec   `json:"spec,omitempty"`
	Status ServiceBGPStatusStatus `json:"status,omitempty"`
}

// ServiceBGPStatusSpec is empty: nobody asks for a status.
type ServiceBGPStatusSpec struct{}

// ServiceBGPStatusStatus is what is so now.
type ServiceBGPStatusStatus struct {
	// Node is the name of the node that offers the Service's addresses.
	//
	// +optional
	Node string `json:"node,omitempty"`

	// ServiceName is the name of the Service.
	//
	// +optional
	ServiceName string `json:"serviceName,omitempty"`

	// ServiceNamespace is the namespace of the Service.
	//
	// +optional
	ServiceNamespace string `json:"serviceNamespace,omitempty"`

	// Peers are the names of the BGPPeers that the node is configured to offer the Service's addresses to, in order.
	// A peer stands here whether or not its session is up.
	//
	// +optional
	Peers []string `json:"peers,omitempty"`
}

// ServiceBGPStatusList is a list of ServiceBGPStatuses.
//
// +kubebuilder:object:root=true
type ServiceBGPStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ServiceBGPStatus `json:"items"`
}
