//go:build e2e

package allocation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

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
		subject  string // "": nobody listens
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
			subject, protocol := s.served()
			if subject != c.subject || protocol != c.protocol {
				s.Errorf("served: certificate of %q over %q, want %q over %q", subject, protocol, c.subject, c.protocol)
			}
		})
	}
}

// served says whose certificate is shown and which protocol is spoken; nothing if nobody listens.
func (s *stage) served() (subject, protocol string) {
	s.Helper()
	connection, err := world.Lab.Dial(s.ctx, lab.Client, "tcp", "127.0.0.1:9443")
	if err != nil {
		return "", ""
	}
	client := tls.Client(connection, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	defer client.Close()
	s.must(client.HandshakeContext(s.ctx))
	state := client.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName, state.NegotiatedProtocol
}

// certificateDir holds tls.crt and tls.key, as a Secret that is mounted.
func certificateDir(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for file, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate}, "tls.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
