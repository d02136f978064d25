package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BGPSessionState says how one node's session with one router goes, and why it is down where it is. It is Herald's own
// kind, with the fields of the kind of that name in the group frrk8s.metallb.io, and more. Herald writes one for each
// BGPPeer and each node that it selects; it carries the labels metallb.io/node, metallb.io/peer (as status.peer, with
// dashes for colons) and metallb.io/vrf, by which it can be found.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=bgpsessionstates
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="BGPPeer",type=string,JSONPath=`.status.bgpPeer`
// +kubebuilder:printcolumn:name="Peer",type=string,JSONPath=`.status.peer`
// +kubebuilder:printcolumn:name="VRF",type=string,JSONPath=`.status.vrf`
// +kubebuilder:printcolumn:name="BGP",type=string,JSONPath=`.status.bgpStatus`
// +kubebuilder:printcolumn:name="BFD",type=string,JSONPath=`.status.bfdStatus`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="Prefixes",type=integer,priority=1,JSONPath=`.status.prefixesAdvertised`
// +kubebuilder:printcolumn:name="Since",type=date,priority=1,JSONPath=`.status.since`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type BGPSessionState struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Status BGPSessionStateStatus `json:"status,omitempty"`
}

// BGPSessionStateStatus is what is so now.
type BGPSessionStateStatus struct {
	// Node is the name of the node that holds the session.
	//
	// +optional
	Node string `json:"node,omitempty"`

	// BGPPeer is the name of the BGPPeer that asks for the session.
	//
	// +optional
	BGPPeer string `json:"bgpPeer,omitempty"`

	// Peer is the router's address, or the network interface that it is found behind.
	//
	// +optional
	Peer string `json:"peer,omitempty"`

	// VRF is the name of the VRF that the session runs in. Empty is none.
	//
	// +optional
	VRF string `json:"vrf,omitempty"`

	// BGPStatus is the state of the session (RFC 4271, section 8.2.2): Idle, Connect, Active, OpenSent, OpenConfirm, or
	// Established, in which routes are exchanged.
	//
	// +optional
	BGPStatus string `json:"bgpStatus,omitempty"`

	// Since is when the session came into that state.
	//
	// +optional
	Since *metav1.Time `json:"since,omitempty"`

	// Reason is why the session is not established, in one word, such as connectionRefused, wrongASN or
	// holdTimerExpired. Empty while it is.
	//
	// +optional
	Reason string `json:"reason,omitempty"`

	// Message says in words what ended or hindered the session last. It stays when the session is up again.
	//
	// +optional
	Message string `json:"message,omitempty"`

	// Problem is what this node finds wrong with the BGPPeer, which is in force then as it was when it was valid last; where
	// the node has never seen it valid, there is no session. Empty where nothing is wrong.
	//
	// +optional
	Problem string `json:"problem,omitempty"`

	// PrefixesAdvertised is the number of routes that the router holds from this node.
	//
	// +optional
	PrefixesAdvertised int32 `json:"prefixesAdvertised"`

	// BFDStatus is the state of the BFD session that watches the path (RFC 5880, section 6.2): AdminDown, Down, Init or
	// Up. N/A where there is none.
	//
	// +optional
	BFDStatus string `json:"bfdStatus,omitempty"`

	// BFDDiagnostic is why the BFD session went down last, as this node saw it (RFC 5880, section 4.1).
	//
	// +optional
	BFDDiagnostic string `json:"bfdDiagnostic,omitempty"`

	// BFDRemoteDiagnostic is why it went down last, as the router saw it.
	//
	// +optional
	BFDRemoteDiagnostic string `json:"bfdRemoteDiagnostic,omitempty"`

	// BFDTransmitInterval is the time between two control packets that this node sends, as both ends settled on, in
	// milliseconds.
	//
	// +optional
	BFDTransmitInterval int32 `json:"bfdTransmitInterval,omitempty"`

	// BFDDetectionTime is the time without a packet after which this node takes the router for dead, as both ends settled
	// on, in milliseconds.
	//
	// +optional
	BFDDetectionTime int32 `json:"bfdDetectionTime,omitempty"`
}

// BGPSessionStateList is a list of BGPSessionStates.
//
// +kubebuilder:object:root=true
type BGPSessionStateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BGPSessionState `json:"items"`
}
