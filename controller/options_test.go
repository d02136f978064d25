package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/internal/process"
)

var comparison = cmp.Options{cmp.AllowUnexported(options{}, admissionOptions{}), cmpopts.IgnoreFields(process.Flags{}, "TLS")}

// defaults are the options where neither flags nor environment say anything.
func defaults() options {
	return options{
		Flags:       process.Flags{MetricsPort: 9120, Namespace: "metallb-system", LogLevel: "info", HealthPort: 17472},
		webhookMode: "enabled",
		admission: admissionOptions{
			certDir: "/tmp/k8s-webhook-server/serving-certs", certServiceName: "metallb-webhook-service", secret: "metallb-webhook-cert",
		},
	}
}

func TestOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
		want func(*options)
	}{
		"defaults": {nil, nil, func(*options) {}},
		"what existing Deployments set in the environment": {
			map[string]string{"METALLB_ML_SECRET_NAME": "memberlist", "METALLB_DEPLOYMENT": "controller", "METALLB_POD_NAME": "controller-x"},
			nil,
			func(o *options) {
				o.memberlistSecret, o.deployment, o.PodName = "memberlist", "controller", "controller-x"
			},
		},
		"flags win over the environment": {
			map[string]string{"METALLB_ML_SECRET_NAME": "memberlist", "METALLB_DEPLOYMENT": "controller"},
			[]string{"--namespace=other", "--ml-secret-name=key", "--deployment=herald"},
			func(o *options) { o.Namespace, o.memberlistSecret, o.deployment = "other", "key", "herald" },
		},
		"every flag": {
			nil,
			[]string{
				"--port=7472", "--namespace=metallb-system", "--ml-secret-name=memberlist", "--deployment=controller", "--pod-name=controller-x",
				"--log-level=debug", "--lb-class=herald", "--webhook-mode=disabled", "--disable-cert-rotation", "--cert-dir=/certs",
				"--cert-service-name=hook", "--webhook-secret=cert", "--webhook-http2", "--health-probe-port=8080",
				"--pprof-bind-address=127.0.0.1:6060", "--tls-min-version=VersionTLS12", "--tls-curve-preferences=29",
				"--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--metrics-cert-dir=/metrics",
			},
			func(o *options) {
				o.Flags = process.Flags{
					MetricsPort: 7472, Namespace: "metallb-system", LogLevel: "debug", LoadBalancerClass: "herald", HealthPort: 8080,
					PprofAddress: "127.0.0.1:6060", MetricsCertDir: "/metrics", PodName: "controller-x",
				}
				o.memberlistSecret, o.deployment, o.webhookMode = "memberlist", "controller", "disabled"
				o.admission = admissionOptions{disableCertRotation: true, certDir: "/certs", certServiceName: "hook", secret: "cert", http2: true}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("METALLB_NAMESPACE", "metallb-system")
			for key, value := range tc.env {
				t.Setenv(key, value)
			}
			got, err := parseOptions(tc.args)
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			tc.want(&want)
			if diff := cmp.Diff(want, got, comparison); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for _, tc := range []struct{ arg, want string }{
		{"--webhook-mode=maybe", "--webhook-mode"},
		{"--ml-secret-name=memberlist", "--deployment"},
		{"--port=70000", "--port"},
		{"--tls-min-version=SSL3", "--tls-min-version"},
		{"--disable-cert-rotation=perhaps", "disable-cert-rotation"},
		{"--announce-everything", "announce-everything"},
		{"stray", "stray"},
	} {
		_, err := parseOptions([]string{"--namespace=x", tc.arg})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one that names %s", tc.arg, err, tc.want)
		}
	}
}
