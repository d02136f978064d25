package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServiceL2Status says which node answers for the addresses of a Service on the local network. Herald writes it, one
// for each Service that an L2Advertisement announces; it carries the labels metallb.io/node, metallb.io/service-name
// and metallb.io/service-namespace, by which it can be found.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=servicel2statuses,singular=servicel2status
// +kubebuilder:printcolumn:name="Allocated Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="Service Name",type=string,JSONPath=`.status.serviceName`
// +kubebuilder:printcolumn:name="Service Namespace",type=string,JSONPath=`.status.serviceNamespace`
type ServiceL2Status struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ServiceL2StatusSpec   `json:"spec,omitempty"`
	Status ServiceL2StatusStatus `json:"status,omitempty"`
}

// ServiceL2StatusSpec is empty: nobody asks for a status.
type ServiceL2StatusSpec struct{}

// ServiceL2StatusStatus is what is so now. Another node or another Service gets another object: those never change.
type ServiceL2StatusStatus struct {
	// Node is the name of the node that answers for the Service's addresses.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="node is immutable: delete the object and create another"
	Node string `json:"node,omitempty"`

	// ServiceName is the name of the Service.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="serviceName is immutable: delete the object and create another"
	ServiceName string `json:"serviceName,omitempty"`

	// ServiceNamespace is the namespace of the Service.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="serviceNamespace is immutable: delete the object and create another"
	ServiceNamespace string `json:"serviceNamespace,omitempty"`

	// Interfaces are the network interfaces on which the node answers, where advertisements restrict them. Without the
	// list it answers on all of them.
	//
	// +optional
	Interfaces []InterfaceInfo `json:"interfaces,omitempty"`
}

// InterfaceInfo names one network interface of a node.
type InterfaceInfo struct {
	// Name is the interface's name on the node, such as "eth0".
	//
	// +optional
	Name string `json:"name,omitempty"`
}

// ServiceL2StatusList is a list of ServiceL2Statuses.
//
// +kubebuilder:object:root=true
type ServiceL2StatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ServiceL2Status `json:"items"`
}
