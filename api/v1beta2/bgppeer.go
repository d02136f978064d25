package v1beta2

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BGPPeer is a router that the selected nodes hold a BGP session (RFC 4271) with, each node one of its own.
// What is offered over the session is up to the BGPAdvertisements.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
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
	// internal one. Either this or dynamicASN must be set, and not both.
	//
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	PeerASN uint32 `json:"peerASN,omitempty"`

	// DynamicASN takes the router's number from its OPEN message instead: "internal" wants it to be myASN, "external"
	// takes any other. Either this or peerASN must be set, and not both.
	//
	// +optional
	DynamicASN DynamicASN `json:"dynamicASN,omitempty"`

	// LocalASN shows this router another number than myASN, which then appears in its place in the path: 1 to
	// 4294967295. It is meant for moving from one number to another, and for external sessions.
	//
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	LocalASN uint32 `json:"localASN,omitempty"`

	// PeerAddress is the router's address, IPv4 or IPv6, such as "192.0.2.1". Either this or interface must be set, and
	// not both.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule=`self == "" || isIP(self)`,message="invalid BGPPeer address: peerAddress must be an IP address such as 192.0.2.1"
	PeerAddress string `json:"peerAddress,omitempty"`

	// Interface is the node's network interface, such as "eth1", that the router is found behind by its IPv6 link-local
	// address (an unnumbered session). Either this or peerAddress must be set, and not both.
	//
	// +optional
	Interface string `json:"interface,omitempty"`

	// SourceAddress is the node's own address that the session comes from. The node must have it. Default: the one that
	// the node's routes choose.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule=`self == "" || isIP(self)`,message="sourceAddress must be an IP address such as 192.0.2.10"
	SourceAddress string `json:"sourceAddress,omitempty"`

	// PeerPort is the router's TCP port: 1 to 16384. Default: 179.
	//
	// +optional
	// +kubebuilder:default=179
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16384
	PeerPort uint16 `json:"peerPort,omitempty"`

	// HoldTime is how long either side waits for a sign of life before it takes the session down, such as "90s"; the
	// lower of ours and the router's counts. Parts of a second are dropped; what is left must be 0 (wait for ever) or
	// at least 3s. Default: three times keepaliveTime where that is set, else 90s.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$")`,message="holdTime must be a duration such as 90s"
	// +kubebuilder:validation:XValidation:rule=`!self.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$") || duration(self).getSeconds() == 0 || duration(self).getSeconds() >= 3`,message="holdTime must be 0s or at least 3s"
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`

	// KeepaliveTime is the time between two signs of life that we send, such as "30s". At most holdTime.
	// Default: a third of the hold time.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$") && duration(self) >= duration("0s")`,message="keepaliveTime must be a duration such as 30s"
	KeepaliveTime *metav1.Duration `json:"keepaliveTime,omitempty"`

	// ConnectTime is the wait between two attempts to reach the router, in whole seconds: "1s" to "65535s".
	// Default: attempts that follow each other quickly at first, then ever slower.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches("^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$") && duration(self) >= duration("1s") && duration(self) <= duration("65535s") && duration(self).getMilliseconds() % 1000 == 0`,message="connectTime must be 1s to 65535s, in whole seconds"
	ConnectTime *metav1.Duration `json:"connectTime,omitempty"`

	// RouterID is our BGP identifier, written as an IPv4 address such as "192.0.2.10". A node may have another one with
	// each router. Default: an IPv4 address of the node.
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
	NodeSelectors []metav1.LabelSelector `json:"nodeSelectors,omitempty"`

	// Password secures the session's TCP connection with an MD5 signature (RFC 2385). Anybody who may read this object
	// can read it: passwordSecret is the better place. Not both may be set.
	//
	// +optional
	Password string `json:"password,omitempty"`

	// PasswordSecret names a Secret of type kubernetes.io/basic-auth whose key "password" holds the password. It is
	// looked up in Herald's own namespace, whatever namespace is given here. Not to be set together with password.
	//
	// +optional
	PasswordSecret corev1.SecretReference `json:"passwordSecret,omitempty,omitzero"`

	// BFDProfile is the name of the BFDProfile by which the router's death is noticed quickly. Without one, there is no
	// BFD with this router.
	//
	// +optional
	BFDProfile string `json:"bfdProfile,omitempty"`

	// EnableGracefulRestart keeps the routes in place at the router while Herald restarts on the node (RFC 4724), as
	// long as the router supports it. It cannot be changed from true to false or back: make a new BGPPeer for that.
	// Default: false.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="enableGracefulRestart is immutable: delete the BGPPeer and create another"
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`

	// EBGPMultiHop allows an external router to be more than one hop away. It makes no sense for an internal one, and
	// is refused there. Default: false.
	//
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`

	// TTLSecurity is Herald's own: it drops what claims to come from the router but has crossed another one on its way,
	// which keeps strangers from breaking the session (RFC 5082). The router must do the same, as its packets need a TTL
	// of 255: "neighbor … ttl-security hops 1". It goes with a router that is one hop away, so not with ebgpMultiHop.
	// Default: false.
	//
	// +optional
	TTLSecurity bool `json:"ttlSecurity,omitempty"`

	// VRF is the name of the Linux VRF device on the node in which the router is reached. Default: none.
	//
	// +optional
	VRF string `json:"vrf,omitempty"`

	// DisableMP has no effect.
	//
	// Deprecated: a session carries the address family of its own addresses; dualStackAddressFamily adds the other.
	//
	// +optional
	// +kubebuilder:default=false
	DisableMP bool `json:"disableMP,omitempty"`

	// DualStackAddressFamily offers IPv4 and IPv6 routes alike over the session, whichever family it runs over itself.
	// Default: false, which offers routes of the session's own family.
	//
	// +optional
	// +kubebuilder:default=false
	DualStackAddressFamily bool `json:"dualStackAddressFamily,omitempty"`
}

// DynamicASN says which numbers a router may come with.
//
// +kubebuilder:validation:Enum=internal;external
type DynamicASN string

// The values of DynamicASN.
const (
	DynamicASNInternal DynamicASN = "internal"
	DynamicASNExternal DynamicASN = "external"
)

// BGPPeerStatus says how it goes with the router, over all nodes. What each node has to say stands in its
// BGPSessionState.
type BGPPeerStatus struct {
	// Established is how many sessions with the router are established, of as many as there should be, such as "2/3":
	// one for each node that nodeSelectors select and that runs a speaker. What a node says counts while it is ready.
	//
	// +optional
	Established string `json:"established,omitempty"`

	// Problem says in words what keeps the peer, or the session of one of the nodes, from working. Empty where nothing
	// does.
	//
	// +optional
	Problem string `json:"problem,omitempty"`

	// Conditions are Established, which is True while all sessions are that there should be, and else says of each node
	// why its session is not; and Valid, which is False, with what is wrong as its message, where the object has a
	// mistake that was not refused when it was applied, such as a reference to what does not exist any more.
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
