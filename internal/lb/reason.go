package lb

// Reason says why something is as it is. Each is spelled here once, and appears
// as such in the log, as the reason of an Event, as a metric's label and in status
// conditions.
type Reason string

// Reasons of the controller: what became of a Service's request for an address.
const (
	// IPAllocated: the service was given addresses.
	IPAllocated Reason = "IPAllocated"
	// IPKept: the service holds what it held before.
	IPKept Reason = "IPKept"
	// AllocationFailed: there is no address to be had.
	AllocationFailed Reason = "AllocationFailed"
	// LoadBalancerFailed: the request is malformed.
	LoadBalancerFailed Reason = "LoadBalancerFailed"
	// ClearAssignment: the addresses may not be held any more.
	ClearAssignment Reason = "ClearAssignment"
	// AdditionalAssignFailed: the second family of a PreferDualStack service is not to be had.
	AdditionalAssignFailed Reason = "AdditionalAssignFailed"
	// NotEnoughClusterIPs: RequireDualStack without a cluster IP of each family.
	NotEnoughClusterIPs Reason = "not enough clusterips"
	// NoClusterIPFamily: the service has no cluster IP that names its family.
	NoClusterIPFamily Reason = "noclusterIPsIPFamily"
	// DeprecatedAnnotation: an annotation under the old prefix is in use.
	DeprecatedAnnotation Reason = "deprecatedAnnotation"
	// NotLoadBalancer: the service is not, or no longer, ours to serve.
	NotLoadBalancer Reason = "notLoadBalancer"
)

// Reasons of a speaker: why this node announces a Service, or does not.
const (
	// Announced: this node is the owner and answers.
	Announced Reason = "announced"
	// NotOwner: another node, or none, is the owner.
	NotOwner Reason = "notOwner"
	// NoMatchingAdvertisement: no advertisement brings pool, service and node together.
	NoMatchingAdvertisement Reason = "noMatchingAdvertisement"
	// SharedIPWithServiceSelector: selecting by service is ambiguous for a shared address.
	SharedIPWithServiceSelector Reason = "sharedIPWithServiceSelector"
	// NoAddress: the service holds no address yet.
	NoAddress Reason = "noIPAllocated"
	// NoPool: its address lies in no pool.
	NoPool Reason = "noMatchingPool"
	// AnnounceFailed: this node is the owner, but none of the permitted links is usable.
	AnnounceFailed Reason = "announceFailed"
	// NodeAssigned: the event that names the node which announces.
	NodeAssigned Reason = "nodeAssigned"
	// NodeMisconfigured: a setting of this node keeps addresses from working.
	NodeMisconfigured Reason = "nodeMisconfigured"
)

// Reasons of a speaker: why this node does not advertise a Service over BGP. NotOwner and
// NoMatchingAdvertisement are given here, too.
const (
	// ConflictingAdvertisements: two advertisements differ in localPref for one prefix and peer.
	ConflictingAdvertisements Reason = "conflictingAdvertisements"
	// NodeNetworkUnavailable: the Node's condition NetworkUnavailable is true.
	NodeNetworkUnavailable Reason = "nodeNetworkUnavailable"
	// NodeLabeledExcludeBalancers: the Node carries the label that excludes it.
	NodeLabeledExcludeBalancers Reason = "nodeLabeledExcludeBalancers"
	// NoLocalEndpoints: traffic must stay local, and no endpoint on this node can serve.
	NoLocalEndpoints Reason = "noLocalEndpoints"
	// NoEndpoints: no endpoint anywhere can serve.
	NoEndpoints Reason = "noEndpoints"
	// NoMatchingPeer: no peer that the advertisements name has a session on this node.
	NoMatchingPeer Reason = "noMatchingPeer"
)

// Reasons of a speaker: why it takes an address over, beside those that keep a node from
// announcing.
const (
	// MemberDead: the owner's speaker, or all of its node, does not answer any more.
	MemberDead Reason = "memberDead"
	// MemberLeft: its speaker has ended in good order.
	MemberLeft Reason = "memberLeft"
	// NoUsableLink: its speaker lives, and has no link to announce on.
	NoUsableLink Reason = "noUsableLink"
)

// Reasons of the controller: why nobody announces a Service, beside those that a speaker
// has for not doing it.
const (
	// NoSpeaker: no node that might announce has a speaker that is alive.
	NoSpeaker Reason = "noSpeaker"
	// SessionsDown: nodes offer it to routers, and none of those sessions is established.
	SessionsDown Reason = "sessionsDown"
	// NodeNotReady: who said last that they announce may not be alive.
	NodeNotReady Reason = "nodeNotReady"
)

// BFDProblem is the reason of the event that tells why the path to a router cannot be watched.
const BFDProblem Reason = "bfdProblem"

// SessionEstablished is the reason of the event that tells of a BGP session that came up.
const SessionEstablished Reason = "sessionEstablished"

// Reasons of a speaker: why a BGP session is not established.
const (
	// Connecting: nothing has failed yet.
	Connecting Reason = "connecting"
	// ConnectionRefused: the router does not listen, or not to us.
	ConnectionRefused Reason = "connectionRefused"
	// NoRoute: the kernel knows no way to the router.
	NoRoute Reason = "noRoute"
	// NoAnswer: nothing came back; MD5 signatures that differ look so, too.
	NoAnswer Reason = "noAnswer"
	// PasswordSuspected: no answer on a session with a password.
	PasswordSuspected Reason = "passwordSuspected"
	// WrongASN: the router has another ASN than the one configured.
	WrongASN Reason = "wrongASN"
	// HoldTimerExpired: the router was silent for the hold time.
	HoldTimerExpired Reason = "holdTimerExpired"
	// BFDIsDown: the path's BFD session went down.
	BFDIsDown Reason = "bfdDown"
	// NotificationReceived: the router ended the session, and said why.
	NotificationReceived Reason = "notificationReceived"
	// ConnectionLost: the connection ended without a word.
	ConnectionLost Reason = "connectionLost"
	// NoRouterLearned: no router showed itself yet on the link of an unnumbered session.
	NoRouterLearned Reason = "noRouterLearned"
	// RivalSession: another program of the node holds the one session that the router has
	// with the node's address.
	RivalSession Reason = "rivalSession"
	// SourceAddressMissing: the address to connect from is not on this node.
	SourceAddressMissing Reason = "sourceAddressMissing"
	// ProtocolError: the router sent what BGP does not allow.
	ProtocolError Reason = "protocolError"
)

// SessionUnknown is the reason of the controller for taking a session for down that the node's
// speaker has not told of. NodeNotReady and NoSpeaker are given for sessions, too.
const SessionUnknown Reason = "sessionUnknown"

// Reconciled is the reason of a condition that says that there are no problems.
const Reconciled Reason = "Reconciled"

// ConfigurationError is the reason of a condition that carries problems.
const ConfigurationError Reason = "ConfigurationError"
