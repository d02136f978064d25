package config_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/internal/metrics"
)

// The object of the operator's has the rules as Prometheus reads them in its spec.
func TestAlertsAreRaisedWhenTheyShould(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing, of Debian's package prometheus: the alerts are not tried")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "rules.yaml"), ruleFile(t))
	tests, err := os.ReadFile("prometheus/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "rules_test.yaml"), tests)
	for _, args := range [][]string{{"check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		command := exec.CommandContext(t.Context(), promtool, args...)
		command.Dir = dir
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
		}
	}
}

func TestEveryAlertIsTried(t *testing.T) {
	tests, err := os.ReadFile("prometheus/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`alert: (\S+)`).FindAllSubmatch(ruleFile(t), -1) {
		if !regexp.MustCompile(`alertname: ` + string(alert[1]) + `\n\s+exp_alerts`).Match(tests) {
			t.Errorf("%s is never raised in rules_test.yaml", alert[1])
		}
	}
}

// ruleFile is the spec of the PrometheusRule.
func ruleFile(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var object struct{ Spec json.RawMessage }
	if err := yaml.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	rules, err := yaml.JSONToYAML(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// A name that nobody serves raises no alarm and draws no line, and nobody notices.
func TestAlertsAndDashboardAskForMetricsThatExist(t *testing.T) {
	served := servedMetrics(t)
	for _, file := range []string{"prometheus/rules.yaml", "prometheus/rules_test.yaml", "dashboards/herald.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\bmetallb_[a-z0-9_]+`).FindAllString(string(text), -1) {
			if !slices.Contains(served, name) {
				t.Errorf("%s asks for %s, which neither program serves", file, name)
			}
		}
	}
}

func servedMetrics(t *testing.T) (names []string) {
	t.Helper()
	r := prometheus.NewRegistry()
	metrics.NewClient(r)
	metrics.RegisterPools(r, func() []metrics.Pool { return []metrics.Pool{{}} })
	metrics.NewAssignments(r)
	metrics.RegisterWaiting(r, func() map[string]int { return map[string]int{"": 0} })
	metrics.RegisterProblems(r, func() map[string]int { return map[string]int{"": 0} })
	metrics.NewDurations(r, []string{""}, []string{""})
	metrics.RegisterSpeaker(r, func() []metrics.Announced { return []metrics.Announced{{}} }, func() ([]metrics.Layer2, []metrics.Drop) {
		return []metrics.Layer2{{}}, []metrics.Drop{{}}
	})
	metrics.RegisterBGP(r, func() []metrics.Session { return []metrics.Session{{}} })
	metrics.RegisterBFD(r, func() []metrics.Path { return []metrics.Path{{}} }, func() []metrics.Drop { return []metrics.Drop{{}} })
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		names = append(names, f.GetName())
		if f.GetType().String() == "HISTOGRAM" {
			names = append(names, f.GetName()+"_bucket", f.GetName()+"_sum", f.GetName()+"_count")
		}
	}
	return names
}

// panel is what matters of a panel of Grafana's.
type panel struct {
	ID      int
	Type    string
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ RefID, Expr string }
}

func TestDashboardIsLaidOutWithoutOverlaps(t *testing.T) {
	taken := map[[2]int]string{}
	ids := map[int]string{}
	for _, p := range dashboard(t) {
		if other, ok := ids[p.ID]; ok {
			t.Errorf("%q and %q have one id, %d", other, p.Title, p.ID)
		}
		ids[p.ID] = p.Title
		if p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%q reaches out of the grid's 24 columns", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					t.Fatalf("%q lies over %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

func TestEveryPanelAsksForSomething(t *testing.T) {
	for _, p := range dashboard(t) {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, `job=~"$job"`) {
				t.Errorf("%q asks for more than the job chosen: %s", p.Title, target.Expr)
			}
		}
	}
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile("dashboards/herald.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Panels []panel }
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
