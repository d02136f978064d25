// Package allocation runs the controller alone against a real API server, with the rights that the manifest gives it, and
// proves from outside what it gives to Services: by what the API server stores, and by what the controller asks of it.
package allocation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// World is a lab without nodes, in which Herald's manifest was applied but its programs do not run: a test runs the
// controller itself.
type World struct {
	Lab     *lab.Lab
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
}

// NewWorld brings the lab up and applies what the controller needs of the manifest, in the repository with this root.
func NewWorld(ctx context.Context, o lab.Options, root string) (*World, error) {
	o.Nodes, o.Light = 1, true
	l, err := lab.Up(ctx, o)
	if err != nil {
		return nil, err
	}
	// Nobody sends traffic here, so that a node would only take the processor from what is looked at.
	if err := l.Kill(ctx, lab.NodeName(1)); err != nil {
		return nil, err
	}
	w, err := connect(l)
	if err != nil {
		return nil, err
	}
	manifest, err := os.ReadFile(herald.Manifest(root))
	if err != nil {
		return nil, err
	}
	installed, err := withoutPods(string(manifest))
	if err != nil {
		return nil, err
	}
	return w, l.Apply(ctx, installed)
}

// connect makes clients that are not slowed down.
func connect(l *lab.Lab) (*World, error) {
	config := Unthrottled(l)
	client, err1 := kubernetes.NewForConfig(config)
	objects, err2 := dynamic.NewForConfig(config)
	return &World{Lab: l, Client: client, Dynamic: objects}, errors.Join(err1, err2)
}

// Unthrottled is the administrator's configuration without a limit on requests. Each call gives clients a connection of
// their own.
func Unthrottled(l *lab.Lab) *rest.Config {
	config := l.RESTConfig()
	config.QPS = -1
	return config
}

// Down takes the lab down.
func (w *World) Down(ctx context.Context) error { return lab.Down(ctx, w.Lab.Name) }

// withoutPods leaves out of the manifest what would run pods, or call them. The Deployment stays, empty: it owns what
// the controller makes.
func withoutPods(manifest string) (string, error) {
	var kept []string
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return "", fmt.Errorf("read the manifest: %w", err)
		}
		switch object["kind"] {
		case "DaemonSet", "ValidatingWebhookConfiguration":
			continue
		case "Deployment":
			object["spec"].(map[string]any)["replicas"] = 0
		}
		text, err := yaml.Marshal(object)
		if err != nil {
			return "", err
		}
		kept = append(kept, string(text))
	}
	return strings.Join(kept, "\n---\n"), nil
}

// Token lets a program be the service account controller.
func (w *World) Token(ctx context.Context) (string, error) {
	day := int64(24 * 60 * 60)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}
	token, err := w.Client.CoreV1().ServiceAccounts(herald.Namespace).CreateToken(ctx, "controller", request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request a token of the controller: %w", err)
	}
	return token.Status.Token, nil
}

// Kubeconfig writes a file that lets a program be the service account controller.
func (w *World) Kubeconfig(ctx context.Context, file string) error {
	token, err := w.Token(ctx)
	if err != nil {
		return err
	}
	admin := w.Lab.RESTConfig()
	return WriteKubeconfig(file, &api.Cluster{Server: admin.Host, CertificateAuthorityData: admin.CAData}, token)
}

// WriteKubeconfig writes a file that leads to a server.
func WriteKubeconfig(file string, server *api.Cluster, token string) error {
	config := api.NewConfig()
	config.Clusters["lab"] = server
	config.AuthInfos["controller"] = &api.AuthInfo{Token: token}
	config.Contexts["lab"] = &api.Context{Cluster: "lab", AuthInfo: "controller"}
	config.CurrentContext = "lab"
	return clientcmd.WriteToFile(*config, file)
}
