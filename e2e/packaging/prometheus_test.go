//go:build e2e

package packaging

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

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

// watch has Prometheus scrape the installation by the chart's ServiceMonitors, with the chart's rules, and asks it what the
// dashboard asks.
func watch(ctx context.Context, t *testing.T, i *installation) {
	check(t, i.Apply(ctx, nobody))
	p := startPrometheus(ctx, t, i, "prometheus", "herald")
	step(t, "controllers and speakers are scraped, by the rights that the chart gives", func(t *testing.T) { p.awaitAllScraped(ctx, t, i) })
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

// watchOtherwise looks whether another set of monitors has everything scraped, and its rules are understood.
func watchOtherwise(ctx context.Context, t *testing.T, i *installation, account, rules string) {
	t.Helper()
	p := startPrometheus(ctx, t, i, account, rules)
	p.awaitAllScraped(ctx, t, i)
	awaitRules(ctx, t, p, "MetalLBBGPSessionDown")
}

// prometheus is one that runs on the control plane's host.
type prometheus struct{ client *http.Client }

// startPrometheus starts one with the monitors that there are and a PrometheusRule, for a service account in the namespace
// monitoring. It ends with the test.
func startPrometheus(ctx context.Context, t *testing.T, i *installation, account, ruleName string) prometheus {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Fatal("prometheus is missing: tools/setup.sh installs Debian's package of that name")
	}
	dir := t.TempDir()
	write := func(name string, data []byte) { check(t, os.WriteFile(filepath.Join(dir, name), data, 0o600)) }
	configuration := map[string]any{
		"global":         map[string]string{"scrape_interval": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{"rules.yaml"},
		"scrape_configs": newOperator(ctx, t, i, account).jobs(ctx, t),
	}
	write("prometheus.yaml", must(yaml.Marshal(configuration))(t))
	write("rules.yaml", rules(ctx, t, i, ruleName))

	check(t, i.Run(ctx, lab.Control, "prometheus", "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address))
	t.Cleanup(func() { check(t, i.End(lab.Control, "prometheus", syscall.SIGTERM)) })
	return prometheus{&http.Client{Transport: &http.Transport{DialContext: i.DialFrom(lab.Control)}}}
}

// rules are those of a PrometheusRule.
func rules(ctx context.Context, t *testing.T, i *installation, name string) []byte {
	t.Helper()
	spec := i.kubectl(ctx, t, "get", "prometheusrule/"+name, "--namespace", herald.Namespace, "--output", "jsonpath={.spec}")
	return must(yaml.JSONToYAML([]byte(spec)))(t)
}

func serviceAccountToken(ctx context.Context, t *testing.T, i *installation, account string) string {
	t.Helper()
	answer, err := i.Client().CoreV1().ServiceAccounts("monitoring").CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
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

// awaitAllScraped waits until all pods answer, each once, and nothing else is asked.
func (p prometheus) awaitAllScraped(ctx context.Context, t *testing.T, i *installation) {
	t.Helper()
	check(t, herald.Await(ctx, "all pods to be scraped", func(ctx context.Context) error {
		var data struct {
			ActiveTargets []struct {
				ScrapeURL, Health, LastError string
				Labels                       map[string]string
			}
		}
		if err := p.ask(ctx, "targets?state=active", &data); err != nil {
			return err
		}
		var scraped []string
		for _, target := range data.ActiveTargets {
			if target.Health == "up" && target.Labels["job"] != "" {
				scraped = append(scraped, "pod/"+target.Labels["pod"])
			}
		}
		slices.Sort(scraped)
		pods := strings.Fields(i.kubectl(ctx, t, "get", "pods", "--namespace", herald.Namespace, "--sort-by=.metadata.name", "--output", "name"))
		if !slices.Equal(scraped, pods) || len(scraped) != len(data.ActiveTargets) {
			return fmt.Errorf("of %v there are %+v", pods, data.ActiveTargets)
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
