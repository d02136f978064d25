// Package config_test checks what config/manifests/herald.yaml promises to who applies it.
package config_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
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

// decoded gives the manifest's objects of one kind.
func decoded[T runtime.Object](t *testing.T) (found []T) {
	t.Helper()
	for _, object := range manifest(t) {
		if typed, ok := object.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

// manifest decodes strictly: a field that its kind does not have is an error, as kubectl --validate makes it one.
func manifest(t *testing.T) (objects []runtime.Object) {
	t.Helper()
	data, err := os.ReadFile("manifests/herald.yaml")
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
