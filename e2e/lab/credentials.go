package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// authority is the cluster's certificate authority, made anew for each cluster.
type authority struct {
	dir         string
	certificate *x509.Certificate
	key         crypto.Signer
}

// newAuthority writes ca.crt and ca.key into a directory.
func newAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	ca := &authority{dir: dir, certificate: &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "lab"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
	}}
	var err error
	ca.key, err = ca.write("ca", ca.certificate)
	return ca, err
}

// issue writes NAME.crt and NAME.key. Organizations are Kubernetes groups where the certificate authenticates a client.
func (ca *authority) issue(name, commonName string, organizations, dnsNames []string, addresses ...Addresses) error {
	var ips []net.IP
	for _, a := range addresses {
		ips = append(ips, a.V4.AsSlice(), a.V6.AsSlice())
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return err
	}
	_, err = ca.write(name, &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName, Organization: organizations},
		DNSNames:     dnsNames,
		IPAddresses:  ips,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:    ca.certificate.NotBefore,
		NotAfter:     ca.certificate.NotAfter,
	})
	return err
}

// write makes a key, signs the certificate with the authority's (with its own, for the authority), and writes both.
func (ca *authority) write(name string, template *x509.Certificate) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	signer := ca.key
	if signer == nil {
		signer = key
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign certificate %s: %w", name, err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := writePEM(filepath.Join(ca.dir, name+".crt"), "CERTIFICATE", certificate, 0o644); err != nil {
		return nil, err
	}
	return key, writePEM(filepath.Join(ca.dir, name+".key"), "EC PRIVATE KEY", private, 0o600)
}

func writePEM(file, kind string, data []byte, mode os.FileMode) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), mode)
}

// user authenticates to the API server by a bearer token.
type user struct {
	name   string
	groups []string
	token  string
}

var (
	adminUser             = user{name: "lab-admin", groups: []string{"system:masters"}}
	controllerManagerUser = user{name: "system:kube-controller-manager", groups: []string{"system:masters"}} // for all of its controllers
	schedulerUser         = user{name: "system:kube-scheduler"}
	proxyUser             = user{name: "system:kube-proxy"}
)

func nodeUser(node Host) user {
	return user{name: "system:node:" + string(node), groups: []string{"system:nodes"}}
}

// withTokens hands each user a token of its own.
func withTokens(users []user) []user {
	for i := range users {
		token := make([]byte, 16)
		rand.Read(token)
		users[i].token = hex.EncodeToString(token)
	}
	return users
}

// tokenFile is what the API server's --token-auth-file reads: token,user,uid,"groups".
func tokenFile(users []user) []byte {
	var lines strings.Builder
	for _, u := range users {
		fmt.Fprintf(&lines, "%s,%s,%s,%q\n", u.token, u.name, u.name, strings.Join(u.groups, ","))
	}
	return []byte(lines.String())
}

// writeKubeconfig lets a program be this user; the certificate authority is inside, so the file can be moved.
func writeKubeconfig(file string, u user, caFile string) error {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	config := api.NewConfig()
	config.Clusters["lab"] = &api.Cluster{Server: apiServerURL(), CertificateAuthorityData: ca}
	config.AuthInfos["user"] = &api.AuthInfo{Token: u.token}
	config.Contexts["lab"] = &api.Context{Cluster: "lab", AuthInfo: "user"}
	config.CurrentContext = "lab"
	return clientcmd.WriteToFile(*config, file)
}
