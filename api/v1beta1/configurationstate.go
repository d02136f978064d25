package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConfigurationState says whether one of Herald's processes could make sense of the configuration, and what is wrong
// where it could not. There is one named "controller" and one named "speaker-NODE" for each node; they carry the labels
// metallb.io/component-type (controller or speaker) and metallb.io/node-name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=configurationstates
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.result`
// +kubebuilder:printcolumn:name="ErrorSummary",type=string,JSONPath=`.status.errorSummary`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ConfigurationState struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Status ConfigurationStateStatus `json:"status,omitempty"`
}

// ConfigurationResult is a process's opinion of the configuration.
//
// +kubebuilder:validation:Enum=Valid;Invalid;Unknown
type ConfigurationResult string

// The results that a ConfigurationState can report.
const (
	ConfigurationValid   ConfigurationResult = "Valid"
	ConfigurationInvalid ConfigurationResult = "Invalid"
	ConfigurationUnknown ConfigurationResult = "Unknown"
)

// ConfigurationStateStatus is the process's opinion and its reasons.
type ConfigurationStateStatus struct {
	// Result is Valid where all of the configuration is in force, Invalid where some of it is not because of a mistake
	// in it, and Unknown where the process has not judged it yet.
	//
	// +optional
	Result ConfigurationResult `json:"result,omitempty"`

	// ErrorSummary lists the mistakes found, one a line. Empty where there are none.
	//
	// +optional
	ErrorSummary string `json:"errorSummary,omitempty"`

	// Conditions give the opinion of each part of the process: configReconcilerValid from a speaker,
	// poolReconcilerValid from the controller. The reason is Reconciled, ConfigurationError or UnknownError.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConfigurationStateList is a list of ConfigurationStates.
//
// +kubebuilder:object:root=true
type ConfigurationStateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ConfigurationState `json:"items"`
}
