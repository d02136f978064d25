// Package config_test checks what the manifests promise to who applies it.
package config_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestRolesReachSecretsByNameAlone(t *testing.T) {
	for _, role := range decoded[*rbacv1.ClusterRole](t) {
		if granted := secretRules(role.Rules); len(granted) > 0 {
			t.Errorf("ClusterRole %s reaches Secrets in all namespaces: %v", role.Name, granted)
		}
	}
	want := map[string][]rbacv1.PolicyRule{
		"controller": {
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
			{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"memberlist"}, Verbs: []string{"get"}},
			{
				APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"metallb-webhook-cert"},
				Verbs: []string{"get", "list", "watch", "update"},
			},
		},
		"pod-lister": {
			{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}},
		},
	}
	got := map[string][]rbacv1.PolicyRule{}
	for _, role := range decoded[*rbacv1.Role](t) {
		got[role.Name] = secretRules(role.Rules)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules on Secrets by Role (-want +got):\n%s", diff)
	}
}

func secretRules(rules []rbacv1.PolicyRule) (found []rbacv1.PolicyRule) {
	for _, rule := range rules {
		if slices.ContainsFunc(rule.Resources, func(r string) bool { return r == "secrets" || r == "*" }) {
			found = append(found, rule)
		}
	}
	return found
}

func TestContainersHaveNoMoreThanTheyNeed(t *testing.T) {
	want := map[string]*corev1.Capabilities{
		"controller": {Drop: []corev1.Capability{"ALL"}},
		"speaker":    {Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_RAW", "SYS_NICE"}},
	}
	got := map[string]*corev1.Capabilities{}
	for _, pod := range pods(t) {
		if pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("pods of %s run without the runtime's seccomp profile", pod.ServiceAccountName)
		}
		for _, container := range pod.Containers {
			got[container.Name] = container.SecurityContext.Capabilities
			checkContainer(t, container)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("capabilities (-want +got):\n%s", diff)
	}
}

func checkContainer(t *testing.T, container corev1.Container) {
	t.Helper()
	if !*container.SecurityContext.ReadOnlyRootFilesystem {
		t.Errorf("%s can write to its root filesystem", container.Name)
	}
	if *container.SecurityContext.AllowPrivilegeEscalation {
		t.Errorf("%s can gain privileges", container.Name)
	}
	if _, limited := container.Resources.Limits[corev1.ResourceCPU]; limited {
		t.Errorf("%s has a CPU limit, which throttles it when it is needed most", container.Name)
	}
}

func TestSpeakerToleratesControlPlaneTaintsAlone(t *testing.T) {
	want := []corev1.Toleration{
		{Key: "node-role.kubernetes.io/control-plane", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: "node-role.kubernetes.io/master", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
	}
	speaker := decoded[*appsv1.DaemonSet](t)[0]
	if diff := cmp.Diff(want, speaker.Spec.Template.Spec.Tolerations); diff != "" {
		t.Errorf("tolerations of the speaker (-want +got):\n%s", diff)
	}
}

func TestMetricsPortKeepsItsName(t *testing.T) {
	for _, pod := range pods(t) {
		ports := pod.Containers[0].Ports
		if !slices.ContainsFunc(ports, func(p corev1.ContainerPort) bool {
			return p.Name == "metricshttps" && p.ContainerPort == 9120
		}) {
			t.Errorf("%s has no port metricshttps 9120, which scrape configurations ask for: %v", pod.Containers[0].Name, ports)
		}
	}
}

// Without these, a cluster that enforces another standard by default would admit no speaker.
func TestNamespaceAdmitsPrivilegedPods(t *testing.T) {
	spaces := decoded[*corev1.Namespace](t)
	if len(spaces) != 1 || spaces[0].Name != "metallb-system" {
		t.Fatalf("the manifest has the namespaces %v, want metallb-system", spaces)
	}
	for _, mode := range []string{"enforce", "audit", "warn"} {
		if got := spaces[0].Labels["pod-security.kubernetes.io/"+mode]; got != "privileged" {
			t.Errorf("Pod Security's %s is %q, want privileged", mode, got)
		}
	}
}

func TestNetworkPoliciesLetThroughToMetricsAndWebhook(t *testing.T) {
	controller := decoded[*appsv1.Deployment](t)[0].Spec.Template
	var open []string
	for _, policy := range decodedFrom[*networkingv1.NetworkPolicy](t, "herald-networkpolicies.yaml") {
		if !finds(t, &policy.Spec.PodSelector, controller.Labels) {
			t.Errorf("NetworkPolicy %s is not about the controller", policy.Name)
		}
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				open = append(open, port.Port.String()+"/"+string(*port.Protocol))
			}
		}
	}
	slices.Sort(open)
	if want := []string{"metricshttps/TCP", "webhook-server/TCP"}; !slices.Equal(want, open) {
		t.Errorf("ports that are let through are %v, want %v", open, want)
	}
	for _, name := range []string{"metricshttps", "webhook-server"} {
		if !slices.ContainsFunc(controller.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == name && p.Protocol != corev1.ProtocolUDP }) {
			t.Errorf("the controller has no port %s", name)
		}
	}
}

func TestWebhookServiceReachesTheControllerAlone(t *testing.T) {
	services := decoded[*corev1.Service](t)
	i := slices.IndexFunc(services, func(s *corev1.Service) bool { return s.Name == "metallb-webhook-service" })
	if i < 0 {
		t.Fatal("the manifest has no Service metallb-webhook-service")
	}
	selector := &metav1.LabelSelector{MatchLabels: services[i].Spec.Selector}
	controller := decoded[*appsv1.Deployment](t)[0].Spec.Template
	if !finds(t, selector, controller.Labels) {
		t.Errorf("it selects %v, and the controller's pods have %v", selector.MatchLabels, controller.Labels)
	}
	if speaker := decoded[*appsv1.DaemonSet](t)[0].Spec.Template; finds(t, selector, speaker.Labels) {
		t.Errorf("it selects %v, which speakers have", selector.MatchLabels)
	}
	target := services[i].Spec.Ports[0].TargetPort
	if !slices.ContainsFunc(controller.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool {
		return p.Name == "webhook-server" && (target.StrVal == p.Name || target.IntVal == p.ContainerPort)
	}) {
		t.Errorf("it leads to port %s, which is not the controller's webhook-server", &target)
	}
}

// finds tells whether a selector finds pods with the labels.
func finds(t *testing.T, selector *metav1.LabelSelector, pod map[string]string) bool {
	t.Helper()
	found, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return found.Matches(labels.Set(pod))
}

// pods are the pod templates of controller and speaker.
func pods(t *testing.T) (all []corev1.PodSpec) {
	t.Helper()
	for _, deployment := range decoded[*appsv1.Deployment](t) {
		all = append(all, deployment.Spec.Template.Spec)
	}
	for _, daemonSet := range decoded[*appsv1.DaemonSet](t) {
		all = append(all, daemonSet.Spec.Template.Spec)
	}
	if len(all) != 2 {
		t.Fatalf("the manifest has %d workloads, want controller and speaker", len(all))
	}
	return all
}

// decoded gives the objects of one kind in the one file that installs Herald.
func decoded[T runtime.Object](t *testing.T) []T {
	t.Helper()
	return decodedFrom[T](t, "herald.yaml")
}

func decodedFrom[T runtime.Object](t *testing.T, file string) (found []T) {
	t.Helper()
	for _, object := range manifest(t, file) {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// manifest decodes strictly: a field that its kind does not have is an error, as kubectl --validate makes it one.
func manifest(t *testing.T, file string) (objects []runtime.Object) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("manifests", file))
	if err != nil {
		t.Fatal(err)
	}
	types := runtime.NewScheme()
	if err := errors.Join(scheme.AddToScheme(types), apiextensionsv1.AddToScheme(types)); err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(types, serializer.EnableStrict).UniversalDeserializer()
	for documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data))); ; {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			t.Fatalf("decode a document of the manifest: %v\n%s", err, document)
		}
		objects = append(objects, object)
	}
}
