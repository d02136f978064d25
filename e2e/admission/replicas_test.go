//go:build e2e

package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

const (
	hooks      = "metallb-webhook-configuration"
	secretName = "metallb-webhook-cert"
)

// bundle is what the API server trusts for all webhooks; nil while that is not one and the same.
func bundle(ctx context.Context, t *testing.T) []byte {
	t.Helper()
	configuration, err := cluster.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, hooks, metav1.GetOptions{})
	must(t, err)
	for _, w := range configuration.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, configuration.Webhooks[0].ClientConfig.CABundle) {
			return nil
		}
	}
	return configuration.Webhooks[0].ClientConfig.CABundle
}

// ask sends a pod a question as the API server does, trusting whom that trusts.
func ask(ctx context.Context, pod corev1.Pod, trusted []byte) (string, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	transport := &http.Transport{
		DialContext:     cluster.DialFrom(lab.Control),
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "metallb-webhook-service.metallb-system.svc"},
	}
	defer transport.CloseIdleConnections()
	const question = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u","operation":"CREATE","namespace":"default","object":{}}}`
	url := "https://" + net.JoinHostPort(pod.Status.PodIP, "9443") + "/validate-metallb-io-v1beta1-community"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(question))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return string(answer), err
}

// allAnswer waits until each of two replicas answers under what is trusted.
func allAnswer(ctx context.Context, t *testing.T, trusted []byte) {
	t.Helper()
	must(t, herald.Await(ctx, "both replicas to answer", func(ctx context.Context) error {
		pods, err := herald.Pods(ctx, cluster, "controller")
		if err != nil || len(pods) != 2 {
			return fmt.Errorf("%d pods: %w", len(pods), err)
		}
		for _, pod := range pods {
			answer, err := ask(ctx, pod, trusted)
			if err != nil || !strings.Contains(answer, "resource must be created in metallb-system namespace") {
				return fmt.Errorf("%s says %q: %w", pod.Name, answer, err)
			}
		}
		return nil
	}))
}

func TestCertificates(t *testing.T) {
	ctx := begin(t)
	t.Run("both replicas answer, the one that leads and the one that stands by", func(t *testing.T) {
		allAnswer(ctx, t, bundle(ctx, t))
	})

	t.Run("a Secret that is deleted is made anew, and what is in it served and trusted", func(t *testing.T) {
		before := bundle(ctx, t)
		must(t, cluster.Client().CoreV1().Secrets(herald.Namespace).Delete(ctx, secretName, metav1.DeleteOptions{}))
		after := awaitBundle(ctx, t, func(b []byte) bool { return !bytes.Equal(b, before) })
		allAnswer(ctx, t, after)
		refused(ctx, t)
	})

	t.Run("a certificate that is none is replaced", func(t *testing.T) {
		secrets := cluster.Client().CoreV1().Secrets(herald.Namespace)
		secret, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
		must(t, err)
		trusted := secret.Data["ca.crt"]
		secret.Data["tls.crt"] = []byte("nonsense")
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		must(t, err)
		must(t, herald.Await(ctx, "another certificate", func(ctx context.Context) error {
			now, err := secrets.Get(ctx, secretName, metav1.GetOptions{})
			if err == nil && !bytes.HasPrefix(now.Data["tls.crt"], []byte("-----BEGIN CERTIFICATE")) {
				err = fmt.Errorf("it is %q", now.Data["tls.crt"])
			}
			return err
		}))
		after := awaitBundle(ctx, t, func(b []byte) bool { return !bytes.Equal(b, trusted) })
		if !bytes.HasSuffix(after, trusted) {
			t.Error("the authority before is not trusted any more, which a replica may be serving under still")
		}
		allAnswer(ctx, t, after)
		refused(ctx, t)
	})

	t.Run("applying the manifest again leaves the caBundles alone, however it is applied", func(t *testing.T) {
		before := bundle(ctx, t)
		version := versionOfHooks(ctx, t)
		must(t, cluster.ApplyFile(ctx, herald.Manifest(root)))
		if now := versionOfHooks(ctx, t); now != version {
			t.Errorf("the webhook configuration was changed: version %s, then %s", version, now)
		}
		output, err := on(cluster.Kubectl(ctx, "apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", herald.Manifest(root)), "")
		if err != nil {
			t.Fatalf("kubectl apply --server-side: %s", output)
		}
		if !bytes.Equal(bundle(ctx, t), before) {
			t.Error("the caBundles changed")
		}
	})

	t.Run("caBundles that somebody takes away are put back", func(t *testing.T) {
		before := bundle(ctx, t)
		remove := `[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]`
		output, err := on(cluster.Kubectl(ctx, "patch", "validatingwebhookconfiguration", hooks, "--type=json", "--patch", remove), "")
		if err != nil {
			t.Fatalf("kubectl patch: %s", output)
		}
		awaitBundle(ctx, t, func(b []byte) bool { return bytes.Equal(b, before) })
	})
}

func awaitBundle(ctx context.Context, t *testing.T, wanted func([]byte) bool) (now []byte) {
	t.Helper()
	must(t, herald.Await(ctx, "the caBundle", func(ctx context.Context) error {
		if now = bundle(ctx, t); !wanted(now) {
			return fmt.Errorf("it is %.60q", now)
		}
		return nil
	}))
	return now
}

func versionOfHooks(ctx context.Context, t *testing.T) string {
	t.Helper()
	configuration, err := cluster.Client().AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, hooks, metav1.GetOptions{})
	must(t, err)
	return configuration.ResourceVersion
}

func TestReplicasThatGo(t *testing.T) {
	ctx := begin(t)
	t.Cleanup(func() { scale(context.WithoutCancel(ctx), t, 2) })

	t.Run("the one that is left reviews, and leads", func(t *testing.T) {
		scale(ctx, t, 1)
		must(t, awaitReviews(ctx))
		refused(ctx, t)
		pods, err := herald.Pods(ctx, cluster, "controller")
		must(t, err)
		must(t, herald.Await(ctx, "the one that is left to lead", func(ctx context.Context) error {
			lease, err := cluster.Client().CoordinationV1().Leases(herald.Namespace).Get(ctx, "metallb-controller", metav1.GetOptions{})
			if err == nil && *lease.Spec.HolderIdentity != pods[0].Name {
				err = fmt.Errorf("%s does", *lease.Spec.HolderIdentity)
			}
			return err
		}))
	})

	t.Run("without any, changes are accepted, and what is wrong is reported when one is back", func(t *testing.T) {
		scale(ctx, t, 0)
		output, err := kubectl(ctx, overlapping, "create")
		if err != nil {
			t.Fatalf("kubectl says %q, want the change accepted", output)
		}
		scale(ctx, t, 2)
		reported(ctx, t, "Invalid", overlaps)
		must(t, herald.Await(ctx, "an event on the object", func(ctx context.Context) error {
			events, err := cluster.Client().CoreV1().Events(herald.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=overlapping"})
			if err != nil || len(events.Items) == 0 || !strings.Contains(events.Items[0].Message, overlaps) {
				return fmt.Errorf("its events are %v: %w", events, err)
			}
			return nil
		}))
		output, err = kubectl(ctx, overlapping, "delete")
		if err != nil {
			t.Errorf("what is wrong cannot be removed: %s", output)
		}
		reported(ctx, t, "Valid", "")
	})
}

// scale returns when there are so many replicas, no more, and all are ready.
func scale(ctx context.Context, t *testing.T, replicas int) {
	t.Helper()
	output, err := on(cluster.Kubectl(ctx, "scale", "--namespace", herald.Namespace, "deployment/controller", fmt.Sprintf("--replicas=%d", replicas)), "")
	if err != nil {
		t.Fatalf("kubectl scale: %s", output)
	}
	must(t, cluster.AwaitRollout(ctx, herald.Namespace, "deployment/controller"))
	must(t, herald.Await(ctx, "pods to end", func(ctx context.Context) error {
		pods, err := herald.Pods(ctx, cluster, "controller")
		if err == nil && len(pods) != replicas {
			err = fmt.Errorf("there are %d", len(pods))
		}
		return err
	}))
}

// reported waits for the controller's ConfigurationState.
func reported(ctx context.Context, t *testing.T, result, why string) {
	t.Helper()
	must(t, herald.Await(ctx, "ConfigurationState controller to be "+result, func(ctx context.Context) error {
		output, err := on(cluster.Kubectl(ctx, "get", "configurationstate", "controller", "--namespace", herald.Namespace, "--output", "jsonpath={.status.result}: {.status.errorSummary}"), "")
		if err == nil && (!strings.HasPrefix(output, result+": ") || !strings.Contains(output, why)) {
			err = fmt.Errorf("it says %q", output)
		}
		return err
	}))
}
