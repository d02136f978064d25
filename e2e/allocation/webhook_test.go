//go:build e2e

package allocation

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/util/cert"

	"github.com/herald-lb/herald/e2e/lab"
)

// What existing Deployments set of the webhook has its effect.
func TestFlagsOfTheWebhook(t *testing.T) {
	const (
		usual = "metallb-webhook-service.metallb-system.svc"
		// The rights of the controller go no further than the Secret with the usual name.
		admin = true
	)
	s := newStage(t)
	dir := certificateDir(t, "given.example.com")
	for _, c := range []struct {
		name     string
		args     []string
		admin    bool
		serves   string // this name; "": nobody listens
		protocol string
	}{
		{"none", nil, !admin, usual, "http/1.1"},
		{"HTTP/2", []string{"--webhook-http2"}, !admin, usual, "h2"},
		{"disabled", []string{"--webhook-mode=disabled"}, !admin, "", ""},
		{"nothing else", []string{"--webhook-mode=onlywebhook"}, !admin, usual, "http/1.1"},
		{"a certificate that is given", []string{"--disable-cert-rotation", "--cert-dir=" + dir}, !admin, "given.example.com", "http/1.1"},
		{"other names", []string{"--cert-service-name=hook", "--webhook-secret=hook-cert"}, admin, "hook.metallb-system.svc", "http/1.1"},
	} {
		s.on(c.name, func(s *stage) {
			start := Start{Kubeconfig: credentials, Args: c.args}
			if c.admin {
				start.Kubeconfig = world.Lab.Kubeconfig()
			}
			defer beside(s.ctx, s.T, start).Stop()
			name, protocol := s.served()
			if name != c.serves || protocol != c.protocol {
				s.Errorf("served: certificate for %q over %q, want %q over %q", name, protocol, c.serves, c.protocol)
			}
		})
	}
}

// served says which name the certificate is for and which protocol is spoken; nothing if nobody listens.
func (s *stage) served() (name, protocol string) {
	s.Helper()
	connection, err := world.Lab.Dial(s.ctx, lab.Client, "tcp", "127.0.0.1:9443")
	if err != nil {
		return "", ""
	}
	client := tls.Client(connection, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	defer client.Close()
	s.must(client.HandshakeContext(s.ctx))
	state := client.ConnectionState()
	return strings.Join(state.PeerCertificates[0].DNSNames, " "), state.NegotiatedProtocol
}

// certificateDir holds tls.crt and tls.key, as a Secret that is mounted.
func certificateDir(t *testing.T, name string) string {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey(name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, content := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
