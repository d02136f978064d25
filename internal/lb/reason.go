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
)

// ConfigurationError is the reason of a condition that carries problems.
const ConfigurationError Reason = "ConfigurationError"
