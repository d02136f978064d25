package v1beta1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPPeer is the older form of a BGPPeer, with its fields under the same names. It is stored as v1beta2.
//
// +kubebuilder:object:root=true
// +kubebuilder:deprecatedversion:warning="v1beta1 is deprecated, please use v1beta2"
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=bgppeers
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.spec.peerAddress`
// +kubebuilder:printcolumn:name="ASN",type=string,JSONPath=`.spec.peerASN`
// +kubebuilder:printcolumn:name="BFD Profile",type=string,JSONPath=`.spec.bfdProfile`
// +kubebuilder:printcolumn:name="Multi Hops",type=string,JSONPath=`.spec.ebgpMultiHop`
// +kubebuilder:printcolumn:name="Established",type=string,JSONPath=`.status.established`
// +kubebuilder:printcolumn:name="Problem",type=string,JSONPath=`.status.problem`
type BGPPeer struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BGPPeerSpec   `json:"spec"`
	Status BGPPeerStatus `json:"status,omitempty"`
}

// BGPPeerSpec says who the router is, who we are to it, and how the session is kept.
//
// +kubebuilder:validation:XValidation:rule=`(has(self.peerASN) && self.peerASN != 0) != has(self.dynamicASN)`,message="one of peerASN and dynamicASN must be set, and not both"
// +kubebuilder:validation:XValidation:rule=`(has(self.peerAddress) && self.peerAddress != "") != (has(self.interface) && self.interface != "")`,message="one of peerAddress and interface must be set, and not both"
// +kubebuilder:validation:XValidation:rule=`!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !has(self.peerASN) || self.peerASN != self.myASN`,message="ebgpMultiHop is for external peers: peerASN must differ from myASN"
// +kubebuilder:validation:XValidation:rule=`!has(self.ttlSecurity) || !self.ttlSecurity || !has(self.ebgpMultiHop) || !self.ebgpMultiHop`,message="ttlSecurity and ebgpMultiHop are mutually exclusive: ttlSecurity is for a router that is one hop away"
// +kubebuilder:validation:XValidation:rule=`!has(self.password) || self.password == "" || !has(self.passwordSecret) || !has(self.passwordSecret.name) || self.passwordSecret.name == ""`,message="password and passwordSecret are mutually exclusive"
// +kubebuilder:validation:XValidation:rule=`!has(self.holdTime) || !has(self.keepaliveTime) || !self.holdTime.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$") || !self.keepaliveTime.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$") || duration(self.keepaliveTime) <= duration(self.holdTime)`,message="keepaliveTime must not be longer than holdTime"
type BGPPeerSpec struct {
	// MyASN is the autonomous system number of our end of the session: 1 to 4294967295, such as 64512.
	//
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	// +kubebuilder:validation:XValidation:rule=`self != 0`,message="missing local ASN: myASN must be 1 to 4294967295"
	MyASN uint32 `json:"myASN"`

	// PeerASN is the autonomous system number of the router: 1 to 4294967295. Equal to myASN, the session is an
	// internal one.
	//
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	// +kubebuilder:validation:XValidation:rule=`self != 0`,message="missing peer ASN: peerASN must be 1 to 4294967295"
	PeerASN uint32 `json:"peerASN"`

	// PeerAddress is the router's address, IPv4 or IPv6, such as "192.0.2.1".
	//
	// +kubebuilder:validation:XValidation:rule=`isIP(self)`,message="invalid BGPPeer address: peerAddress must be an IP address such as 192.0.2.1"
	PeerAddress string `json:"peerAddress"`

	// SourceAddress is the node's own address that the session comes from. Default: the one that the node's routes
	// choose.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule=`self == "" || isIP(self)`,message="sourceAddress must be an IP address such as 192.0.2.10"
	SourceAddress string `json:"sourceAddress,omitempty"`

	// PeerPort is the router's TCP port: 1 to 16384. 0, like leaving it out, means 179.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16384
	PeerPort uint16 `json:"peerPort,omitempty"`

	// HoldTime is how long either side waits for a sign of life before it takes the session down, such as "90s". Parts
	// of a second are dropped; what is left must be 0 (wait for ever) or at least 3s. Default: three times keepaliveTime
	// where that is set, else 90s.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$")`,message="holdTime must be a duration such as 90s"
	// +kubebuilder:validation:XValidation:rule=`!self.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$") || duration(self).getSeconds() == 0 || duration(self).getSeconds() >= 3`,message="holdTime must be 0s or at least 3s"
	HoldTime metav1.Duration `json:"holdTime,omitempty,omitzero"`

	// KeepaliveTime is the time between two signs of life that we send, such as "30s". At most holdTime.
	// Default: a third of the hold time.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$") && duration(self) >= duration("0s")`,message="keepaliveTime must be a duration such as 30s"
	KeepaliveTime metav1.Duration `json:"keepaliveTime,omitempty,omitzero"`

	// RouterID is our BGP identifier, written as an IPv4 address. Default: an IPv4 address of the node.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule=`self == "" || (isIP(self) && ip(self).family() == 4)`,message="routerID must be an IPv4 address such as 192.0.2.10"
	RouterID string `json:"routerID,omitempty"`

	// NodeSelectors limit the nodes that hold a session with this router to those whose labels match any one of the
	// selectors. Empty means all nodes.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self.all(x, self.indexOf(x) == self.lastIndexOf(x))",message="nodeSelectors must not hold the same selector twice"
	// +kubebuilder:validation:MaxItems=128
	NodeSelectors []NodeSelector `json:"nodeSelectors,omitempty"`

	// Password secures the session's TCP connection with an MD5 signature (RFC 2385).
	//
	// +optional
	Password string `json:"password,omitempty"`

	// BFDProfile is the name of the BFDProfile by which the router's death is noticed quickly.
	//
	// +optional
	BFDProfile string `json:"bfdProfile,omitempty"`

	// EBGPMultiHop allows an external router to be more than one hop away. Default: false.
	//
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`

	// The fields below came with v1beta2 or later. The API server drops what a version does not know when it serves an object in
	// that version; they stand here so that whoever reads a peer as v1beta1 and writes it back takes nothing away.
	BGPPeerAdditions `json:",inline"`
}

// BGPPeerAdditions are the fields that v1beta2 has gained, carried through v1beta1. They are explained there.
type BGPPeerAdditions struct {
	// DynamicASN: see v1beta2.
	//
	// +optional
	// +kubebuilder:validation:Enum=internal;external
	DynamicASN string `json:"dynamicASN,omitempty"`

	// LocalASN: see v1beta2.
	//
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	LocalASN uint32 `json:"localASN,omitempty"`

	// Interface: see v1beta2.
	//
	// +optional
	Interface string `json:"interface,omitempty"`

	// ConnectTime: see v1beta2.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$") && duration(self) >= duration("1s") && duration(self) <= duration("65535s") && duration(self).getMilliseconds() % 1000 == 0`,message="connectTime must be 1s to 65535s, in whole seconds"
	ConnectTime *metav1.Duration `json:"connectTime,omitempty"`

	// PasswordSecret: see v1beta2.
	//
	// +optional
	PasswordSecret *corev1.SecretReference `json:"passwordSecret,omitempty"`

	// EnableGracefulRestart: see v1beta2.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="enableGracefulRestart is immutable: delete the BGPPeer and create another"
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`

	// VRF: see v1beta2.
	//
	// +optional
	VRF string `json:"vrf,omitempty"`

	// DisableMP: see v1beta2.
	//
	// +optional
	DisableMP bool `json:"disableMP,omitempty"`

	// DualStackAddressFamily: see v1beta2.
	//
	// +optional
	DualStackAddressFamily bool `json:"dualStackAddressFamily,omitempty"`

	// TTLSecurity: see v1beta2.
	//
	// +optional
	TTLSecurity bool `json:"ttlSecurity,omitempty"`
}

// NodeSelector selects nodes by their labels. A node must match all that is given.
type NodeSelector struct {
	// MatchLabels are labels that a node must have, with their values.
	//
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`

	// MatchExpressions are further conditions on the node's labels.
	//
	// +optional
	MatchExpressions []MatchExpression `json:"matchExpressions,omitempty"`
}

// MatchExpression is a condition on one label of a node.
type MatchExpression struct {
	// Key is the label's name.
	Key string `json:"key"`

	// Operator is In, NotIn, Exists or DoesNotExist.
	Operator string `json:"operator"`

	// Values are those that In and NotIn compare with.
	//
	// +optional
	// +kubebuilder:validation:MinItems=1
	Values []string `json:"values,omitempty"`
}

// BGPPeerStatus says how it goes with the router, over all nodes. Its fields are explained in v1beta2.
type BGPPeerStatus struct {
	// Established: see v1beta2.
	//
	// +optional
	Established string `json:"established,omitempty"`

	// Problem: see v1beta2.
	//
	// +optional
	Problem string `json:"problem,omitempty"`

	// Conditions: see v1beta2.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BGPPeerList is a list of BGPPeers.
//
// +kubebuilder:object:root=true
type BGPPeerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []BGPPeer `json:"items"`
}
