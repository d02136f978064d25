package kube

import (
	"github.com/go-kit/log"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// ServiceBGPStatuses says, in one ServiceBGPStatus for each Service that this node
// advertises, to which peers it does.
type ServiceBGPStatuses struct {
	*statusObjects[v1beta1.ServiceBGPStatusStatus]
}

// NewServiceBGPStatuses returns the keeper of the objects of one node.
func NewServiceBGPStatuses(l log.Logger, c cluster.Cluster, namespace, pod string, node lb.NodeName) *ServiceBGPStatuses {
	return &ServiceBGPStatuses{newStatusObjects(l, c, namespace, pod, node, statusKind[v1beta1.ServiceBGPStatusStatus]{
		name:   "ServiceBGPStatus",
		object: func() client.Object { return &v1beta1.ServiceBGPStatus{} },
		status: func(o client.Object) *v1beta1.ServiceBGPStatusStatus { return &o.(*v1beta1.ServiceBGPStatus).Status },
	})}
}

// Advertised notes that this node offers the service's routes to the peers, which are
// sorted. It does not block.
func (s *ServiceBGPStatuses) Advertised(key lb.ServiceKey, peers []lb.PeerName) {
	status := v1beta1.ServiceBGPStatusStatus{Node: string(s.node), ServiceName: key.Name, ServiceNamespace: key.Namespace}
	for _, p := range peers {
		status.Peers = append(status.Peers, string(p))
	}
	s.say(s.nameOf(key), serviceLabels(key), status)
}

// Withdrawn notes that this node does not offer the service any more. It does not block.
func (s *ServiceBGPStatuses) Withdrawn(key lb.ServiceKey) { s.unsay(s.nameOf(key)) }

func (s *ServiceBGPStatuses) nameOf(key lb.ServiceKey) string {
	return nameOf("bgp-", string(s.node)+" "+key.String())
}
