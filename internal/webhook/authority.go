package webhook

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Lives of certificates, and how long before its end each is replaced. The authority
// outlives many certificates, so that these change without anybody noticing.
const (
	authorityLife    = 10 * 365 * 24 * time.Hour
	authorityRenewal = 2 * 365 * 24 * time.Hour
	servingLife      = 365 * 24 * time.Hour
	servingRenewal   = 120 * 24 * time.Hour
	// clockSkew is by how much an API server's clock may lag behind ours.
	clockSkew = time.Hour
)

// pair is a certificate with its key, PEM-encoded.
type pair struct{ certificate, key []byte }

// credentials are what the Secret holds: an authority of our own, and what it signed.
// The certificate of an authority may be followed by that of the one before it,
// which others may still be serving under.
type credentials struct{ authority, serving pair }

// renewed returns credentials for the DNS name that are good for some time yet: the ones
// given, as far as they are, else new ones.
func (c credentials) renewed(name string, now time.Time) (credentials, error) {
	if err := checkAuthority(c.authority, now.Add(authorityRenewal)); err != nil {
		fresh, err := newAuthority(now)
		if err != nil {
			return c, fmt.Errorf("make a certificate authority: %w", err)
		}
		fresh.certificate = append(fresh.certificate, stillGood(c.authority.certificate, now)...)
		c = credentials{authority: fresh}
	}
	if c.check(name, now.Add(servingRenewal)) == nil {
		return c, nil
	}
	serving, err := c.authority.sign(name, now)
	if err != nil {
		return c, fmt.Errorf("make a certificate for %s: %w", name, err)
	}
	c.serving = serving
	return c, nil
}

func (c credentials) equal(o credentials) bool {
	return bytes.Equal(c.authority.certificate, o.authority.certificate) && bytes.Equal(c.authority.key, o.authority.key) &&
		bytes.Equal(c.serving.certificate, o.serving.certificate) && bytes.Equal(c.serving.key, o.serving.key)
}

// check says what keeps whoever trusts the authority from trusting the server then.
func (c credentials) check(name string, at time.Time) error {
	certificate, err := tls.X509KeyPair(c.serving.certificate, c.serving.key)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.authority.certificate)
	_, err = certificate.Leaf.Verify(x509.VerifyOptions{
		DNSName: name, Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

// checkAuthority says what is wrong with an authority then.
func checkAuthority(p pair, at time.Time) error {
	certificate, err := tls.X509KeyPair(p.certificate, p.key)
	switch {
	case err != nil:
		return err
	case !certificate.Leaf.IsCA:
		return errors.New("not an authority")
	case at.After(certificate.Leaf.NotAfter):
		return errors.New("it ends")
	}
	return nil
}

// stillGood returns the first of the certificates, unless it has ended.
func stillGood(certificates []byte, now time.Time) []byte {
	block, _ := pem.Decode(certificates)
	if block == nil {
		return nil
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil || now.After(certificate.NotAfter) {
		return nil
	}
	return pem.EncodeToMemory(block)
}

func newAuthority(now time.Time) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template := certificate(now, authorityLife)
	template.Subject = pkix.Name{CommonName: "cert", Organization: []string{"metallb"}}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	return encoded(template, template, key, key)
}

// sign makes a certificate for a server of that name. It does not outlive its authority,
// which is renewed long before its end.
func (p pair) sign(name string, now time.Time) (pair, error) {
	authority, err := tls.X509KeyPair(p.certificate, p.key)
	if err != nil {
		return pair{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	template := certificate(now, servingLife)
	template.Subject = pkix.Name{CommonName: name}
	template.DNSNames = []string{name}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return encoded(template, authority.Leaf, key, authority.PrivateKey)
}

func certificate(now time.Time, life time.Duration) *x509.Certificate {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // documented never to return an error
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial), NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life)}
}

func encoded(template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer crypto.PrivateKey) (pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return pair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair{}, err
	}
	return pair{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}, nil
}
