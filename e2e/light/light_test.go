package light

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/fake"
)

func testRunner(t *testing.T, objects ...*corev1.Secret) *runner {
	client := fake.NewClientset()
	for _, o := range objects {
		if err := client.Tracker().Add(o); err != nil {
			t.Fatal(err)
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "speaker-1", UID: "u", Labels: map[string]string{"app": "metallb"}}}
	r := newRunner(&Node{Name: "node1", Addresses: []string{"192.168.10.11", "fd00:10::b"}, Client: client}, pod)
	r.ips = []string{"10.244.1.2", "fd00:244:0:1::2"}
	return r
}

func TestRepository(t *testing.T) {
	for image, want := range map[string]string{
		"ghcr.io/herald-lb/speaker:v1":        "ghcr.io/herald-lb/speaker",
		"ghcr.io/herald-lb/speaker":           "ghcr.io/herald-lb/speaker",
		"localhost:5000/speaker":              "localhost:5000/speaker",
		"localhost:5000/speaker:v1@sha256:ab": "localhost:5000/speaker",
	} {
		if got := repository(image); got != want {
			t.Errorf("%s: got %s, want %s", image, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	r := testRunner(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "s"}, Data: map[string][]byte{"k": []byte("v")}})
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	secret := func(name string, optional bool) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "k", Optional: &optional,
		}}
	}
	got, err := r.environment(t.Context(), &corev1.Container{Env: []corev1.EnvVar{
		{Name: "PLAIN", Value: "x"},
		{Name: "NODE", ValueFrom: field("spec.nodeName")},
		{Name: "HOST", ValueFrom: field("status.hostIP")},
		{Name: "IPS", ValueFrom: field("status.podIPs")},
		{Name: "APP", ValueFrom: field("metadata.labels['app']")},
		{Name: "BOTH", Value: "$(PLAIN)-$(NODE)-$(UNKNOWN)"},
		{Name: "KEY", ValueFrom: secret("s", false)},
		{Name: "NONE", ValueFrom: secret("absent", true)},
	}})
	want := []string{
		"KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443", "HOSTNAME=speaker-1",
		"PLAIN=x", "NODE=node1", "HOST=192.168.10.11", "IPS=10.244.1.2,fd00:244:0:1::2", "APP=metallb",
		"BOTH=x-node1-$(UNKNOWN)", "KEY=v",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, bad := range []*corev1.EnvVarSource{field("status.nonsense"), secret("absent", false), {ResourceFieldRef: &corev1.ResourceFieldSelector{}}} {
		if _, err := r.environment(t.Context(), &corev1.Container{Env: []corev1.EnvVar{{Name: "X", ValueFrom: bad}}}); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

func TestVolumesHoldWhatThePodAsksFor(t *testing.T) {
	r := testRunner(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "certs"}, Data: map[string][]byte{"tls.crt": []byte("C"), "tls.key": []byte("K")}})
	r.node.Dir = t.TempDir()
	r.pod.Spec.Volumes = []corev1.Volume{
		{Name: "certs", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "certs", Items: []corev1.KeyToPath{{Key: "tls.crt", Path: "public/cert"}}}}},
		{Name: "unused", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "absent"}}},
	}
	mounts, err := r.volumes(t.Context(), &corev1.Container{VolumeMounts: []corev1.VolumeMount{{Name: "certs", MountPath: "/certs"}}})
	if err != nil || len(mounts) != 1 || mounts[0].path != "/certs" {
		t.Fatalf("got %v, %v; want the one that is mounted", mounts, err)
	}
	if got, _ := os.ReadFile(filepath.Join(mounts[0].dir, "public/cert")); string(got) != "C" {
		t.Errorf("chosen item: got %q, want C", got)
	}
	if _, err := os.Stat(filepath.Join(mounts[0].dir, "tls.key")); err == nil {
		t.Error("an item that was not chosen is there")
	}
	if _, err := r.volumes(t.Context(), &corev1.Container{VolumeMounts: []corev1.VolumeMount{{Name: "unused", MountPath: "/x"}}}); err == nil {
		t.Error("a Secret that is not there counts as filled")
	}
}

func TestStatusFollowsTheContainers(t *testing.T) {
	r := testRunner(t)
	c := &container{runner: r, spec: &corev1.Container{Name: "speaker"}, running: true, ready: true}
	r.containers = []*container{c}
	status := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}}

	r.fillStatus(&status)
	if got := condition(status, corev1.PodReady); got != corev1.ConditionTrue || status.Phase != corev1.PodRunning || status.PodIP != "10.244.1.2" {
		t.Errorf("ready container: got phase %s, Ready %s, address %s", status.Phase, got, status.PodIP)
	}
	c.ready, c.running = false, false
	r.fillStatus(&status)
	if got := condition(status, corev1.PodReady); got != corev1.ConditionFalse {
		t.Errorf("container down: got Ready %s", got)
	}
	if condition(status, corev1.PodScheduled) != corev1.ConditionTrue {
		t.Error("the scheduler's condition is lost")
	}
	if len(status.PodIPs) != 2 || len(status.ContainerStatuses) != 1 {
		t.Errorf("after two writes: got %v and %d containers", status.PodIPs, len(status.ContainerStatuses))
	}
}

func condition(s corev1.PodStatus, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

func TestArguments(t *testing.T) {
	c := &container{spec: &corev1.Container{Command: []string{"/speaker", "--a"}, Args: []string{"--node=$(NODE)"}}, env: []string{"NODE=node1"}}
	if got, want := c.arguments(), []string{"--a", "--node=node1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNamedPorts(t *testing.T) {
	c := &container{spec: &corev1.Container{Ports: []corev1.ContainerPort{{Name: "monitoring", ContainerPort: 7472}}}}
	for port, want := range map[intstr.IntOrString]string{intstr.FromString("monitoring"): "7472", intstr.FromInt32(80): "80"} {
		if got := c.port(port); got != want {
			t.Errorf("%s: got %s, want %s", port.String(), got, want)
		}
	}
}

func TestAddressesOfANetworkPlugin(t *testing.T) {
	got, err := addresses([]byte(`{"ips": [{"address": "10.244.1.2/24"}, {"address": "fd00:244:0:1::2/64"}]}`))
	if want := []string{"10.244.1.2", "fd00:244:0:1::2"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "{}", `{"ips": [{"address": "x"}]}`} {
		if _, err := addresses([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestReadPrograms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("ghcr.io/a/b /bin/b\n")
	got, err := ReadPrograms(file)
	if want := map[string]string{"ghcr.io/a/b": "/bin/b"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	write("only-an-image\n")
	if _, err := ReadPrograms(file); err == nil {
		t.Error("a line without a program was accepted")
	}
}
