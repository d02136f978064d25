package process_test

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/process"
)

func parse(args ...string) (process.Flags, error) {
	var f process.Flags
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f.Register(fs)
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	return f, f.Complete()
}

func TestDefaultsAreThoseThatDeploymentsRelyOn(t *testing.T) {
	t.Setenv("METALLB_NAMESPACE", "metallb-system")
	t.Setenv("METALLB_POD_NAME", "speaker-x")
	f, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	if f.MetricsPort != 9120 || f.HealthPort != 17472 || f.LogLevel != "info" || f.LoadBalancerClass != "" ||
		f.Namespace != "metallb-system" || f.PodName != "speaker-x" || f.PprofAddress != "" {
		t.Errorf("flags %+v", f)
	}
}

func TestBadFlagsAreNamed(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--port=70000", "--port"},
		{"--health-probe-port=-1", "--health-probe-port"},
		{"--tls-min-version=SSL3", "--tls-min-version"},
		{"--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--tls-min-version=VersionTLS12"},
		{"--tls-min-version=VersionTLS12 --tls-cipher-suites=NONSENSE", "--tls-cipher-suites"},
		{"--tls-curve-preferences=X25519", "--tls-curve-preferences"},
	} {
		_, err := parse(append(strings.Fields(tc.args), "--namespace=x")...)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one that names %s", tc.args, err, tc.want)
		}
	}
	if _, err := parse("--namespace=x", "--tls-min-version=VersionTLS12",
		"--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--tls-curve-preferences=29, 23"); err != nil {
		t.Errorf("valid TLS flags: %s", err)
	}
}

func TestEveryBGPTypeIsServedAndAnUnknownOneRefused(t *testing.T) {
	for value, ok := range map[string]bool{"": true, "native": true, "frr": true, "frr-k8s": true, "bird": false} {
		t.Setenv("METALLB_BGP_TYPE", value)
		if _, err := process.BGPType(); (err == nil) != ok {
			t.Errorf("METALLB_BGP_TYPE=%q: error %v", value, err)
		}
	}
}

func TestSettingsWithoutEffectAreNotedInOneLine(t *testing.T) {
	var out strings.Builder
	l := log.NewLogfmtLogger(&out)
	process.NoteIdle(l, nil)
	if out.Len() > 0 {
		t.Errorf("nothing to note, but the log says %q", out.String())
	}
	process.NoteIdle(l, []string{"METALLB_BGP_TYPE", "--frrk8s-namespace"})
	if lines := strings.Count(out.String(), "\n"); lines != 1 || !strings.Contains(out.String(), "METALLB_BGP_TYPE --frrk8s-namespace") {
		t.Errorf("the log says %q", out.String())
	}
}
