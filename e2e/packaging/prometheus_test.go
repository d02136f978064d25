//go:build e2e

package packaging

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/template"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// configuration makes of the chart's ServiceMonitors what the operator does. It finds the targets itself: Debian's
// Prometheus cannot.
var configuration = template.Must(template.New("").Parse(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
- job_name: metallb
  scheme: https
  honor_labels: true
  authorization: {credentials_file: token}
  tls_config: {insecure_skip_verify: true}
  static_configs:
  {{- range $pod, $address := . }}
  - targets: ["{{ $address }}"]
    labels: {pod: {{ $pod }}}
  {{- end }}
`))

const address = "127.0.0.1:9090"

// nobody is a router that does not exist: a session that is down.
const nobody = `
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: nobody, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 192.168.10.99, bfdProfile: fast}
`

// watch has Prometheus scrape the installation, with the chart's rules, and asks it what the dashboard asks.
func watch(ctx context.Context, t *testing.T, i *installation) {
	check(t, i.Apply(ctx, nobody))
	p := startPrometheus(ctx, t, i)
	step(t, "controllers and speakers are scraped, by the rights that the chart gives", func(t *testing.T) {
		pods := strings.Fields(i.kubectl(ctx, t, "get", "pods", "--namespace", herald.Namespace, "--output", "name"))
		awaitTargets(ctx, t, p, len(pods))
	})
	t.Run("every panel of the dashboard gets an answer", func(t *testing.T) {
		for _, panel := range dashboard(ctx, t, i) {
			for _, target := range panel.Targets {
				awaitAnswer(ctx, t, p, panel.Title, target.Expr)
			}
		}
	})
	t.Run("every alert is understood, and the one for the router that is not there is on its way", func(t *testing.T) {
		awaitRules(ctx, t, p, "MetalLBBGPSessionDown")
	})
}

// prometheus is one that runs on the control plane's host.
type prometheus struct{ client *http.Client }

func startPrometheus(ctx context.Context, t *testing.T, i *installation) prometheus {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) { check(t, os.WriteFile(filepath.Join(dir, name), data, 0o644)) }
	token := token(ctx, t, i)
	var text strings.Builder
	check(t, configuration.Execute(&text, targets(ctx, t, i, token)))
	write("prometheus.yaml", []byte(text.String()))
	write("rules.yaml", rules(ctx, t, i))
	write("token", []byte(token))

	check(t, i.Run(ctx, lab.Control, "prometheus", "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address))
	t.Cleanup(func() { check(t, i.End(lab.Control, "prometheus", syscall.SIGTERM)) })
	return prometheus{&http.Client{Transport: &http.Transport{DialContext: i.DialFrom(lab.Control)}}}
}

// targets are the endpoints of the chart's Services for metrics, by pod, as the service account of Prometheus sees them: by
// the rights that the chart gives it, and no others.
func targets(ctx context.Context, t *testing.T, i *installation, token string) map[string]string {
	t.Helper()
	config := rest.AnonymousClientConfig(i.RESTConfig())
	config.BearerToken = token
	slices, err := must(kubernetes.NewForConfig(config))(t).DiscoveryV1().EndpointSlices(herald.Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=herald"})
	check(t, err)
	found := map[string]string{}
	for _, slice := range slices.Items {
		for _, port := range slice.Ports {
			if *port.Name != "metricshttps" {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				found[endpoint.TargetRef.Name] = fmt.Sprintf("%s:%d", endpoint.Addresses[0], *port.Port)
			}
		}
	}
	return found
}

// rules are those of the object that the chart has made.
func rules(ctx context.Context, t *testing.T, i *installation) []byte {
	t.Helper()
	spec := i.kubectl(ctx, t, "get", "prometheusrule/herald", "--namespace", herald.Namespace, "--output", "jsonpath={.spec}")
	return must(yaml.JSONToYAML([]byte(spec)))(t)
}

func token(ctx context.Context, t *testing.T, i *installation) string {
	t.Helper()
	answer, err := i.Client().CoreV1().ServiceAccounts("monitoring").CreateToken(ctx, "prometheus", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	check(t, err)
	return answer.Status.Token
}

// ask gives the data of an answer: https://prometheus.io/docs/prometheus/latest/querying/api/
func (p prometheus) ask(ctx context.Context, path string, data any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/api/v1/"+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", answer.Status, answer.Error)
	}
	return nil
}

func awaitTargets(ctx context.Context, t *testing.T, p prometheus, count int) {
	t.Helper()
	check(t, herald.Await(ctx, fmt.Sprintf("%d targets that answer", count), func(ctx context.Context) error {
		var data struct {
			ActiveTargets []struct{ ScrapeURL, Health, LastError string }
		}
		if err := p.ask(ctx, "targets?state=active", &data); err != nil {
			return err
		}
		up := 0
		for _, target := range data.ActiveTargets {
			if target.Health == "up" {
				up++
			}
		}
		if up != count || len(data.ActiveTargets) != count {
			return fmt.Errorf("there are %+v", data.ActiveTargets)
		}
		return nil
	}))
}

type panel struct {
	Title   string
	Targets []struct{ Expr string }
}

// dashboard lists the panels of the ConfigMap that the chart has made.
func dashboard(ctx context.Context, t *testing.T, i *installation) []panel {
	t.Helper()
	text := i.kubectl(ctx, t, "get", "configmap/herald-dashboard", "--namespace", herald.Namespace, "--output", `jsonpath={.data.herald\.json}`)
	var d struct{ Panels []panel }
	check(t, json.Unmarshal([]byte(text), &d))
	return d.Panels
}

// chosen are what Grafana puts in for a dashboard's variables when nothing is chosen.
var chosen = strings.NewReplacer("$job", ".*", "$pool", ".*", "$node", ".*", "$__rate_interval", "1m", "$__interval", "1m")

// awaitAnswer asks again for a while: a rate takes two scrapes.
func awaitAnswer(ctx context.Context, t *testing.T, p prometheus, title, expr string) {
	t.Helper()
	check(t, herald.Await(ctx, title, func(ctx context.Context) error {
		var data struct{ Result []any }
		if err := p.ask(ctx, "query?query="+url.QueryEscape(chosen.Replace(expr)), &data); err != nil {
			return err
		}
		if len(data.Result) == 0 {
			return fmt.Errorf("no value of %s", expr)
		}
		return nil
	}))
}

// awaitRules waits until Prometheus has evaluated all rules, and sees a cause for the one alert alone.
func awaitRules(ctx context.Context, t *testing.T, p prometheus, alert string) {
	t.Helper()
	check(t, herald.Await(ctx, "rules that are evaluated", func(ctx context.Context) error {
		var data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
		if err := p.ask(ctx, "rules", &data); err != nil {
			return err
		}
		if len(data.Groups) != 1 || len(data.Groups[0].Rules) < 7 {
			return fmt.Errorf("there are %+v", data.Groups)
		}
		for _, r := range data.Groups[0].Rules {
			if r.Health != "ok" || (r.State != "inactive") != (r.Name == alert) {
				return fmt.Errorf("%+v", r)
			}
		}
		return nil
	}))
}
