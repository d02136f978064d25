package kube

import (
	"github.com/go-kit/log"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// ServiceL2Statuses says, in one ServiceL2Status for each Service, that this node
// announces it. The name of the object follows from the Service alone, so there is
// never more than one: who takes a service over replaces the object of who had it.
type ServiceL2Statuses struct {
	*statusObjects[v1beta1.ServiceL2StatusStatus]
}

// NewServiceL2Statuses returns the keeper of the objects of one node.
func NewServiceL2Statuses(l log.Logger, c cluster.Cluster, namespace, pod string, node lb.NodeName) *ServiceL2Statuses {
	return &ServiceL2Statuses{newStatusObjects(l, c, namespace, pod, node, statusKind[v1beta1.ServiceL2StatusStatus]{
		name:   "ServiceL2Status",
		object: func() client.Object { return &v1beta1.ServiceL2Status{} },
		status: func(o client.Object) *v1beta1.ServiceL2StatusStatus { return &o.(*v1beta1.ServiceL2Status).Status },
	})}
}

// Announced notes that this node announces the service: on the given links, or on all
// if there are none. It does not block.
func (s *ServiceL2Statuses) Announced(key lb.ServiceKey, links []string) {
	status := v1beta1.ServiceL2StatusStatus{Node: string(s.node), ServiceName: key.Name, ServiceNamespace: key.Namespace}
	for _, name := range links {
		status.Interfaces = append(status.Interfaces, v1beta1.InterfaceInfo{Name: name})
	}
	s.say(l2StatusName(key), serviceLabels(key), status)
}

// Withdrawn notes that this node does not announce the service any more. It does not block.
func (s *ServiceL2Statuses) Withdrawn(key lb.ServiceKey) { s.unsay(l2StatusName(key)) }

func l2StatusName(key lb.ServiceKey) string { return nameOf("l2-", key.String()) }

func serviceLabels(key lb.ServiceKey) func() map[string]string {
	return func() map[string]string {
		return map[string]string{labelServiceName: key.Name, labelServiceNamespace: key.Namespace}
	}
}
