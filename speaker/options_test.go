package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/herald-lb/herald/internal/process"
)

var fields = cmp.Options{cmp.AllowUnexported(options{}, ringOptions{}, frrOptions{}), cmpopts.IgnoreFields(process.Flags{}, "TLS")}

// defaults are the options where neither flags nor environment say more than they must.
func defaults() options {
	return options{
		Flags:   process.Flags{MetricsPort: 9120, Namespace: "metallb-system", LogLevel: "info", HealthPort: 17472},
		node:    "node-a",
		ring:    ringOptions{bindPort: 7946},
		refresh: time.Minute, drainTime: 5 * time.Second,
		frr: frrOptions{debounceTimeout: 3000},
	}
}

func TestOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
		want func(*options)
	}{
		"defaults": {nil, nil, func(*options) {}},
		"what existing DaemonSets set in the environment": {
			map[string]string{
				"METALLB_ML_BIND_ADDR": "10.0.0.1", "METALLB_ML_BIND_PORT": "7947", "METALLB_ML_LABELS": "app=metallb,component=speaker",
				"METALLB_ML_SECRET_KEY_PATH": "/etc/ml_secret_key", "METALLB_POD_NAME": "speaker-x", "METALLB_HOST": "10.0.0.1",
				"METALLB_BGP_DEBOUNCE_TIMEOUT": "500", "FRRK8S_NAMESPACE": "frr",
			},
			nil,
			func(o *options) {
				o.ring = ringOptions{bindAddr: "10.0.0.1", bindPort: 7947, labels: "app=metallb,component=speaker", secretKeyPath: "/etc/ml_secret_key"}
				o.PodName, o.frr = "speaker-x", frrOptions{host: "10.0.0.1", namespace: "frr", debounceTimeout: 500}
			},
		},
		"flags win over the environment": {
			map[string]string{"METALLB_ML_BIND_PORT": "7947"},
			[]string{"--node-name=node-b", "--ml-bindport=7948"},
			func(o *options) { o.node, o.ring.bindPort = "node-b", 7948 },
		},
		"every flag": {
			nil,
			[]string{
				"--port=7472", "--namespace=other", "--host=10.0.0.1", "--ml-bindaddr=10.0.0.1", "--ml-bindport=7947", "--ml-labels=app=metallb",
				"--ml-secret-key-path=/key", "--ml-wan-config", "--node-name=node-b", "--pod-name=speaker-x", "--log-level=debug",
				"--health-probe-port=8080", "--pprof-bind-address=127.0.0.1:6060", "--lb-class=herald", "--ignore-exclude-lb",
				"--frrk8s-namespace=frr", "--frrk8s-secret-passthrough", "--bgp-debounce-timeout=500", "--l2-refresh-interval=0", "--bgp-drain-time=1m",
				"--tls-min-version=VersionTLS12", "--tls-curve-preferences=29", "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
				"--metrics-cert-dir=/metrics",
			},
			func(o *options) {
				*o = options{
					Flags: process.Flags{
						MetricsPort: 7472, Namespace: "other", LogLevel: "debug", LoadBalancerClass: "herald", HealthPort: 8080,
						PprofAddress: "127.0.0.1:6060", MetricsCertDir: "/metrics", PodName: "speaker-x",
					},
					node: "node-b", ignoreExcludeLabel: true, drainTime: time.Minute,
					ring: ringOptions{bindAddr: "10.0.0.1", bindPort: 7947, labels: "app=metallb", secretKeyPath: "/key", wan: true},
					frr:  frrOptions{host: "10.0.0.1", namespace: "frr", secretPassthrough: true, debounceTimeout: 500},
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("METALLB_NAMESPACE", "metallb-system")
			t.Setenv("METALLB_NODE_NAME", "node-a")
			for key, value := range tc.env {
				t.Setenv(key, value)
			}
			got, err := parseOptions(tc.args)
			if err != nil {
				t.Fatal(err)
			}
			want := defaults()
			tc.want(&want)
			if diff := cmp.Diff(want, got, fields); diff != "" {
				t.Errorf("options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadOptionsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		env, arg, want string
	}{
		"no node":                    {"", "--node-name=", "--node-name"},
		"no port to gossip on":       {"", "--ml-bindport=0", "--ml-bindport"},
		"a port too high":            {"", "--port=70000", "--port"},
		"a negative interval":        {"", "--l2-refresh-interval=-1s", "--l2-refresh-interval"},
		"an interval without a unit": {"", "--l2-refresh-interval=60", "l2-refresh-interval"},
		"a negative time to drain":   {"", "--bgp-drain-time=-1s", "--bgp-drain-time"},
		"a debounce time of 0":       {"", "--bgp-debounce-timeout=0", "--bgp-debounce-timeout"},
		"a flag that there is not":   {"", "--announce-everything", "announce-everything"},
		"an argument":                {"", "stray", "stray"},
		"a port in words":            {"METALLB_ML_BIND_PORT", "", "METALLB_ML_BIND_PORT"},
		"a debounce time in words":   {"METALLB_BGP_DEBOUNCE_TIMEOUT", "", "METALLB_BGP_DEBOUNCE_TIMEOUT"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.env != "" {
				t.Setenv(tc.env, "many")
			}
			args := []string{"--namespace=x", "--node-name=node-a"}
			if tc.arg != "" {
				args = append(args, tc.arg)
			}
			if _, err := parseOptions(args); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that names %s", err, tc.want)
			}
		})
	}
}

func TestSettingsWithoutEffectAreNoted(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		args []string
		want []string
	}{
		"none":               {nil, nil, nil},
		"those of the flags": {nil, []string{"--frrk8s-namespace=frr", "--frrk8s-secret-passthrough"}, []string{"--frrk8s-namespace", "--frrk8s-secret-passthrough"}},
		"those of the environment": {
			map[string]string{"METALLB_BGP_TYPE": "frr", "FRR_LOGGING_LEVEL": "informational", "FRR_CONFIG_FILE": "/etc/frr/frr.conf", "FRR_RELOADER_PID_FILE": "/pid"},
			nil,
			[]string{"METALLB_BGP_TYPE", "FRR_LOGGING_LEVEL", "FRR_CONFIG_FILE", "FRR_RELOADER_PID_FILE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range tc.env {
				t.Setenv(key, value)
			}
			o, err := parseOptions(append([]string{"--namespace=x", "--node-name=node-a"}, tc.args...))
			if err != nil {
				t.Fatal(err)
			}
			got, err := o.idle()
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("settings without effect (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

func TestFilesThatMayBeMissing(t *testing.T) {
	dir := t.TempDir()
	if excludes, err := readExcludes(filepath.Join(dir, "none")); err != nil || excludes != nil {
		t.Errorf("without the file, excluded are %v, %v", excludes, err)
	}
	if key, err := (ringOptions{}).secretKey(); err != nil || key != nil {
		t.Errorf("without a directory, the key is %q, %v", key, err)
	}
	if _, err := (ringOptions{secretKeyPath: dir}).secretKey(); !os.IsNotExist(err) {
		t.Errorf("a directory without the key: %v, since gossip in the clear is not what was asked for", err)
	}
}

func TestFilesThatAreThere(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	excludes, err := readExcludes(write("good.yaml", "announcedInterfacesToExclude: [\"^veth.*\"]"))
	if err != nil || len(excludes) != 1 || !excludes[0].MatchString("veth0") {
		t.Errorf("excluded are %v, %v", excludes, err)
	}
	bad := write("bad.yaml", "announcedInterfacesToExclude: [\"(\"]")
	if _, err := readExcludes(bad); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("error %v, want one that names %s", err, bad)
	}
	write("secretkey", "key\n")
	if key, err := (ringOptions{secretKeyPath: dir}).secretKey(); err != nil || string(key) != "key\n" {
		t.Errorf("the key is %q, %v, want the file as it is", key, err)
	}
}
