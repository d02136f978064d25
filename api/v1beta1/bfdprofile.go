package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BFDProfile is a set of parameters for Bidirectional Forwarding Detection (RFC 5880), which notices within a fraction
// of a second that a router is gone. A BGPPeer uses it by naming it in bfdProfile. It cannot be deleted while one does.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=bfdprofiles
// +kubebuilder:printcolumn:name="Passive Mode",type=boolean,JSONPath=`.spec.passiveMode`
// +kubebuilder:printcolumn:name="Transmit Interval",type=integer,JSONPath=`.spec.transmitInterval`
// +kubebuilder:printcolumn:name="Receive Interval",type=integer,JSONPath=`.spec.receiveInterval`
// +kubebuilder:printcolumn:name="Multiplier",type=integer,JSONPath=`.spec.detectMultiplier`
type BFDProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BFDProfileSpec   `json:"spec,omitempty"`
	Status BFDProfileStatus `json:"status,omitempty"`
}

// BFDProfileSpec holds the parameters. What is unset has the default named at the field.
type BFDProfileSpec struct {
	// ReceiveInterval is the shortest time between two control packets that this node is willing to receive, in
	// milliseconds: 10 to 60000. Default: 300.
	//
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	ReceiveInterval *uint32 `json:"receiveInterval,omitempty"`

	// TransmitInterval is the time between two control packets that this node would like to send, in milliseconds:
	// 10 to 60000. The slower of this and the peer's receive interval is used. Default: 300.
	//
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	TransmitInterval *uint32 `json:"transmitInterval,omitempty"`

	// DetectMultiplier is the number of packets in a row that may be missing before the session is down: 2 to 255.
	// With an interval of 300 ms and a multiplier of 3, a dead peer is noticed after 900 ms. Default: 3.
	//
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=255
	DetectMultiplier *uint32 `json:"detectMultiplier,omitempty"`

	// EchoInterval is the time between two echo packets, sent and received, in milliseconds: 10 to 60000. It matters
	// only with echoMode. Default: 50.
	//
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	EchoInterval *uint32 `json:"echoInterval,omitempty"`

	// EchoMode adds echo packets, which the peer's forwarding plane sends straight back (RFC 5880, section 6.4), and so
	// tests it too. IPv4 only: it cannot be used with a peer that is offered IPv6 addresses. Default: false.
	//
	// +optional
	EchoMode *bool `json:"echoMode,omitempty"`

	// PassiveMode makes the node wait for the peer's first control packet instead of sending its own at once
	// (RFC 5880, section 6.1). Default: false.
	//
	// +optional
	PassiveMode *bool `json:"passiveMode,omitempty"`

	// MinimumTTL is the lowest TTL with which a packet of a multihop session may arrive: 1 to 254. Packets that came
	// over more hops than 255 minus this are dropped (RFC 5883, section 5). Default: 254.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=254
	MinimumTTL *uint32 `json:"minimumTtl,omitempty"`
}

// BFDProfileStatus is what became of the profile.
type BFDProfileStatus struct {
	// Conditions say whether the object is in force. Valid is False, with what is wrong as its message, where it has a
	// mistake that was not refused when it was applied, such as a reference to what does not exist any more.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BFDProfileList is a list of BFDProfiles.
//
// +kubebuilder:object:root=true
type BFDProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BFDProfile `json:"items"`
}
