package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/go-kit/log"

	"github.com/herald-lb/herald/internal/process"
)

// logger is go-kit's, everywhere.
type logger = log.Logger

// The values of --webhook-mode.
const (
	webhookEnabled  = "enabled"
	webhookDisabled = "disabled"
	webhookOnly     = "onlywebhook"
)

// options are the controller's settings.
type options struct {
	process.Flags

	// memberlistSecret is made if it is missing; empty makes none.
	memberlistSecret string
	// deployment owns that secret.
	deployment  string
	webhookMode string
	admission   admissionOptions
}

// admissionOptions are settings of the admission webhook, which existing manifests
// set. What a single object can get wrong the CRDs refuse without it.
type admissionOptions struct {
	disableCertRotation bool
	certDir             string
	certServiceName     string
	secret              string
	http2               bool
}

func parseOptions(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("controller", flag.ContinueOnError)
	o.Register(fs)
	fs.StringVar(&o.memberlistSecret, "ml-secret-name", os.Getenv("METALLB_ML_SECRET_NAME"), "name of the memberlist Secret to make if it is missing")
	fs.StringVar(&o.deployment, "deployment", os.Getenv("METALLB_DEPLOYMENT"), "name of this Deployment, which owns the memberlist Secret")
	fs.StringVar(&o.webhookMode, "webhook-mode", webhookEnabled, "enabled, disabled or onlywebhook")
	fs.BoolVar(&o.admission.disableCertRotation, "disable-cert-rotation", false, "leave the webhook's certificate alone")
	fs.StringVar(&o.admission.certDir, "cert-dir", "/tmp/k8s-webhook-server/serving-certs", "directory of the webhook's certificate")
	fs.StringVar(&o.admission.certServiceName, "cert-service-name", "metallb-webhook-service", "name of the Service of the webhook")
	fs.StringVar(&o.admission.secret, "webhook-secret", "metallb-webhook-cert", "name of the Secret with the webhook's certificate")
	fs.BoolVar(&o.admission.http2, "webhook-http2", false, "serve the webhook over HTTP/2 too")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	switch o.webhookMode {
	case webhookEnabled, webhookDisabled, webhookOnly:
	default:
		return o, fmt.Errorf("--webhook-mode: unknown mode %q: want enabled, disabled or onlywebhook", o.webhookMode)
	}
	if o.memberlistSecret != "" && o.deployment == "" {
		return o, fmt.Errorf("--ml-secret-name needs --deployment (or METALLB_DEPLOYMENT), the owner of the Secret")
	}
	return o, o.Complete()
}
