package kube_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/herald-lb/herald/api/v1beta1"
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
	ads, err := kube.Advertisements(t.Context(), c, "metallb-system")
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
}

func TestWhatCannotBeListedIsNamed(t *testing.T) {
	for kind, list := range map[string]client.ObjectList{
		"IPAddressPools":   &v1beta1.IPAddressPoolList{},
		"L2Advertisements": &v1beta1.L2AdvertisementList{},
		"Namespaces":       &corev1.NamespaceList{},
		"Nodes":            &corev1.NodeList{},
	} {
		c := cluster(t).WithInterceptorFuncs(interceptor.Funcs{List: refuse(list)}).Build()
		_, poolsErr := kube.Pools(t.Context(), c, "metallb-system")
		_, adsErr := kube.Advertisements(t.Context(), c, "metallb-system")
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
