package process

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/herald-lb/herald/internal/logging"
	"github.com/herald-lb/herald/internal/version"
)

// shutdownPatience is how long the manager waits for its parts to end.
const shutdownPatience = 3 * time.Second

// Manager returns a manager that serves the endpoints which the flags ask for, with
// health on healthHost (empty: all addresses), and whatever else a program sets.
// Libraries log through l from here on.
func (f *Flags) Manager(l log.Logger, scheme *runtime.Scheme, objects cache.Options, healthHost string, set ...func(*ctrl.Options)) (ctrl.Manager, error) {
	economize(f.PprofAddress != "")
	logr := logging.Logr(l, f.LogLevel)
	ctrl.SetLogger(logr)
	klog.SetLogger(logr)

	cfg, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("find the API server: %w", err)
	}
	o := ctrl.Options{
		Scheme:                  scheme,
		Logger:                  logr,
		Cache:                   objects,
		Metrics:                 f.metrics(),
		HealthProbeBindAddress:  net.JoinHostPort(healthHost, strconv.Itoa(f.HealthPort)),
		PprofBindAddress:        f.PprofAddress,
		GracefulShutdownTimeout: new(shutdownPatience),
	}
	for _, set := range set {
		set(&o)
	}
	mgr, err := ctrl.NewManager(tuned(cfg, l), o)
	if err != nil {
		return nil, fmt.Errorf("set up manager: %w", err)
	}
	return mgr, errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.Add(manager.RunnableFunc(unmapOnceStarted)))
}

// tuned leaves the pace to the API server's own priority and fairness, and has informers
// know of its return soon.
func tuned(cfg *rest.Config, l log.Logger) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	cfg.UserAgent = "herald/" + version.Version
	away := new(atomic.Bool)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return steadfast{next, l, away} })
	return cfg
}

// metrics are served over HTTPS, to those whom the API server lets read /metrics.
func (f *Flags) metrics() metricsserver.Options {
	if f.MetricsPort == 0 {
		return metricsserver.Options{BindAddress: "0"}
	}
	return metricsserver.Options{
		BindAddress:    net.JoinHostPort("", strconv.Itoa(f.MetricsPort)),
		SecureServing:  true,
		FilterProvider: lettingReadersIn,
		CertDir:        f.MetricsCertDir,
		TLSOpts:        []func(*tls.Config){f.TLS.Apply},
	}
}
