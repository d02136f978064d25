package herald

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// crowdCreators is how many clients create the Services of a crowd at the same time.
const crowdCreators = 8

// CreateCrowd creates that many Services in a namespace, each with an endpoint on a node, and returns their addresses once
// all have one: IPv4, one each. Nobody answers at the endpoints: a crowd is announced, and that is all. It needs no node
// ports, of which there are fewer than Services here, and no rules of kube-proxy, whose work would take the machine's cores
// from what is measured.
func CreateCrowd(ctx context.Context, l *lab.Lab, namespace string, count int) (addresses []netip.Addr, err error) {
	created := make(chan error)
	for creator := range crowdCreators {
		go func() {
			var err error
			for n := creator; n < count && err == nil; n += crowdCreators {
				err = createMember(ctx, l, namespace, fmt.Sprintf("crowd-%04d", n))
			}
			created <- err
		}()
	}
	for range crowdCreators {
		err = errors.Join(err, <-created)
	}
	if err != nil {
		return nil, fmt.Errorf("create a crowd of Services: %w", err)
	}
	err = Await(ctx, "addresses of the crowd", func(ctx context.Context) error {
		addresses, err = crowdAddresses(ctx, l, namespace)
		if err == nil && len(addresses) < count {
			err = fmt.Errorf("%d of %d Services have one", len(addresses), count)
		}
		return err
	})
	return addresses, err
}

func createMember(ctx context.Context, l *lab.Lab, namespace, name string) error {
	none, node, port, ready := false, string(l.NodeNames()[0]), int32(8080), true
	_, err := l.Client().CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"service.kubernetes.io/service-proxy-name": "none"}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: &none, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = l.Client().DiscoveryV1().EndpointSlices(namespace).Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, metav1.CreateOptions{})
	return err
}

func crowdAddresses(ctx context.Context, l *lab.Lab, namespace string) (all []netip.Addr, err error) {
	services, err := l.Client().CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range services.Items {
		own, err := AddressesOf(&services.Items[i])
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	return all, nil
}
