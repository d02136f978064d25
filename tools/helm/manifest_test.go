package helm

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// How the chart's names for release herald become those of the manifests.
var toManifest = strings.NewReplacer(
	"herald:", "metallb-system:",
	"herald-memberlist", "memberlist",
	"herald-prometheus", "prometheus",
	"herald-default-deny", "default-deny",
	"herald-controller", "controller",
	"herald-speaker", "speaker",
	"herald-pod-lister", "pod-lister",
	"app.kubernetes.io/name=metallb,app.kubernetes.io/instance=herald,app.kubernetes.io/component=", "app=metallb,component=",
)

// everythingPlain are the values that give what the manifests have together.
const everythingPlain = `
prometheus:
  serviceAccount: prometheus-k8s
  namespace: monitoring
  serviceMonitor: {enabled: true}
  prometheusRule: {enabled: true}
networkpolicies: {enabled: true, defaultDeny: true}
`

// What a user of the chart runs is what a user of the manifests runs, but for names and labels.
func TestChartGivesWhatTheManifestsGive(t *testing.T) {
	chart := comparable(render(t, everythingPlain).objects)
	var plain []object
	for _, name := range []string{"herald.yaml", "herald-prometheus.yaml", "herald-networkpolicies.yaml"} {
		plain = append(plain, manifest(t, name)...)
	}
	want := comparable(plain)
	delete(want, "Namespace metallb-system") // helm install --create-namespace makes it
	for name := range want {
		if _, ok := chart[name]; !ok {
			t.Errorf("the manifests have %s, the chart has not", name)
		}
	}
	for name, got := range chart {
		if diff := cmp.Diff(want[name], got); diff != "" {
			t.Errorf("%s (-manifest +chart):\n%s", name, diff)
		}
	}
}

// comparable gives the objects by kind and name, without what is the chart's or the manifests' own.
func comparable(objects []object) map[string]any {
	all := map[string]any{}
	for _, o := range objects {
		content := neutral(o.Object, "").(map[string]any)
		metadata := content["metadata"].(map[string]any)
		if o.GetKind() == "PrometheusRule" {
			metadata["name"] = "metallb"
		}
		all[o.GetKind()+" "+metadata["name"].(string)] = content
	}
	return all
}

// neutral renames as toManifest says, and leaves out what ownWay and isDefaultSetting know.
func neutral(value any, key string) any {
	switch v := value.(type) {
	case string:
		return toManifest.Replace(v)
	case []any:
		return neutralList(v)
	case map[string]any:
		out := map[string]any{}
		for k, inner := range v {
			if ownWay(k, inner, key) {
				continue
			}
			if inner = neutral(inner, k); k != "labels" || len(inner.(map[string]any)) > 0 {
				out[k] = inner
			}
		}
		return out
	}
	return value
}

func neutralList(list []any) []any {
	out := make([]any, 0, len(list))
	for _, inner := range list {
		if !isDefaultSetting(inner) {
			out = append(out, neutral(inner, ""))
		}
	}
	return out
}

// ownWay tells what chart and manifests may differ in: labels and what selects by them, the chart's annotation that keeps
// definitions, zeros that say what is the default, and the label that gives Prometheus' jobs their name.
func ownWay(key string, value any, parent string) bool {
	switch key {
	case "app", "component", "helm.sh/chart":
		return parent == "labels"
	case "matchLabels", "jobLabel":
		return true
	case "selector":
		return parent == "spec"
	case "helm.sh/resource-policy":
		return true
	case "initialDelaySeconds":
		return value == float64(0)
	case "successThreshold":
		return value == float64(1)
	}
	return parent == "labels" && strings.HasPrefix(key, "app.kubernetes.io/")
}

// isDefaultSetting knows the flags and variables that the chart gives and the manifests leave at the same value.
func isDefaultSetting(item any) bool {
	if variable, ok := item.(map[string]any); ok {
		return variable["name"] == "METALLB_ML_BIND_PORT" && variable["value"] == "7946"
	}
	return slices.Contains([]any{"--webhook-mode=enabled"}, item)
}
