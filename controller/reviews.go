package main

import (
	"context"
	"crypto/tls"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlwebhook "sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/herald-lb/herald/internal/webhook"
)

// addReviews has every replica review changes of the configuration, under a certificate
// that it keeps itself unless it is told not to.
func addReviews(ctx context.Context, mgr ctrl.Manager, logger logger, o options) error {
	if _, err := mgr.GetCache().GetInformer(ctx, &corev1.Service{}); err != nil {
		return fmt.Errorf("watch services: %w", err)
	}
	settings := ctrlwebhook.Options{CertDir: o.admission.certDir, TLSOpts: []func(*tls.Config){o.TLS.Apply, o.admission.apply}}
	if !o.admission.disableCertRotation {
		certificates, err := keepCertificates(mgr, logger, o)
		if err != nil {
			return err
		}
		settings.TLSOpts = append(settings.TLSOpts, func(c *tls.Config) { c.GetCertificate = certificates.Serve })
	}
	server := webhook.Lingering(ctrlwebhook.NewServer(settings))
	webhook.Register(server, logger, o.Namespace, world{
		logger: logger, stored: mgr.GetAPIReader(), services: mgr.GetClient(), namespace: o.Namespace, class: o.LoadBalancerClass,
	})
	return mgr.Add(server)
}

// keepCertificates starts them when the server listens and the caches are read. What
// they write any replica may write, so no fence stands before it.
func keepCertificates(mgr ctrl.Manager, logger logger, o options) (*webhook.Certificates, error) {
	c, err := client.New(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, err
	}
	named := func(name string) types.NamespacedName {
		return types.NamespacedName{Namespace: o.Namespace, Name: name}
	}
	var certificates *webhook.Certificates
	look := func(client.Object) { certificates.LookAgain() }
	certificates = webhook.NewCertificates(logger, c, named(o.admission.secret), named(o.admission.certServiceName), func(ctx context.Context) error {
		if err := onEvery(ctx, mgr, &corev1.Secret{}, look); err != nil {
			return fmt.Errorf("watch Secret %s: %w", o.admission.secret, err)
		}
		if err := onEvery(ctx, mgr, &admissionregistrationv1.ValidatingWebhookConfiguration{}, look); err != nil {
			return fmt.Errorf("watch ValidatingWebhookConfiguration %s: %w", webhook.ConfigurationName, err)
		}
		return nil
	})
	if err := mgr.AddReadyzCheck("webhook", certificates.Ready); err != nil {
		return nil, err
	}
	return certificates, mgr.Add(certificates)
}

// apply sets what differs from the other endpoints.
func (a admissionOptions) apply(c *tls.Config) {
	if a.http2 {
		c.NextProtos = append([]string{"h2"}, c.NextProtos...)
	}
}
