package kube_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

var byValue = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func TestServicesThatAreOurs(t *testing.T) {
	class := func(name string) *string { return &name }
	for name, tc := range map[string]struct {
		kind  corev1.ServiceType
		class *string
		flag  string
		want  bool
	}{
		"a load balancer without a class is, where we have none":  {corev1.ServiceTypeLoadBalancer, nil, "", true},
		"a load balancer with a class is not, where we have none": {corev1.ServiceTypeLoadBalancer, class("herald"), "", false},
		"a load balancer of our class is":                         {corev1.ServiceTypeLoadBalancer, class("herald"), "herald", true},
		"a load balancer of another class is not":                 {corev1.ServiceTypeLoadBalancer, class("cloud"), "herald", false},
		"a load balancer without a class is not, where we have one": {
			corev1.ServiceTypeLoadBalancer, nil, "herald", false,
		},
		"a load balancer of the empty class is nobody's": {corev1.ServiceTypeLoadBalancer, class(""), "", false},
		"a cluster IP is not":                            {corev1.ServiceTypeClusterIP, nil, "", false},
		"a node port is not":                             {corev1.ServiceTypeNodePort, nil, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			svc := &corev1.Service{Spec: corev1.ServiceSpec{Type: tc.kind, LoadBalancerClass: tc.class}}
			if got := kube.Handled(svc, tc.flag); got != tc.want {
				t.Errorf("handled: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestAServiceIsReadInFull(t *testing.T) {
	created := metav1.NewTime(time.Date(2026, 7, 20, 9, 0, 0, 0, time.UTC))
	prefer := corev1.IPFamilyPolicyPreferDualStack
	got := kube.Service(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web", UID: "4711", CreationTimestamp: created, Labels: map[string]string{"tier": "front"},
			Annotations: map[string]string{
				"metallb.io/address-pool":           " blue ",
				"metallb.io/loadBalancerIPs":        "192.0.2.7, 2001:db8::7",
				"metallb.io/allow-shared-ip":        "key",
				"metallb.io/ip-allocated-from-pool": "green",
			},
		},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.10", ClusterIPs: []string{"10.96.0.10", "fd00::10"}, IPFamilyPolicy: &prefer,
			ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
			Selector:              map[string]string{"b": "2", "a": "1"},
			Ports:                 []corev1.ServicePort{{Port: 80, NodePort: 30080}, {Protocol: corev1.ProtocolUDP, Port: 53}},
		},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{
			Ingress: []corev1.LoadBalancerIngress{{IP: "2001:db8::9"}, {IP: "192.0.2.9"}, {Hostname: "cloud.example.com"}},
		}},
	})
	want := lb.Service{
		Key: lb.ServiceKey{Namespace: "shop", Name: "web"}, UID: "4711", Created: created.Time, Labels: map[string]string{"tier": "front"},
		ClusterIPs: addrs("10.96.0.10", "fd00::10"), FamilyPolicy: lb.PreferDualStack,
		Ports:        []lb.Port{{Protocol: "TCP", Number: 80}, {Protocol: "UDP", Number: 53}},
		LocalTraffic: true, PodSelector: "a=1,b=2",
		Request: lb.Request{Addresses: addrs("192.0.2.7", "2001:db8::7"), Pool: "blue", SharingKey: "key", HasSharingKey: true},
		Held:    addrs("2001:db8::9", "192.0.2.9"), HeldFrom: "green",
	}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
}

func TestClusterIPsOfOlderObjects(t *testing.T) {
	for name, tc := range map[string]struct {
		spec corev1.ServiceSpec
		want []netip.Addr
	}{
		"the one cluster IP counts where there is no list": {corev1.ServiceSpec{ClusterIP: "10.96.0.10"}, addrs("10.96.0.10")},
		"a headless service has none":                      {corev1.ServiceSpec{ClusterIP: "None", ClusterIPs: []string{"None"}}, nil},
		"a service that was given none yet has none":       {corev1.ServiceSpec{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := kube.Service(&corev1.Service{Spec: tc.spec})
			if diff := cmp.Diff(tc.want, got.ClusterIPs, byValue); diff != "" || got.FamilyPolicy != lb.SingleStack {
				t.Errorf("policy %s, cluster IPs (-want +got):\n%s", got.FamilyPolicy, diff)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	const current, legacy = "metallb.io/", "metallb.universe.tf/"
	for name, tc := range map[string]struct {
		annotations    map[string]string
		loadBalancerIP string
		want           lb.Request
	}{
		"a service may ask for nothing": {},
		"annotations may carry the old prefix, which is noted": {
			annotations: map[string]string{legacy + "loadBalancerIPs": "192.0.2.7", legacy + "address-pool": "blue", legacy + "allow-shared-ip": "key"},
			want: lb.Request{
				Addresses: addrs("192.0.2.7"), Pool: "blue", SharingKey: "key", HasSharingKey: true,
				Deprecated: []string{legacy + "address-pool", legacy + "allow-shared-ip", legacy + "loadBalancerIPs"},
			},
		},
		"of both prefixes the current one wins": {
			annotations: map[string]string{legacy + "address-pool": "blue", current + "address-pool": "green"},
			want:        lb.Request{Pool: "green", Deprecated: []string{legacy + "address-pool"}},
		},
		"even if it says nothing": {
			annotations: map[string]string{legacy + "allow-shared-ip": "key", current + "allow-shared-ip": ""},
			want:        lb.Request{HasSharingKey: true, Deprecated: []string{legacy + "allow-shared-ip"}},
		},
		"spec.loadBalancerIP is a request": {
			loadBalancerIP: "192.0.2.7",
			want:           lb.Request{Addresses: addrs("192.0.2.7")},
		},
		"an empty annotation asks for nothing": {
			annotations: map[string]string{current + "loadBalancerIPs": " "},
		},
		"and leaves spec.loadBalancerIP alone": {
			annotations: map[string]string{current + "loadBalancerIPs": ""}, loadBalancerIP: "192.0.2.7",
			want: lb.Request{Addresses: addrs("192.0.2.7")},
		},
		"asking in both ways is invalid": {
			annotations: map[string]string{current + "loadBalancerIPs": "192.0.2.7"}, loadBalancerIP: "192.0.2.7",
			want: lb.Request{Invalid: "annotation metallb.io/loadBalancerIPs and spec.loadBalancerIP are both set: set one of them"},
		},
		"what is invalid is named by where it stands": {
			annotations: map[string]string{current + "loadBalancerIPs": "192.0.2.7;192.0.2.8", current + "address-pool": "blue"},
			want:        lb.Request{Pool: "blue", Invalid: `metallb.io/loadBalancerIPs: invalid IP address "192.0.2.7;192.0.2.8"`},
		},
		"be it spec.loadBalancerIP": {
			loadBalancerIP: "web.example.com",
			want:           lb.Request{Invalid: `spec.loadBalancerIP: invalid IP address "web.example.com"`},
		},
		"two addresses of one family are invalid": {
			annotations: map[string]string{current + "loadBalancerIPs": "192.0.2.7,192.0.2.8"},
			want:        lb.Request{Invalid: `metallb.io/loadBalancerIPs: "192.0.2.7,192.0.2.8": want one address, or one of each IP family`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			svc := &corev1.Service{Spec: corev1.ServiceSpec{LoadBalancerIP: tc.loadBalancerIP}}
			svc.Annotations = tc.annotations
			if diff := cmp.Diff(tc.want, kube.Service(svc).Request, byValue); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzParseAddresses: what is accepted is what was written, item by item.
func FuzzParseAddresses(f *testing.F) {
	for _, text := range []string{"192.0.2.7", " 192.0.2.7 , 2001:db8::7", "::ffff:192.0.2.7,2001:db8::7", "192.0.2.7,192.0.2.8", "a,b,c", ",", "", "fe80::1%eth0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := kube.ParseAddresses(text)
		if err != nil {
			return
		}
		parts := strings.Split(text, ",")
		if len(got) != len(parts) || len(got) > 2 || len(got) == 2 && got[0].Is4() == got[1].Is4() {
			t.Fatalf("ParseAddresses(%q) = %v", text, got)
		}
		for i, part := range parts {
			want, err := netip.ParseAddr(strings.TrimSpace(part))
			if err != nil || want.Unmap() != got[i] || got[i].Zone() != "" {
				t.Fatalf("ParseAddresses(%q)[%d] = %s, want %s, %v", text, i, got[i], want, err)
			}
		}
		if again, err := kube.ParseAddresses(lb.Join(got)); err != nil || lb.Join(again) != lb.Join(got) {
			t.Fatalf("ParseAddresses(%q) = %v, which is read as %v, %v", text, got, again, err)
		}
	})
}
