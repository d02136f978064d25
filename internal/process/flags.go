// Package process is what both binaries have in common as processes: the flags that
// they share, and the manager with its metrics, health and profiling endpoints.
package process

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/herald-lb/herald/internal/logging"
)

// Flags are the settings that both binaries take.
type Flags struct {
	// MetricsPort serves metrics over HTTPS; 0 serves none.
	MetricsPort int
	Namespace   string
	LogLevel    string
	// LoadBalancerClass restricts the Services looked at to those of the class.
	LoadBalancerClass string
	// HealthPort serves /healthz and /readyz.
	HealthPort   int
	PprofAddress string
	// MetricsCertDir holds tls.crt and tls.key; empty makes a certificate in memory.
	MetricsCertDir string
	PodName        string
	TLS            TLSFlags
}

// Register adds the flags to the set. Defaults come from the environment variables
// that existing Deployments and DaemonSets set.
func (f *Flags) Register(fs *flag.FlagSet) {
	fs.IntVar(&f.MetricsPort, "port", 9120, "HTTPS port for metrics; 0 serves none")
	fs.StringVar(&f.Namespace, "namespace", os.Getenv("METALLB_NAMESPACE"), "namespace of the configuration (default: that of the service account)")
	fs.StringVar(&f.LogLevel, "log-level", "info", "one of "+strings.Join(logging.Levels, ", "))
	fs.StringVar(&f.LoadBalancerClass, "lb-class", "", "handle only Services of this loadBalancerClass (default: only those without one)")
	fs.IntVar(&f.HealthPort, "health-probe-port", 17472, "port for /healthz and /readyz")
	fs.StringVar(&f.PprofAddress, "pprof-bind-address", "", "address for profiling, such as 127.0.0.1:6060 (default: none)")
	fs.StringVar(&f.MetricsCertDir, "metrics-cert-dir", "", "directory with tls.crt and tls.key for metrics (default: self-signed)")
	fs.StringVar(&f.PodName, "pod-name", os.Getenv("METALLB_POD_NAME"), "name of this pod")
	f.TLS.register(fs)
}

// Complete fills in what flags and environment leave open, and checks the rest.
func (f *Flags) Complete() error {
	for name, port := range map[string]int{"port": f.MetricsPort, "health-probe-port": f.HealthPort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("--%s: %d is not a port", name, port)
		}
	}
	if f.Namespace == "" {
		ns, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
		if err != nil {
			return fmt.Errorf("--namespace and METALLB_NAMESPACE are not set, and there is no service account to tell: %w", err)
		}
		f.Namespace = strings.TrimSpace(string(ns))
	}
	return f.TLS.check()
}

// BGPType returns the value of METALLB_BGP_TYPE, which chose between back-ends that
// Herald does not need: any of them is served by the same code. It is empty where the
// value asks for nothing else than that, and an unknown value is an error.
func BGPType() (string, error) {
	switch t := os.Getenv("METALLB_BGP_TYPE"); t {
	case "", "native":
		return "", nil
	case "frr", "frr-k8s":
		return t, nil
	default:
		return "", fmt.Errorf("METALLB_BGP_TYPE: unknown value %q: want native, frr or frr-k8s", t)
	}
}

// NoteIdle says in one line which of the given settings have no effect, if any.
func NoteIdle(l log.Logger, settings []string) {
	if len(settings) > 0 {
		level.Info(l).Log("msg", "settings have no effect: BGP is spoken in process, without FRR", "settings", strings.Join(settings, " "))
	}
}
