package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/cert"
)

const (
	// credentialsLife is how long credentials are good for, and credentialsRenewal how long
	// before their end others take their place.
	credentialsLife    = 365 * 24 * time.Hour
	credentialsRenewal = 120 * 24 * time.Hour
)

// The keys of the Secret, as existing ones have them.
const (
	keyTrusted          = "ca.crt"
	keyAuthorityPrivate = "ca.key"
)

// credentials are what the Secret holds, PEM-encoded.
type credentials struct {
	// trusted are the authorities that the API server is to trust: the one that signed what
	// is served, and the one before it, which another replica may be serving under still.
	trusted []byte
	// certificate is the server's, and key its private key.
	certificate, key []byte
}

// renewed returns credentials for the DNS name that are good for some time yet: the ones
// given, as far as they are, else new ones. Their authority signs once: its key is not kept.
func (c credentials) renewed(name string) (credentials, error) {
	if c.check(name, time.Now().Add(credentialsRenewal)) == nil {
		return c, nil
	}
	certificate, key, err := cert.GenerateSelfSignedCertKeyWithOptions(cert.SelfSignedCertKeyOptions{Host: name, MaxAge: credentialsLife})
	if err != nil {
		return c, fmt.Errorf("make a certificate for %s: %w", name, err)
	}
	chain, err := cert.ParseCertsPEM(certificate)
	if err != nil {
		return c, fmt.Errorf("read the certificate made for %s: %w", name, err)
	}
	authorities := append(chain[1:], c.stillTrusted()...)
	trusted, err := cert.EncodeCertificates(authorities...)
	return credentials{trusted, certificate, key}, err
}

// check says what keeps whoever trusts the authorities from trusting the server then.
func (c credentials) check(name string, at time.Time) error {
	pair, err := tls.X509KeyPair(c.certificate, c.key)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.trusted)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{
		DNSName: name, Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

// stillTrusted is the latest authority, unless it has ended.
func (c credentials) stillTrusted() []*x509.Certificate {
	authorities, err := cert.ParseCertsPEM(c.trusted)
	if err != nil || time.Now().After(authorities[0].NotAfter) {
		return nil
	}
	return authorities[:1]
}

func (c credentials) equal(o credentials) bool {
	return bytes.Equal(c.trusted, o.trusted) && bytes.Equal(c.certificate, o.certificate) && bytes.Equal(c.key, o.key)
}

func credentialsIn(s *corev1.Secret) credentials {
	return credentials{trusted: s.Data[keyTrusted], certificate: s.Data[corev1.TLSCertKey], key: s.Data[corev1.TLSPrivateKeyKey]}
}

// put leaves no key of an authority behind that others kept there.
func (c credentials) put(s *corev1.Secret) {
	if s.Data == nil {
		s.Data = map[string][]byte{}
	}
	s.Data[keyTrusted], s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey] = c.trusted, c.certificate, c.key
	delete(s.Data, keyAuthorityPrivate)
}
