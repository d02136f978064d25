package main

import (
	"testing"

	"github.com/go-kit/log"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

func newWorld(t *testing.T, objects ...client.Object) world {
	t.Helper()
	kinds, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientBuilder().WithScheme(kinds).WithObjects(objects...).Build()
	return world{logger: log.NewNopLogger(), stored: api, services: api, namespace: "metallb-system"}
}

func TestWhoLosesAddresses(t *testing.T) {
	classed := func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = new("example.com/other") }
	w := newWorld(t,
		service("first", 0, holding("192.0.2.1", "blue")), service("second", 1, holding("192.0.2.2", "blue")), service("waiting", 2),
		service("other", 3, holding("192.0.2.3", "blue"), classed), service("choosy", 4, holding("192.0.2.4", "blue"), annotated("metallb.io/address-pool", "blue")),
	)
	for name, tc := range map[string]struct {
		pools []client.Object
		want  []string
	}{
		"nobody, where the pools stay":                       {[]client.Object{pool("blue", "192.0.2.0/24")}, nil},
		"nobody, where the addresses move to another pool":   {[]client.Object{pool("blue", "192.0.2.4/32"), pool("green", "192.0.2.0-192.0.2.3")}, nil},
		"who wants the pool that they move from":             {[]client.Object{pool("green", "192.0.2.0/24")}, []string{"choosy"}},
		"those outside of a pool that has shrunk":            {[]client.Object{pool("blue", "192.0.2.2/31", "192.0.2.4/32")}, []string{"first"}},
		"all who have any, where the last pool goes":         {nil, []string{"choosy", "first", "second"}},
		"nobody, while it is not known what a pool was like": {[]client.Object{pool("blue", "nonsense")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var o config.Objects
			for _, p := range tc.pools {
				o.Pools = append(o.Pools, *p.(*v1beta1.IPAddressPool))
			}
			c, _ := config.Parse(o)
			var got []string
			for _, key := range w.Losing(t.Context(), c) {
				got = append(got, key.Name)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("losers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheWorldIsTheConfigurationInOurNamespaceAndTheLabelsOfAll(t *testing.T) {
	at := func(namespace string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace, Name: "x"} }
	labelled := metav1.ObjectMeta{Name: "x", Labels: map[string]string{"rack": "a"}}
	elsewhere := pool("blue", "192.0.2.0/24")
	elsewhere.Namespace = "default"
	got, err := newWorld(t, elsewhere, pool("green", "198.51.100.0/24"),
		&v1beta1.L2Advertisement{ObjectMeta: at("metallb-system")}, &v1beta1.BGPAdvertisement{ObjectMeta: at("metallb-system")},
		&v1beta2.BGPPeer{ObjectMeta: at("metallb-system")}, &v1beta1.BFDProfile{ObjectMeta: at("metallb-system")},
		&v1beta1.Community{ObjectMeta: at("metallb-system")}, &v1beta1.Community{ObjectMeta: at("default")},
		&corev1.Node{ObjectMeta: labelled}, &corev1.Namespace{ObjectMeta: labelled},
	).Objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counts := []int{len(got.Pools), len(got.L2Advertisements), len(got.BGPAdvertisements), len(got.Peers), len(got.BFDProfiles), len(got.Communities)}
	if diff := cmp.Diff([]int{1, 1, 1, 1, 1, 1}, counts); diff != "" {
		t.Errorf("how many of each kind (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]lb.Node{{Name: "x", Labels: labelled.Labels}}, got.Nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]config.Namespace{{Name: "x", Labels: labelled.Labels}}, got.Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}
