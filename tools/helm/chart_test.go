package helm

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/jsonpath"
	"sigs.k8s.io/yaml"
)

func TestLintFindsNothing(t *testing.T) {
	for _, message := range lint.RunAll(chart, nil, namespace).Messages {
		if message.Severity > support.InfoSev {
			t.Error(message)
		}
	}
}

// everything switches on what can be at one time.
const everything = everythingPlain + `
imagePullSecrets: [{name: registry}]
loadBalancerClass: herald.io/lb
tls: {minVersion: VersionTLS12, cipherSuites: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, curvePreferences: "29", controllerMetricsTLSSecret: c, speakerMetricsTLSSecret: s}
controller:
  command: /controller
  tolerations: [{key: a, operator: Exists}]
  affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname}]}}
  priorityClassName: system-cluster-critical
  runtimeClassName: gvisor
  podAnnotations: {a: b}
  labels: {team: network}
  serviceAccount: {annotations: {a: b}}
  extraContainers: [{name: more, image: more:1}]
speaker:
  command: /speaker
  tolerations: [{key: a, operator: Exists}]
  affinity: {nodeAffinity: {}}
  priorityClassName: system-node-critical
  runtimeClassName: gvisor
  podAnnotations: {a: b}
  labels: {team: network}
  startupProbe: {enabled: true}
  extraContainers: [{name: more, image: more:1}]
  ignoreExcludeLB: true
  wanConfig: true
`

// A field that its kind does not have is an error here, as a server makes it one.
func TestObjectsHaveTheFieldsOfTheirKinds(t *testing.T) {
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, apiextensionsv1.AddToScheme, monitoringv1.AddToScheme} {
		if err := add(types); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(types, serializer.EnableStrict).UniversalDeserializer()
	for name, values := range map[string]string{
		"by default":            "",
		"with everything":       everything,
		"with PodMonitors":      "prometheus: {podMonitor: {enabled: true, interval: 15s}, serviceAccount: p, namespace: m, grafanaDashboard: {enabled: true}}",
		"with little":           "{rbac: {create: false}, crds: {enabled: false}, speaker: {memberlist: {enabled: false}, excludeInterfaces: {enabled: false}}, prometheus: {metricsPort: 0}}",
		"with Recreate":         "{controller: {strategy: {type: Recreate}}, speaker: {updateStrategy: {type: OnDelete}}}",
		"with scraping by hand": "prometheus: {scrapeAnnotations: true}",
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range render(t, values).objects {
				text, err := yaml.Marshal(o.Object)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := decoder.Decode(text, nil, nil); err != nil {
					t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
				}
			}
		})
	}
}

func TestUninstallingKeepsTheDefinitions(t *testing.T) {
	definitions := 0
	for _, o := range render(t, "").objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		definitions++
		if o.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s goes, and with it all objects of its kind", o.GetName())
		}
	}
	if definitions != 10 {
		t.Errorf("the chart has %d definitions, want 10", definitions)
	}
}

func TestValuesReachTheObjects(t *testing.T) {
	const (
		controller = "Deployment herald-controller"
		speaker    = "DaemonSet herald-speaker"
		container  = ".spec.template.spec.containers[0]"
	)
	tests := map[string]struct {
		values, object, path, want string
	}{
		"the class of Services":                    {"loadBalancerClass: a/b", speaker, container + ".args", `["--port=9120","--log-level=info","--lb-class=a/b"]`},
		"the log's level":                          {"controller: {logLevel: debug}", controller, container + ".args[1]", "--log-level=debug"},
		"the port of metrics":                      {"prometheus: {metricsPort: 9999}", controller, container + `.ports[?(@.name=="metricshttps")].containerPort`, "9999"},
		"no metrics":                               {"prometheus: {metricsPort: 0}", speaker, container + ".args[0]", "--port=0"},
		"an image":                                 {"speaker: {image: {repository: local/speaker, tag: v9}}", speaker, container + ".image", "local/speaker:v9"},
		"a certificate for metrics":                {"tls: {speakerMetricsTLSSecret: mine}", speaker, `.spec.template.spec.volumes[?(@.name=="metrics-tls")].secret.secretName`, "mine"},
		"links of pod networks, too":               {"speaker: {excludeInterfaces: {enabled: false}}", speaker, container + `.volumeMounts[?(@.name=="metallb-excludel2")].mountPath`, ""},
		"and nothing is mounted for them":          {"speaker: {excludeInterfaces: {enabled: false}}", speaker, `.spec.template.spec.volumes[?(@.name=="metallb-excludel2")].name`, ""},
		"links of pod networks are left out":       {"speaker: {excludeInterfaces: {enabled: true}}", speaker, `.spec.template.spec.volumes[?(@.name=="metallb-excludel2")].configMap.name`, "metallb-excludel2"},
		"nodes that balancers are to leave out":    {"speaker: {ignoreExcludeLB: true}", speaker, container + ".args", `"--ignore-exclude-lb"`},
		"gossip over long ways":                    {"speaker: {wanConfig: true}", speaker, container + ".args", `"--ml-wan-config"`},
		"where the gossip's key is read":           {"speaker: {memberlist: {mlSecretKeyPath: /key}}", speaker, container + `.env[?(@.name=="METALLB_ML_SECRET_KEY_PATH")].value`, "/key"},
		"where the gossip's key is mounted":        {"speaker: {memberlist: {mlSecretKeyPath: /key}}", speaker, container + `.volumeMounts[?(@.name=="memberlist")].mountPath`, "/key"},
		"no taint is tolerated":                    {"speaker: {tolerateMaster: false}", speaker, ".spec.template.spec.tolerations", ""},
		"more nodes' labels":                       {"speaker: {nodeSelector: {edge: 'true'}}", speaker, ".spec.template.spec.nodeSelector", `{"edge":"true","kubernetes.io/os":"linux"}`},
		"the gossip's port":                        {"speaker: {memberlist: {mlBindPort: 7000}}", speaker, container + `.env[?(@.name=="METALLB_ML_BIND_PORT")].value`, "7000"},
		"the gossip's address":                     {"speaker: {memberlist: {mlBindAddrOverride: 192.0.2.1}}", speaker, container + `.env[?(@.name=="METALLB_ML_BIND_ADDR")].value`, "192.0.2.1"},
		"no gossip":                                {"speaker: {memberlist: {enabled: false}}", speaker, container + `.env[?(@.name=="METALLB_ML_LABELS")].name`, ""},
		"the gossip's key, made by the controller": {"speaker: {secretName: key}", controller, container + `.env[?(@.name=="METALLB_ML_SECRET_NAME")].value`, "key"},
		"the gossip's key, which it may read":      {"speaker: {secretName: key}", "Role herald-controller", ".rules[?(@.resourceNames[0]=='key')].verbs", `["get"]`},
		"the role names the Deployment":            {"fullnameOverride: lb", "Role lb-controller", ".rules[?(@.resourceNames[0]=='lb-controller')].verbs", `["get"]`},
		"a service account that exists":            {"speaker: {serviceAccount: {create: false, name: mine}}", "RoleBinding herald-pod-lister", ".subjects[0].name", "mine"},
		"resources are replaced":                   {"controller: {resources: {requests: {cpu: 1}}}", controller, container + ".resources.requests.cpu", "1"},
		"the API server's port":                    {"networkpolicies: {enabled: true, apiPort: 443}", "NetworkPolicy herald-controller", ".spec.egress[0].ports[0].port", "443"},
		"pools that raise no alarm":                {"prometheus: {prometheusRule: {enabled: true, addressPoolExhausted: {excludePools: 'lab.*'}}}", "PrometheusRule herald", `.spec.groups[0].rules[?(@.alert=="MetalLBAddressPoolExhausted")].expr`, `metallb_allocator_ipv4_addresses_in_use_total{pool!~"lab.*"}`},
		"another threshold":                        {"prometheus: {prometheusRule: {enabled: true, addressPoolUsage: {thresholds: [{percent: 50}]}}}", "PrometheusRule herald", `.spec.groups[0].rules[?(@.alert=="MetalLBAddressPoolUsage50Percent")].expr`, "> 50"},
		"a rule of one's own":                      {"prometheus: {prometheusRule: {enabled: true, extraAlerts: [{alert: Mine, expr: vector(1)}]}}", "PrometheusRule herald", `.spec.groups[0].rules[?(@.alert=="Mine")].expr`, "vector(1)"},
		"an alert that is off":                     {"prometheus: {prometheusRule: {enabled: true, bgpSessionDown: {enabled: false}}}", "PrometheusRule herald", `.spec.groups[0].rules[?(@.alert=="MetalLBBGPSessionDown")].alert`, ""},
		"a webhook that must answer":               {"crds: {validationFailurePolicy: Fail}", "ValidatingWebhookConfiguration metallb-webhook-configuration", ".webhooks[*].failurePolicy", "Fail Fail"},
		"no second controller":                     {"controller: {replicas: 1}", controller, ".spec.replicas", "1"},
		"controllers apart":                        {"controller: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone}]}}}", controller, ".spec.template.spec.affinity", `{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"zone"}]}}`},
		"the dashboard":                            {"prometheus: {grafanaDashboard: {enabled: true}}", "ConfigMap herald-dashboard", ".data", "herald.json"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			kind, object, _ := strings.Cut(test.object, " ")
			got := at(t, render(t, test.values).named(t, kind, object), test.path)
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("%s of %s is %s, want %s", test.path, test.object, got, test.want)
			}
		})
	}
}

// In values, PROGRAM stands for the one that is looked at.
func TestValuesReachBothPrograms(t *testing.T) {
	const pod = ".spec.template.spec"
	for name, test := range map[string]struct{ values, path, want string }{
		"a registry's credentials":  {"imagePullSecrets: [{name: registry}]", pod + ".imagePullSecrets", `[{"name":"registry"}]`},
		"the lowest version of TLS": {"tls: {minVersion: VersionTLS12}", pod + ".containers[0].args", `"--tls-min-version=VersionTLS12"`},
		"cipher suites":             {"tls: {cipherSuites: A}", pod + ".containers[0].args", `"--tls-cipher-suites=A"`},
		"key exchanges":             {"tls: {curvePreferences: '29,23'}", pod + ".containers[0].args", `"--tls-curve-preferences=29,23"`},
		"a taint that is tolerated": {"PROGRAM: {tolerations: [{key: a, operator: Exists}]}", pod + `.tolerations[?(@.key=="a")].operator`, "Exists"},
		"a priority":                {"PROGRAM: {priorityClassName: high}", pod + ".priorityClassName", "high"},
		"a runtime":                 {"PROGRAM: {runtimeClassName: gvisor}", pod + ".runtimeClassName", "gvisor"},
		"annotations of pods":       {"PROGRAM: {podAnnotations: {a: b}}", ".spec.template.metadata.annotations", `{"a":"b"}`},
		"labels":                    {"PROGRAM: {labels: {team: network}}", ".metadata.labels.team", "network"},
		"labels of pods":            {"PROGRAM: {labels: {team: network}}", ".spec.template.metadata.labels.team", "network"},
	} {
		for program, kind := range map[string]string{"controller": "Deployment", "speaker": "DaemonSet"} {
			t.Run(name+", "+program, func(t *testing.T) {
				workload := render(t, strings.ReplaceAll(test.values, "PROGRAM", program)).named(t, kind, "herald-"+program)
				if got := at(t, workload, test.path); !strings.Contains(got, test.want) {
					t.Errorf("%s is %s, want %s", test.path, got, test.want)
				}
			})
		}
	}
}

// at gives what is at a path, as kubectl get --output jsonpath would print it; "" if nothing is.
func at(t *testing.T, o object, path string) string {
	t.Helper()
	p := jsonpath.New(path).AllowMissingKeys(true)
	if err := p.Parse("{" + path + "}"); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := p.Execute(&text, o.Object); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// The file has every value that MetalLB's chart documents, as its users set them.
func TestValuesForMetalLBsChartWork(t *testing.T) {
	values, err := os.ReadFile("testdata/metallb-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := renderRelease(t, "metallb", string(values))
	for _, unneeded := range []string{"frrk8s.enabled", "frr-k8s", "speaker.frr", "speaker.reloader", "speaker.frrMetrics", "speaker.initContainers", "speaker.bgpDebounceTimeout"} {
		if !regexp.MustCompile(`have no effect(.|\n)*[ ,]` + regexp.QuoteMeta(unneeded) + `[,\n]`).MatchString(r.notes) {
			t.Errorf("the notes do not say that %s has no effect:\n%s", unneeded, r.notes)
		}
	}
	if notes := render(t, "").notes; strings.Contains(notes, "no effect") {
		t.Errorf("without values, the notes say that some have no effect:\n%s", notes)
	}
}

// helm upgrade metallb herald: selectors cannot be changed, and what has another name is not replaced in place.
func TestReleaseOfMetalLBsChartIsReplacedInPlace(t *testing.T) {
	r := renderRelease(t, "metallb", "")
	for kind, component := range map[string]string{"Deployment": "controller", "DaemonSet": "speaker"} {
		got, _, _ := unstructured.NestedStringMap(r.named(t, kind, "metallb-"+component).Object, "spec", "selector", "matchLabels")
		want := map[string]string{
			"app.kubernetes.io/name": "metallb", "app.kubernetes.io/instance": "metallb", "app.kubernetes.io/component": component,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("selector of %s (-want +got):\n%s", component, diff)
		}
	}
}

func TestNamesBeginWithTheRelease(t *testing.T) {
	for release, want := range map[string]string{"herald": "herald-controller", "my-herald": "my-herald-controller", "metallb": "metallb-controller", "lb": "lb-metallb-controller"} {
		renderRelease(t, release, "").named(t, "Deployment", want)
	}
	render(t, "fullnameOverride: lb").named(t, "Deployment", "lb-controller")
}

func TestValuesThatCannotBeServedAreRefused(t *testing.T) {
	for name, test := range map[string]struct{ values, want string }{
		"configuration in values":         {"configInline: {address-pools: []}", "apply those"},
		"two ways to scrape":              {"prometheus: {rbacPrometheus: false, podMonitor: {enabled: true}, serviceMonitor: {enabled: true}}", "exclude each other"},
		"nobody to read metrics":          {"prometheus: {podMonitor: {enabled: true}}", "needs prometheus.serviceAccount"},
		"some nodes, and no gossip":       {"speaker: {nodeSelector: {a: b}, memberlist: {enabled: false}}", "needs speaker.memberlist.enabled"},
		"an image of MetalLB":             {"controller: {image: {repository: quay.io/metallb/controller}}", "image of MetalLB"},
		"a level that does not exist":     {"speaker: {logLevel: loud}", "logLevel"},
		"a number where a switch belongs": {"rbac: {create: 1}", "create"},
		"a port out of range":             {"prometheus: {metricsPort: 99999}", "metricsPort"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := try("herald", test.values)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestWhatIsNotWantedIsNotThere(t *testing.T) {
	for values, gone := range map[string][]string{
		"rbac: {create: false}":                          {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
		"controller: {webhookMode: disabled}":            {"ValidatingWebhookConfiguration", "Service"},
		"controller: {replicas: 1}":                      {"PodDisruptionBudget"},
		"controller: {enabled: false}":                   {"Deployment", "PodDisruptionBudget", "ValidatingWebhookConfiguration"},
		"speaker: {enabled: false}":                      {"DaemonSet", "ConfigMap"},
		"crds: {enabled: false}":                         {"CustomResourceDefinition"},
		"speaker: {excludeInterfaces: {enabled: false}}": {"ConfigMap"},
		"networkpolicies: {enabled: false}":              {"NetworkPolicy", "ServiceMonitor", "PodMonitor", "PrometheusRule"},
		"speaker: {serviceAccount: {create: false}, enabled: true}\ncontroller: {serviceAccount: {create: false}}": {"ServiceAccount"},
	} {
		kinds := render(t, values).kinds()
		for _, kind := range gone {
			if kinds[kind] > 0 {
				t.Errorf("with %s there is a %s", values, kind)
			}
		}
	}
}

func TestSelectorsFindTheirPods(t *testing.T) {
	r := render(t, everything)
	monitored := render(t, "prometheus: {podMonitor: {enabled: true}, serviceAccount: p, namespace: m}")
	for kind, component := range map[string]string{"Deployment": "controller", "DaemonSet": "speaker"} {
		name := "herald-" + component
		workload := r.named(t, kind, name)
		pods, _, _ := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "labels")
		service := r.named(t, "Service", name+"-monitor-service")

		selects(t, workload, pods, "spec", "selector", "matchLabels")
		selects(t, service, pods, "spec", "selector")
		selects(t, r.named(t, "ServiceMonitor", name), service.GetLabels(), "spec", "selector", "matchLabels")
		selects(t, monitored.named(t, "PodMonitor", name), pods, "spec", "selector", "matchLabels")
		if component == "controller" {
			selects(t, r.named(t, "NetworkPolicy", name), pods, "spec", "podSelector", "matchLabels")
			selects(t, r.named(t, "Service", "metallb-webhook-service"), pods, "spec", "selector")
			continue
		}
		gossip, err := labels.Parse(at(t, workload, `.spec.template.spec.containers[0].env[?(@.name=="METALLB_ML_LABELS")].value`))
		if err != nil || gossip.Empty() || !gossip.Matches(labels.Set(pods)) {
			t.Errorf("speakers look for each other by %v (%v), and have %v", gossip, err, pods)
		}
	}
}

// A rule that names no port lets through to all.
func TestNetworkPolicyNamesPortsOfTheController(t *testing.T) {
	for values, want := range map[string]string{
		"":                                    "metricshttps webhook-server",
		"prometheus: {metricsPort: 0}":        "webhook-server",
		"controller: {webhookMode: disabled}": "metricshttps",
		"prometheus: {metricsPort: 0}\ncontroller: {webhookMode: disabled}": "",
	} {
		r := render(t, "networkpolicies: {enabled: true}\n"+values)
		policy := r.named(t, "NetworkPolicy", "herald-controller")
		if got := at(t, policy, ".spec.ingress[*].ports[*].port"); got != want {
			t.Errorf("with %s it lets through to %q, want %q", values, got, want)
		}
		if rules := at(t, policy, ".spec.ingress"); want == "" && rules != "" {
			t.Errorf("with %s it has the rules %s, want none", values, rules)
		}
		controller := r.named(t, "Deployment", "herald-controller")
		for _, port := range strings.Fields(want) {
			if at(t, controller, `.spec.template.spec.containers[0].ports[?(@.name=="`+port+`")].containerPort`) == "" {
				t.Errorf("with %s the controller has no port %s", values, port)
			}
		}
	}
}

func selects(t *testing.T, selecting object, target map[string]string, path ...string) {
	t.Helper()
	selector, found, err := unstructured.NestedStringMap(selecting.Object, path...)
	if err != nil || !found || len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(labels.Set(target)) {
		t.Errorf("%s %s selects %v, which is not in %v", selecting.GetKind(), selecting.GetName(), selector, target)
	}
}
