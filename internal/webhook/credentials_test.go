package webhook

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/cert"
)

const dnsName = "metallb-webhook-service.metallb-system.svc"

func renew(t *testing.T, c credentials) credentials {
	t.Helper()
	renewed, err := c.renewed(dnsName)
	if err != nil {
		t.Fatal(err)
	}
	if err := renewed.check(dnsName, time.Now()); err != nil {
		t.Errorf("who trusts the authorities does not trust the server: %s", err)
	}
	return renewed
}

func TestCredentialsThatAreNotInOrderAreRenewed(t *testing.T) {
	first, other := renew(t, credentials{}), renew(t, credentials{})
	for name, have := range map[string]credentials{
		"a certificate of another authority":    {first.trusted, other.certificate, other.key},
		"a certificate with another's key":      {first.trusted, first.certificate, other.key},
		"a certificate that is no PEM":          {first.trusted, []byte("x"), []byte("y")},
		"a certificate that nobody is to trust": {nil, first.certificate, first.key},
	} {
		t.Run(name, func(t *testing.T) {
			if renew(t, have).equal(have) {
				t.Error("it was kept")
			}
		})
	}
}

func TestCredentialsAreRenewedFourMonthsBeforeTheirEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		first := renew(t, credentials{})
		for _, step := range []struct {
			name string
			wait time.Duration
			kept bool
		}{
			{"the next moment", time.Second, true},
			{"a day before they are due", credentialsLife - credentialsRenewal - day, true},
			{"two days later", 2 * day, false},
		} {
			time.Sleep(step.wait)
			got := renew(t, first)
			if kept := got.equal(first); kept != step.kept {
				t.Errorf("%s they are kept: %t, want %t", step.name, kept, step.kept)
			}
			if again := renew(t, got); !again.equal(got) {
				t.Errorf("%s they are renewed twice", step.name)
			}
		}
	})
}

func TestACertificateIsForOneName(t *testing.T) {
	c := renew(t, credentials{})
	if err := c.check("other.metallb-system.svc", time.Now()); err == nil {
		t.Error("it is good for another name")
	}
}

// Another replica may go on serving for a moment under the authority before.
func TestWhoTrustsTheNextAuthorityTrustsTheOneBeforeUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := renew(t, credentials{})
		time.Sleep(credentialsLife - credentialsRenewal + time.Hour)
		second := renew(t, first)
		if err := (credentials{second.trusted, first.certificate, first.key}).check(dnsName, time.Now()); err != nil {
			t.Errorf("what is served is not trusted when others take its place: %s", err)
		}
		time.Sleep(credentialsLife - credentialsRenewal + time.Hour)
		third := renew(t, second)
		authorities, err := cert.ParseCertsPEM(third.trusted)
		if err != nil || len(authorities) != 2 || bytes.Contains(third.trusted, first.trusted) {
			t.Errorf("%d authorities are trusted after two renewals (%v), want the last and the one before", len(authorities), err)
		}
		time.Sleep(2 * credentialsLife)
		if authorities, err = cert.ParseCertsPEM(renew(t, third).trusted); err != nil || len(authorities) != 1 {
			t.Errorf("%d authorities are trusted when the last has ended (%v), want the next alone", len(authorities), err)
		}
	})
}
