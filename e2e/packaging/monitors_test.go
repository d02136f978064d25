//go:build e2e

package packaging

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/e2e/herald"
)

// tokenFile is where a Prometheus of the operator's has the token of its own service account.
const tokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token"

// job is what Prometheus is told to scrape, in its own words.
// https://prometheus.io/docs/prometheus/latest/configuration/configuration/#scrape_config
type job struct {
	Name          string            `json:"job_name"`
	Scheme        string            `json:"scheme"`
	HonorLabels   bool              `json:"honor_labels"`
	Authorization map[string]string `json:"authorization"`
	TLSConfig     tlsConfig         `json:"tls_config"`
	Targets       []target          `json:"static_configs"`
}

type tlsConfig struct {
	InsecureSkipVerify bool `json:"insecure_skip_verify"`
}

type target struct {
	Addresses []string          `json:"targets"`
	Labels    map[string]string `json:"labels"`
}

// monitor is a ServiceMonitor or a PodMonitor, with the fields that the operator of this test knows what to do with: another
// one ends the test. https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.ServiceMonitor
type monitor struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		JobLabel          string `json:"jobLabel"`
		NamespaceSelector struct {
			MatchNames []string `json:"matchNames"`
		} `json:"namespaceSelector"`
		Selector            metav1.LabelSelector `json:"selector"`
		Endpoints           []endpoint           `json:"endpoints"`
		PodMetricsEndpoints []endpoint           `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

type endpoint struct {
	Port            string `json:"port"`
	Scheme          string `json:"scheme"`
	HonorLabels     bool   `json:"honorLabels"`
	BearerTokenFile string `json:"bearerTokenFile"`
	Authorization   *struct {
		Credentials corev1.SecretKeySelector `json:"credentials"`
	} `json:"authorization"`
	TLSConfig struct {
		InsecureSkipVerify bool `json:"insecureSkipVerify"`
	} `json:"tlsConfig"`
}

// operator does for a Prometheus what the operator does, and what the Prometheus would do by itself if Debian's could: it
// makes jobs of monitors, and finds their targets by the rights of Prometheus' service account and no others.
type operator struct {
	*installation
	token  string               // the service account's
	client kubernetes.Interface // with it
}

func newOperator(ctx context.Context, t *testing.T, i *installation, account string) operator {
	t.Helper()
	token := serviceAccountToken(ctx, t, i, account)
	config := rest.AnonymousClientConfig(i.RESTConfig())
	config.BearerToken = token
	return operator{i, token, must(kubernetes.NewForConfig(config))(t)}
}

// jobs are those of all monitors in Herald's namespace.
func (o operator) jobs(ctx context.Context, t *testing.T) (all []job) {
	t.Helper()
	text := o.kubectl(ctx, t, "get", "servicemonitors,podmonitors", "--namespace", herald.Namespace, "--output", "json")
	var list struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ListMeta `json:"metadata"`
		Items           []monitor       `json:"items"`
	}
	check(t, yaml.UnmarshalStrict([]byte(text), &list))
	for _, m := range list.Items {
		name := fmt.Sprintf("%s/%s", m.Kind, m.Metadata.Name)
		for _, e := range m.Spec.Endpoints {
			all = append(all, o.job(ctx, t, name, e, o.behindServices(ctx, t, m, e.Port)))
		}
		for _, e := range m.Spec.PodMetricsEndpoints {
			all = append(all, o.job(ctx, t, name, e, o.pods(ctx, t, m, e.Port)))
		}
	}
	return all
}

func (o operator) job(ctx context.Context, t *testing.T, name string, e endpoint, targets []target) job {
	t.Helper()
	j := job{Name: name, Scheme: e.Scheme, HonorLabels: e.HonorLabels, TLSConfig: tlsConfig(e.TLSConfig), Targets: targets}
	switch {
	case e.Authorization != nil:
		// It is the operator that reads Secrets, and it may read all.
		secret := must(o.Client().CoreV1().Secrets(herald.Namespace).Get(ctx, e.Authorization.Credentials.Name, metav1.GetOptions{}))(t)
		j.Authorization = map[string]string{"credentials": string(secret.Data[e.Authorization.Credentials.Key])}
	case e.BearerTokenFile == tokenFile:
		j.Authorization = map[string]string{"credentials": o.token}
	default:
		t.Fatalf("%s names no token that Prometheus has: %+v", name, e)
	}
	return j
}

// behindServices are the endpoints of the port, by its name, of the Services that a ServiceMonitor selects.
func (o operator) behindServices(ctx context.Context, t *testing.T, m monitor, port string) (found []target) {
	t.Helper()
	for _, namespace := range m.Spec.NamespaceSelector.MatchNames {
		services := must(o.client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&m.Spec.Selector)}))(t)
		for _, service := range services.Items {
			slices := must(o.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service.Name}))(t)
			for _, slice := range slices.Items {
				found = append(found, endpointsOf(service, m.Spec.JobLabel, slice, port)...)
			}
		}
	}
	return found
}

func endpointsOf(service corev1.Service, jobLabel string, slice discoveryv1.EndpointSlice, port string) (found []target) {
	for _, p := range slice.Ports {
		if *p.Name != port {
			continue
		}
		for _, e := range slice.Endpoints {
			found = append(found, target{
				Addresses: []string{fmt.Sprintf("%s:%d", e.Addresses[0], *p.Port)},
				Labels: map[string]string{
					"job": service.Labels[jobLabel], "namespace": service.Namespace, "service": service.Name, "pod": e.TargetRef.Name, "endpoint": port,
				},
			})
		}
	}
	return found
}

// pods are those that a PodMonitor selects, at the port of a container that has the name.
func (o operator) pods(ctx context.Context, t *testing.T, m monitor, port string) (found []target) {
	t.Helper()
	for _, namespace := range m.Spec.NamespaceSelector.MatchNames {
		pods := must(o.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&m.Spec.Selector)}))(t)
		for _, pod := range pods.Items {
			for _, container := range pod.Spec.Containers {
				for _, p := range container.Ports {
					if p.Name != port {
						continue
					}
					found = append(found, target{
						Addresses: []string{fmt.Sprintf("%s:%d", pod.Status.PodIP, p.ContainerPort)},
						Labels: map[string]string{
							"job": pod.Labels[m.Spec.JobLabel], "namespace": namespace, "pod": pod.Name, "container": container.Name, "endpoint": port,
						},
					})
				}
			}
		}
	}
	return found
}
