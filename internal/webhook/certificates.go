package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	applyv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ConfigurationName is the ValidatingWebhookConfiguration that existing installations have.
const ConfigurationName = "metallb-webhook-configuration"

// fieldManager owns the caBundles in it, and nothing else, so that who manages the rest
// never meets them.
const fieldManager = "herald-certificates"

// Certificates are checked so often though nothing happens, and after an error so soon.
// Roles that do not let them be kept may be others a minute later.
const (
	certificatesRecheck = 12 * time.Hour
	certificatesRetry   = 5 * time.Second
	grantRecheck        = time.Minute
)

// errNotGranted says that roles which predate Herald do not let it keep certificates.
var errNotGranted = errors.New("the roles do not grant it")

// Certificates keep the server's certificate in a Secret which all replicas share, serve
// it, and tell the API server whom to trust. Any replica does what is to be done:
// where two do it at once, the API server takes the first.
type Certificates struct {
	logger log.Logger
	// client reads what is stored, without a cache, and writes.
	client   client.Client
	secret   types.NamespacedName
	service  types.NamespacedName
	watch    func(context.Context) error
	watching bool

	served atomic.Pointer[tls.Certificate]
	// without is set where nothing is to be had: being ready does not wait for it.
	without atomic.Bool
	again   chan struct{}
}

// NewCertificates returns the Certificates of a server that is reached through a Service.
// The client must not read from a cache. Once both may be read, watch is called, which has
// LookAgain called when the Secret or the webhook configuration changes.
func NewCertificates(l log.Logger, c client.Client, secret, service types.NamespacedName, watch func(context.Context) error) *Certificates {
	return &Certificates{logger: l, client: c, secret: secret, service: service, watch: watch, again: make(chan struct{}, 1)}
}

// Serve is for a server's tls.Config.
func (c *Certificates) Serve(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if served := c.served.Load(); served != nil {
		return served, nil
	}
	return nil, errors.New("no certificate yet")
}

// Ready says whether there is a certificate to serve, so that no replica is asked before
// it can answer.
func (c *Certificates) Ready(*http.Request) error {
	if c.served.Load() == nil && !c.without.Load() {
		return errors.New("no certificate yet")
	}
	return nil
}

// NeedLeaderElection says that every replica runs it.
func (c *Certificates) NeedLeaderElection() bool { return false }

// LookAgain has the Secret and the webhook configuration looked at, one of which may have
// changed. It does not block.
func (c *Certificates) LookAgain() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// Start keeps the certificates until ctx ends.
func (c *Certificates) Start(ctx context.Context) error {
	for {
		pause := certificatesRecheck
		switch err := c.ensure(ctx); {
		case errors.Is(err, errNotGranted):
			pause = grantRecheck
			if !c.without.Swap(true) {
				level.Info(c.logger).Log("msg", "changes of the configuration are not reviewed: the roles do not let certificates be kept")
			}
		case err != nil && ctx.Err() == nil:
			level.Error(c.logger).Log("msg", "webhook's certificate not in order", "error", err, "retry", certificatesRetry)
			pause = certificatesRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.again:
		case <-time.After(pause):
		}
	}
}

// ensure goes from the Secret to what is served and what is trusted. Who serves a
// certificate already has the API server trust the next one first; who serves none yet
// is not sent anything before it does.
func (c *Certificates) ensure(ctx context.Context) error {
	credentials, err := c.kept(ctx)
	if err != nil {
		return err
	}
	serving, err := tls.X509KeyPair(credentials.certificate, credentials.key)
	if err != nil {
		return fmt.Errorf("read the certificate in Secret %s: %w", c.secret, err)
	}
	if c.served.Load() == nil {
		c.served.Store(&serving)
	}
	err = c.trust(ctx, credentials.trusted)
	if err == nil || errors.Is(err, errNotGranted) {
		c.served.Store(&serving)
	}
	if err != nil || c.watching {
		return err
	}
	c.watching = true
	return c.watch(ctx)
}

// kept returns the credentials in the Secret, made or renewed where need be.
func (c *Certificates) kept(ctx context.Context) (credentials, error) {
	for {
		stored := &corev1.Secret{}
		err := c.client.Get(ctx, c.secret, stored)
		missing := apierrors.IsNotFound(err)
		if err != nil && !missing {
			return credentials{}, granted(fmt.Errorf("read Secret %s: %w", c.secret, err))
		}
		have := credentialsIn(stored)
		want, err := have.renewed(c.service.Name + "." + c.service.Namespace + ".svc")
		if err != nil || want.equal(have) {
			return want, err
		}
		stored.Name, stored.Namespace = c.secret.Name, c.secret.Namespace
		want.put(stored)
		err = c.write(ctx, stored, missing)
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue // another replica was first
		}
		if err != nil {
			return credentials{}, granted(fmt.Errorf("write Secret %s: %w", c.secret, err))
		}
		level.Info(c.logger).Log("msg", "webhook's certificate made", "secret", c.secret)
		return want, nil
	}
}

func (c *Certificates) write(ctx context.Context, secret *corev1.Secret, missing bool) error {
	if missing {
		return c.client.Create(ctx, secret)
	}
	return c.client.Update(ctx, secret) // of this very version
}

func granted(err error) error {
	if apierrors.IsForbidden(err) {
		return errNotGranted
	}
	return err
}

// trust has the API server trust the authorities wherever it is to call our Service.
func (c *Certificates) trust(ctx context.Context, authorities []byte) error {
	stored := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	err := c.client.Get(ctx, types.NamespacedName{Name: ConfigurationName}, stored)
	if apierrors.IsNotFound(err) {
		return nil // somebody does without
	}
	if err != nil {
		return granted(fmt.Errorf("read ValidatingWebhookConfiguration %s: %w", ConfigurationName, err))
	}
	wanted := c.trusting(stored, authorities)
	if wanted == nil {
		return nil
	}
	if err := c.client.Apply(ctx, wanted, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return granted(fmt.Errorf("write the caBundles of ValidatingWebhookConfiguration %s: %w", ConfigurationName, err))
	}
	level.Info(c.logger).Log("msg", "API server told whom to trust", "configuration", ConfigurationName)
	return nil
}

// trusting is what to apply so that all webhooks of ours have the caBundle; nil where they
// have it. The UID keeps it from making an object that was deleted just now.
func (c *Certificates) trusting(
	stored *admissionregistrationv1.ValidatingWebhookConfiguration, caBundle []byte,
) *applyv1.ValidatingWebhookConfigurationApplyConfiguration {
	wanted := applyv1.ValidatingWebhookConfiguration(stored.Name).WithUID(stored.UID)
	inOrder := true
	for _, w := range stored.Webhooks {
		s := w.ClientConfig.Service
		if s == nil || s.Namespace != c.service.Namespace || s.Name != c.service.Name {
			continue
		}
		trusting := applyv1.WebhookClientConfig().WithCABundle(caBundle...)
		wanted.WithWebhooks(applyv1.ValidatingWebhook().WithName(w.Name).WithClientConfig(trusting))
		inOrder = inOrder && bytes.Equal(w.ClientConfig.CABundle, caBundle)
	}
	if inOrder {
		return nil
	}
	return wanted
}
