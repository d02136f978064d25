package process

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"

	cliflag "k8s.io/component-base/cli/flag"
)

// TLSFlags say what the HTTPS endpoints agree to speak.
type TLSFlags struct {
	minVersion, ciphers, curves string

	version          uint16
	cipherSuites     []uint16
	curvePreferences []tls.CurveID
}

func (f *TLSFlags) register(fs *flag.FlagSet) {
	fs.StringVar(&f.minVersion, "tls-min-version", "", "lowest TLS version, VersionTLS12 or VersionTLS13 (default VersionTLS13)")
	fs.StringVar(&f.ciphers, "tls-cipher-suites", "", "comma-separated cipher suites, for TLS 1.2 only")
	fs.StringVar(&f.curves, "tls-curve-preferences", "", "comma-separated numbers of the key exchanges, as in crypto/tls.CurveID")
}

func (f *TLSFlags) check() error {
	f.version = tls.VersionTLS13
	if f.minVersion != "" {
		v, err := cliflag.TLSVersion(f.minVersion)
		if err != nil {
			return fmt.Errorf("--tls-min-version: %w", err)
		}
		f.version = v
	}
	if f.ciphers != "" {
		if f.version >= tls.VersionTLS13 {
			return errors.New("--tls-cipher-suites: TLS 1.3 does not let one choose: set --tls-min-version=VersionTLS12 too")
		}
		ids, err := cliflag.TLSCipherSuites(strings.Split(f.ciphers, ","))
		if err != nil {
			return fmt.Errorf("--tls-cipher-suites: %w", err)
		}
		f.cipherSuites = ids
	}
	if f.curves == "" {
		return nil
	}
	for text := range strings.SplitSeq(f.curves, ",") {
		id, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
		if err != nil {
			return fmt.Errorf("--tls-curve-preferences: %q is not the number of a key exchange", text)
		}
		f.curvePreferences = append(f.curvePreferences, tls.CurveID(id))
	}
	return nil
}

// Apply sets a server's configuration. Without HTTP/2 its flood attacks do not matter.
func (f *TLSFlags) Apply(c *tls.Config) {
	c.MinVersion = f.version
	c.CipherSuites = f.cipherSuites
	c.CurvePreferences = f.curvePreferences
	c.NextProtos = []string{"http/1.1"}
}
