//go:build e2e

package packaging

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/probe"
)

// operatorDefinition is that of one of the kinds of the Prometheus operator, which a cluster has if somebody wants them: their fields
// are checked where the chart is.
const operatorDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[2]s.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: %[1]s, plural: %[2]s}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]
---`

// monitoring stands for the operator. The second service account is the one that the manifest names.
var monitoring = fmt.Sprintf(operatorDefinition, "ServiceMonitor", "servicemonitors") +
	fmt.Sprintf(operatorDefinition, "PodMonitor", "podmonitors") +
	fmt.Sprintf(operatorDefinition, "PrometheusRule", "prometheusrules") + `
apiVersion: v1
kind: Namespace
metadata: {name: monitoring}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: monitoring}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus-k8s, namespace: monitoring}
---
`

// watched are the values of who has Prometheus.
var watched = []string{
	"--set", "prometheus.serviceAccount=prometheus,prometheus.namespace=monitoring",
	"--set", "prometheus.serviceMonitor.enabled=true,prometheus.prometheusRule.enabled=true,prometheus.grafanaDashboard.enabled=true",
	"--set", "networkpolicies.enabled=true",
}

const (
	chart      = root + "/config/charts/herald"
	definition = "crd/ipaddresspools.metallb.io"
	columns    = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}"
)

func TestTheChartsLife(t *testing.T) {
	ctx := t.Context()
	i := open(ctx, t)
	check(t, i.Apply(ctx, monitoring+manifests.Web))

	var held []netip.Addr
	step(t, "an earlier version of it is installed, and a Service is served", func(t *testing.T) {
		i.run(ctx, t, slices.Concat([]string{"install", "herald", earlier(t), "--create-namespace"}, watched)...)
		i.awaitReady(ctx, t)
		check(t, i.Apply(ctx, manifests.Pool))
		check(t, i.Apply(ctx, manifests.Service))
		held = i.served(ctx, t)
	})

	step(t, "an upgrade brings its definitions with it, and the Service loses no address and no connection", func(t *testing.T) {
		if got := i.kubectl(ctx, t, "get", definition, "--output", columns); !strings.HasPrefix(got, "Earlier") {
			t.Fatalf("the earlier definition has the columns %s", got)
		}
		client := probe.Start(probe.Options{Dial: i.DialFrom(lab.Client), Address: netip.AddrPortFrom(held[0], 80)})
		// Another setting, so that all pods are replaced.
		i.run(ctx, t, slices.Concat([]string{"upgrade", "herald", chart, "--set", "controller.logLevel=debug,speaker.logLevel=debug"}, watched)...)
		i.awaitReady(ctx, t)
		if report := client.Stop(); report.Failed > 0 {
			t.Errorf("meanwhile: %s", report)
		}
		if got := i.kubectl(ctx, t, "get", definition, "--output", columns); !strings.HasPrefix(got, "Auto Assign") {
			t.Errorf("the definition has the columns %s", got)
		}
		holds(ctx, t, i, held)
	})
	t.Run("the controller keeps to the restricted standard of Pod Security, the speaker needs a privileged namespace", func(t *testing.T) {
		if complaint := admission(ctx, t, i, "deployment/herald-controller", "restricted"); complaint != "" {
			t.Errorf("the controller is refused: %s", complaint)
		}
		if complaint := admission(ctx, t, i, "daemonset/herald-speaker", "baseline"); !strings.Contains(complaint, "violates PodSecurity") {
			t.Errorf("the speaker is let into a baseline namespace: %s", complaint)
		}
	})
	t.Run("its webhook refuses what only the whole configuration shows to be wrong", func(t *testing.T) { refuses(ctx, t, i) })
	t.Run("what Prometheus gets to see", func(t *testing.T) { watch(ctx, t, i) })
	t.Run("PodMonitors in the place of ServiceMonitors have the same scraped", func(t *testing.T) {
		i.run(ctx, t, slices.Concat([]string{"upgrade", "herald", chart}, watched, []string{"--set", "prometheus.serviceMonitor.enabled=false,prometheus.podMonitor.enabled=true"})...)
		i.awaitReady(ctx, t)
		watchOtherwise(ctx, t, i, "prometheus", "herald")
	})

	step(t, "taken away, it leaves the definitions and what users made of them", func(t *testing.T) {
		i.run(ctx, t, "uninstall", "herald", "--wait")
		if left := i.kubectl(ctx, t, "get", "deployments,daemonsets,serviceaccounts,configmaps", "--namespace", herald.Namespace, "--output", "name", "--selector", "app.kubernetes.io/instance=herald"); left != "" {
			t.Errorf("it has left:\n%s", left)
		}
		i.kubectl(ctx, t, "get", "ipaddresspool/lan", "l2advertisement/lan", "--namespace", herald.Namespace)
		if got := must(herald.AwaitAddresses(ctx, i.Lab, "default", "web", 2))(t); !slices.Equal(got, held) {
			t.Errorf("the Service held %v and holds %v", held, got)
		}
	})
	step(t, "the manifest goes on from there", func(t *testing.T) {
		check(t, i.ApplyFile(ctx, herald.Manifest(root)))
		check(t, herald.AwaitReady(ctx, i.Lab))
		holds(ctx, t, i, held)
	})
	t.Run("the manifest for Prometheus has it scraped", func(t *testing.T) {
		check(t, i.ApplyFile(ctx, root+"/config/manifests/herald-prometheus.yaml"))
		watchOtherwise(ctx, t, i, "prometheus-k8s", "metallb")
	})
	step(t, "put over the manifest's installation, it takes its place", func(t *testing.T) {
		i.run(ctx, t, "install", "herald", chart, "--take-ownership", "--force-conflicts")
		i.kubectl(ctx, t, "delete", "--namespace", herald.Namespace, "deployment/controller", "daemonset/speaker")
		i.awaitReady(ctx, t)
		holds(ctx, t, i, held)
	})
	t.Run("its webhook refuses after that, too", func(t *testing.T) { refuses(ctx, t, i) })
}

// refuses wants the creation of a pool refused that overlaps with that of the LAN.
func refuses(ctx context.Context, t *testing.T, i *installation) {
	t.Helper()
	const overlapping = "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: overlapping, namespace: metallb-system}, spec: {addresses: [192.168.10.201/32]}}"
	check(t, herald.AwaitRefusal(ctx, i.Lab, overlapping, "overlaps with already defined CIDR"))
}

// holds wants the Service at the addresses that it held, and each of them answered for.
func holds(ctx context.Context, t *testing.T, i *installation, held []netip.Addr) {
	t.Helper()
	if got := i.served(ctx, t); !slices.Equal(got, held) {
		t.Errorf("the Service held %v and holds %v", held, got)
	}
}

// admission gives what is said against a workload's pods where a standard is enforced; "" if nothing is.
// https://kubernetes.io/docs/concepts/security/pod-security-standards/
func admission(ctx context.Context, t *testing.T, i *installation, workload, standard string) string {
	t.Helper()
	check(t, i.Apply(ctx, `{apiVersion: v1, kind: Namespace, metadata: {name: `+standard+`, labels: {pod-security.kubernetes.io/enforce: `+standard+`}}}`))
	check(t, i.Apply(ctx, `{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: `+standard+`}}`))
	spec := i.kubectl(ctx, t, "get", workload, "--namespace", herald.Namespace, "--output", "jsonpath={.spec.template.spec}")
	var pod corev1.Pod
	check(t, json.Unmarshal([]byte(spec), &pod.Spec))
	pod.Name, pod.Spec.ServiceAccountName = "tried", "default"
	_, err := i.Client().CoreV1().Pods(standard).Create(ctx, &pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return err.Error()
	}
	return ""
}

// earlier is the chart with a definition as an earlier version may have had it.
func earlier(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "herald")
	check(t, os.CopyFS(dir, os.DirFS(chart)))
	file := filepath.Join(dir, "charts", "crds", "templates", "crds.yaml")
	text := must(os.ReadFile(file))(t)
	changed := strings.Replace(string(text), "name: Auto Assign", "name: Earlier", 1)
	if changed == string(text) {
		t.Fatal("the definitions have no column Auto Assign any more")
	}
	check(t, os.WriteFile(file, []byte(changed), 0o644))
	return dir
}
