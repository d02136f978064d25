package kube_test

import (
	"context"
	"maps"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

func in(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// cluster is one with objects of ours in our namespace and in another.
func cluster(t *testing.T) *fake.ClientBuilder {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&v1beta1.IPAddressPool{ObjectMeta: in("metallb-system", "blue")},
		&v1beta1.IPAddressPool{ObjectMeta: in("default", "stray")},
		&v1beta1.L2Advertisement{ObjectMeta: in("metallb-system", "lan")},
		&v1beta1.L2Advertisement{ObjectMeta: in("default", "stray")},
		&v1beta2.BGPPeer{ObjectMeta: in("metallb-system", "tor")},
		&v1beta2.BGPPeer{ObjectMeta: in("default", "stray")},
		&v1beta1.BGPAdvertisement{ObjectMeta: in("metallb-system", "wan")},
		&v1beta1.BFDProfile{ObjectMeta: in("metallb-system", "fast")},
		&v1beta1.Community{ObjectMeta: in("metallb-system", "ours")},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"stage": "live"}}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a", Labels: map[string]string{"zone": "z1"}}},
	)
}

func TestTheConfigurationIsThatOfOurNamespace(t *testing.T) {
	c := cluster(t).Build()
	pools, err := kube.Pools(t.Context(), c, "metallb-system")
	if err != nil {
		t.Fatal(err)
	}
	ads, err := kube.Configuration(t.Context(), c, "metallb-system", "node-a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]config.Namespace{{Name: "shop", Labels: map[string]string{"stage": "live"}}}, pools.Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]lb.Node{{Name: "node-a", Labels: map[string]string{"zone": "z1"}}}, ads.Nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	for _, o := range []config.Objects{pools, ads} {
		if len(o.Pools) != 1 || o.Pools[0].Name != "blue" {
			t.Errorf("pools %v, want blue alone", o.Pools)
		}
	}
	if len(ads.L2Advertisements) != 1 || ads.L2Advertisements[0].Name != "lan" {
		t.Errorf("advertisements %v, want lan alone", ads.L2Advertisements)
	}
	if len(ads.Peers) != 1 || ads.Peers[0].Name != "tor" || len(ads.BGPAdvertisements) != 1 || len(ads.BFDProfiles) != 1 || len(ads.Communities) != 1 {
		t.Errorf("peers %v, advertisements %v, profiles %v, communities %v, want one of each", ads.Peers, ads.BGPAdvertisements, ads.BFDProfiles, ads.Communities)
	}
	if ads.Node != "node-a" {
		t.Errorf("read for node %q", ads.Node)
	}
}

func TestWhatCannotBeListedIsNamed(t *testing.T) {
	for kind, list := range map[string]client.ObjectList{
		"IPAddressPools":    &v1beta1.IPAddressPoolList{},
		"L2Advertisements":  &v1beta1.L2AdvertisementList{},
		"BGPPeers":          &v1beta2.BGPPeerList{},
		"BGPAdvertisements": &v1beta1.BGPAdvertisementList{},
		"BFDProfiles":       &v1beta1.BFDProfileList{},
		"Communities":       &v1beta1.CommunityList{},
		"Namespaces":        &corev1.NamespaceList{},
		"Nodes":             &corev1.NodeList{},
	} {
		c := cluster(t).WithInterceptorFuncs(interceptor.Funcs{List: refuse(list)}).Build()
		_, poolsErr := kube.Pools(t.Context(), c, "metallb-system")
		_, adsErr := kube.Configuration(t.Context(), c, "metallb-system", "node-a")
		want := "list " + kind + ": no"
		for _, err := range []error{poolsErr, adsErr} {
			if err != nil && err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
		}
		if poolsErr == nil && adsErr == nil {
			t.Errorf("no error though %s cannot be listed", kind)
		}
	}
}

type refusal struct{}

func (refusal) Error() string { return "no" }

// refuse lists everything but one kind.
func refuse(kind client.ObjectList) func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
	return func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if reflect.TypeOf(list) == reflect.TypeOf(kind) {
			return refusal{}
		}
		return c.List(ctx, list, opts...)
	}
}

func TestTheCacheKeepsNothingThatIsNeverLookedAt(t *testing.T) {
	strip := kube.CacheOptions("metallb-system", kube.ControllerReporter("")).DefaultTransform
	managed := metav1.ObjectMeta{Name: "x", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}}
	node, err := strip(&corev1.Node{ObjectMeta: managed, Status: corev1.NodeStatus{Images: []corev1.ContainerImage{{SizeBytes: 1}}}})
	if n := node.(*corev1.Node); err != nil || n.Name != "x" || n.ManagedFields != nil || n.Status.Images != nil {
		t.Errorf("node kept as %+v, %v", n, err)
	}
	svc, err := strip(&corev1.Service{ObjectMeta: managed})
	if s := svc.(*corev1.Service); err != nil || s.Name != "x" || s.ManagedFields != nil {
		t.Errorf("service kept as %+v, %v", s, err)
	}
}

func TestASpeakersCacheKeepsOfServicesAndEndpointsWhatDecides(t *testing.T) {
	transform := func(obj client.Object) client.Object {
		for o, by := range kube.CacheOptions("metallb-system", kube.SpeakerReporter("", "node-a")).ByObject {
			if reflect.TypeOf(o) == reflect.TypeOf(obj) {
				out, err := by.Transform(obj)
				if err != nil {
					t.Fatal(err)
				}
				return out.(client.Object)
			}
		}
		t.Fatalf("no transform of %T", obj)
		return nil
	}
	ours := map[string]string{"metallb.io/allow-shared-ip": "key", "metallb.universe.tf/address-pool": "blue"}
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}
	maps.Copy(svc.Annotations, ours)
	if diff := cmp.Diff(ours, transform(svc).GetAnnotations()); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	node, ready := "node-a", true
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web", "app": "web"}},
		Endpoints: []discoveryv1.Endpoint{{
			NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			Addresses: []string{"10.0.0.1"}, TargetRef: &corev1.ObjectReference{Name: "web-x"},
		}},
	}
	want := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Endpoints:  []discoveryv1.Endpoint{{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}
	if diff := cmp.Diff(want, transform(slice)); diff != "" {
		t.Errorf("slice (-want +got):\n%s", diff)
	}
	status := &v1beta1.ServiceBGPStatus{ObjectMeta: metav1.ObjectMeta{Name: "x", UID: "4711", Labels: map[string]string{"a": "b"}}}
	if got := transform(status); got.GetUID() != "4711" || got.GetLabels() != nil {
		t.Errorf("status kept as %+v", got)
	}
}
