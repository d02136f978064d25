package lb

import "strings"

// ServiceKey names a Service: its namespace and its name.
type ServiceKey struct {
	Namespace string
	Name      string
}

// String returns "namespace/name", the form used in logs, metrics and events.
func (k ServiceKey) String() string { return k.Namespace + "/" + k.Name }

// Compare orders keys by namespace, then by name.
func (k ServiceKey) Compare(o ServiceKey) int {
	if c := strings.Compare(k.Namespace, o.Namespace); c != 0 {
		return c
	}
	return strings.Compare(k.Name, o.Name)
}

// NodeName is the name of a Kubernetes Node, which is also the name of the
// speaker that runs there in the memberlist ring.
type NodeName string

// PoolName is the name of an IPAddressPool.
type PoolName string
