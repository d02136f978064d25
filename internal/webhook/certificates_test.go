package webhook

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var (
	secretName  = types.NamespacedName{Namespace: "metallb-system", Name: "metallb-webhook-cert"}
	serviceName = types.NamespacedName{Namespace: "metallb-system", Name: "metallb-webhook-service"}

	forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, secretName.Name, nil)
)

// api is an API server in memory with a webhook configuration: a webhook of ours, one of
// somebody else's.
type api struct {
	client.WithWatch
	t      *testing.T
	writes int
	// refuse is what reading fails with, and refuseTrust what writing caBundles does.
	refuse, refuseTrust error
	// until is when refusals end, if they do.
	until time.Time
}

func (a *api) refusal(err error) error {
	if !a.until.IsZero() && !time.Now().Before(a.until) {
		return nil
	}
	return err
}

func newAPI(t *testing.T) *api {
	a := &api{t: t}
	hook := func(name, service string) admissionregistrationv1.ValidatingWebhook {
		none := admissionregistrationv1.SideEffectClassNone
		return admissionregistrationv1.ValidatingWebhook{
			Name: name, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				Service:  &admissionregistrationv1.ServiceReference{Namespace: serviceName.Namespace, Name: service},
				CABundle: []byte("whatever"),
			},
		}
	}
	a.WithWatch = fake.NewClientBuilder().WithObjects(&admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ConfigurationName, UID: "4711"},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{hook("ours.metallb.io", serviceName.Name), hook("others.example.com", "other")},
	}).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, o ...client.GetOption) error {
			if err := a.refusal(a.refuse); err != nil {
				return err
			}
			return c.Get(ctx, key, obj, o...)
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, o ...client.CreateOption) error {
			a.writes++
			return c.Create(ctx, obj, o...)
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, o ...client.UpdateOption) error {
			a.writes++
			return c.Update(ctx, obj, o...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, o ...client.ApplyOption) error {
			if err := a.refusal(a.refuseTrust); err != nil {
				return err
			}
			a.writes++
			return c.Apply(ctx, obj, o...)
		},
	}).Build()
	return a
}

// replica is one that has looked at the Secret.
func (a *api) replica() *Certificates {
	a.t.Helper()
	c := NewCertificates(log.NewNopLogger(), a, secretName, serviceName, func(context.Context) error { return nil })
	a.look(c)
	return c
}

func (a *api) look(c *Certificates) {
	a.t.Helper()
	if err := c.ensure(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
}

func (a *api) secret() *corev1.Secret {
	a.t.Helper()
	s := &corev1.Secret{}
	if err := a.Get(a.t.Context(), secretName, s); err != nil {
		a.t.Fatal(err)
	}
	return s
}

// bundles are the caBundles by webhook.
func (a *api) bundles() map[string][]byte {
	a.t.Helper()
	var c admissionregistrationv1.ValidatingWebhookConfiguration
	if err := a.Get(a.t.Context(), types.NamespacedName{Name: ConfigurationName}, &c); err != nil {
		a.t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, w := range c.Webhooks {
		out[w.Name] = w.ClientConfig.CABundle
	}
	return out
}

// trusts checks that the API server trusts what the replicas serve.
func (a *api) trusts(replicas ...*Certificates) {
	a.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.bundles()["ours.metallb.io"])
	for i, c := range replicas {
		served, err := c.Serve(nil)
		if err != nil {
			a.t.Fatal(err)
		}
		if _, err := served.Leaf.Verify(x509.VerifyOptions{DNSName: dnsName, Roots: roots, CurrentTime: time.Now()}); err != nil {
			a.t.Errorf("replica %d is not trusted: %s", i, err)
		}
	}
}

func TestReplicasServeOneCertificateThatTheAPIServerTrusts(t *testing.T) {
	a := newAPI(t)
	first, second := a.replica(), a.replica()
	a.trusts(first, second)
	if b := a.bundles()["others.example.com"]; string(b) != "whatever" {
		t.Errorf("another's webhook has the caBundle %q", b)
	}
	a.writes = 0
	a.look(first)
	a.look(second)
	a.trusts(first, second, a.replica())
	if a.writes != 0 {
		t.Errorf("%d writes though all is in order", a.writes)
	}
}

func TestASecretThatIsDeletedIsMadeAnewForAll(t *testing.T) {
	a := newAPI(t)
	first, second := a.replica(), a.replica()
	before := a.secret()
	if err := a.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	a.look(second)
	a.look(first)
	a.trusts(first, second)
	if bytes.Contains(a.secret().Data[keyTrusted], before.Data[keyTrusted]) {
		t.Error("the authority that somebody wanted gone is still trusted")
	}
}

func TestACABundleThatSomebodyTookAwayIsPutBack(t *testing.T) {
	a := newAPI(t)
	c := a.replica()
	var stored admissionregistrationv1.ValidatingWebhookConfiguration
	if err := a.Get(t.Context(), types.NamespacedName{Name: ConfigurationName}, &stored); err != nil {
		t.Fatal(err)
	}
	stored.Webhooks[0].ClientConfig.CABundle = nil
	if err := a.Update(t.Context(), &stored); err != nil {
		t.Fatal(err)
	}
	a.look(c)
	a.trusts(c)
}

// Others keep the key of an authority with which they sign again and again. What they
// have is good until it is due.
func TestCredentialsOfAnExistingInstallationAreKeptUntilTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		existing := renew(t, credentials{})
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretName.Namespace, Name: secretName.Name}}
		existing.put(s)
		s.Data[keyAuthorityPrivate] = []byte("its key")
		if err := a.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		c := a.replica()
		a.trusts(c)
		if !credentialsIn(a.secret()).equal(existing) {
			t.Error("they were replaced")
		}
		time.Sleep(credentialsLife - credentialsRenewal + time.Hour)
		a.look(c)
		a.trusts(c)
		if key := a.secret().Data[keyAuthorityPrivate]; credentialsIn(a.secret()).equal(existing) || key != nil {
			t.Errorf("when they are due they are kept, with the key %q", key)
		}
	})
}

func TestARenewedCertificateIsServedOnceItIsTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		c := a.replica()
		former := served(t, c)
		time.Sleep(credentialsLife - credentialsRenewal + time.Hour)
		a.refuseTrust = apierrors.NewInternalError(errors.New("etcd has no leader"))
		for range 2 {
			if err := c.ensure(t.Context()); err == nil {
				t.Error("that the API server was not told is no error")
			}
			a.trusts(c)
		}
		if served(t, c) != former {
			t.Error("another certificate is served")
		}
		a.refuseTrust = nil
		a.look(c)
		a.trusts(c)
		if served(t, c) == former {
			t.Error("the former certificate is served still")
		}
	})
}

// Then somebody else keeps the caBundles, and waits for what is in the Secret.
func TestARenewedCertificateIsServedWhereTheRolesDoNotLetItBeTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		c := a.replica()
		former := served(t, c)
		time.Sleep(credentialsLife - credentialsRenewal + time.Hour)
		a.refuseTrust = forbidden
		if err := c.ensure(t.Context()); !errors.Is(err, errNotGranted) {
			t.Errorf("error %v, want %v", err, errNotGranted)
		}
		if served(t, c) == former {
			t.Error("the former certificate is served still")
		}
	})
}

// served is the certificate itself.
func served(t *testing.T, c *Certificates) string {
	t.Helper()
	pair, err := c.Serve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(pair.Certificate[0])
}

func TestRolesThatGrantItLaterAreNoticedWithinAMinute(t *testing.T) {
	for name, refuse := range map[string]func(*api) *error{
		"the Secret":    func(a *api) *error { return &a.refuse },
		"the caBundles": func(a *api) *error { return &a.refuseTrust },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t)
				*refuse(a), a.until = forbidden, time.Now().Add(time.Second)
				c := NewCertificates(log.NewNopLogger(), a, secretName, serviceName, func(context.Context) error { return nil })
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				go func() { _ = c.Start(ctx) }()
				time.Sleep(time.Minute)
				synctest.Wait()
				a.trusts(c)
			})
		})
	}
}

func TestWithoutAWebhookConfigurationThereIsNothingToTell(t *testing.T) {
	a := newAPI(t)
	if err := a.Delete(t.Context(), &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: ConfigurationName}}); err != nil {
		t.Fatal(err)
	}
	if err := a.replica().Ready(nil); err != nil {
		t.Errorf("not ready: %s", err)
	}
}

func TestAReplicaIsReadyWhenItCanAnswerOrNeverWill(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse error
		ready  bool
	}{
		"with a certificate":                            {nil, true},
		"not while the API server does not answer":      {apierrors.NewServiceUnavailable("starting"), false},
		"where the roles do not grant it a certificate": {forbidden, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.refuse = tc.refuse
			looked := make(chan struct{})
			c := NewCertificates(log.NewNopLogger(), a, secretName, serviceName, func(context.Context) error { return nil })
			if err := c.Ready(&http.Request{}); err == nil {
				t.Error("ready before it has looked")
			}
			ctx, stop := context.WithCancel(t.Context())
			go func() { _ = c.Start(ctx); close(looked) }()
			stop() // it looks once all the same
			<-looked
			if err := c.Ready(&http.Request{}); (err == nil) != tc.ready {
				t.Errorf("ready: %v, want %t", err, tc.ready)
			}
		})
	}
}
