package webhook

import (
	"bytes"
	"encoding/pem"
	"testing"
	"time"
)

const dnsName = "metallb-webhook-service.metallb-system.svc"

var start = time.Date(2026, 7, 20, 9, 0, 0, 0, time.UTC)

func renew(t *testing.T, c credentials, now time.Time) credentials {
	t.Helper()
	renewed, err := c.renewed(dnsName, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := renewed.check(dnsName, now); err != nil {
		t.Errorf("who trusts the authority does not trust the server: %s", err)
	}
	return renewed
}

func TestCredentialsAreRenewedWhenTheyAreDue(t *testing.T) {
	const day = 24 * time.Hour
	first := renew(t, credentials{}, start)
	other := renew(t, credentials{}, start)
	for name, tc := range map[string]struct {
		have                       credentials
		at                         time.Duration
		sameAuthority, sameServing bool
	}{
		"not the next moment":                          {first, time.Second, true, true},
		"not as long as they are good for four months": {first, servingLife - servingRenewal - day, true, true},
		"then the certificate alone":                   {first, servingLife - servingRenewal + day, true, false},
		"also if it has ended":                         {first, 2 * servingLife, true, false},
		"the authority two years before its end":       {first, authorityLife - authorityRenewal + day, false, false},
		"a certificate of another authority":           {credentials{first.authority, other.serving}, 0, true, false},
		"a certificate with another's key":             {credentials{first.authority, pair{first.serving.certificate, other.serving.key}}, 0, true, false},
		"an authority that is none":                    {credentials{first.serving, first.serving}, 0, false, false},
		"an authority with another's key":              {credentials{pair{first.authority.certificate, other.authority.key}, first.serving}, 0, false, false},
		"what is no PEM":                               {credentials{pair{[]byte("x"), []byte("y")}, first.serving}, 0, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := renew(t, tc.have, start.Add(tc.at))
			if same := bytes.Equal(got.authority.key, tc.have.authority.key); same != tc.sameAuthority {
				t.Errorf("the authority is the same: %t, want %t", same, tc.sameAuthority)
			}
			if same := got.serving.equal(tc.have.serving); same != tc.sameServing {
				t.Errorf("the certificate is the same: %t, want %t", same, tc.sameServing)
			}
			if again := renew(t, got, start.Add(tc.at)); !again.equal(got) {
				t.Error("renewed twice")
			}
		})
	}
}

func (p pair) equal(o pair) bool {
	return bytes.Equal(p.certificate, o.certificate) && bytes.Equal(p.key, o.key)
}

func TestACertificateIsForOneName(t *testing.T) {
	c := renew(t, credentials{}, start)
	if err := c.check("other.metallb-system.svc", start); err == nil {
		t.Error("it is good for another name")
	}
}

// Another replica may go on serving for a moment under the authority before.
func TestWhoTrustsTheNextAuthorityTrustsTheOneBeforeUntilItEnds(t *testing.T) {
	first := renew(t, credentials{}, start)
	due := start.Add(authorityLife - authorityRenewal + time.Hour)
	old := renew(t, first, due.Add(-2*time.Hour))
	next := renew(t, old, due)
	if err := (credentials{next.authority, old.serving}).check(dnsName, due); err != nil {
		t.Errorf("what is served is not trusted when the authority is renewed: %s", err)
	}
	if n := certificates(next.authority.certificate); n != 2 {
		t.Errorf("%d authorities are trusted, want the next and the one before", n)
	}
	muchLater := due.Add(authorityLife - authorityRenewal + time.Hour)
	if n := certificates(renew(t, next, muchLater).authority.certificate); n != 2 {
		t.Errorf("%d authorities are trusted after another renewal, want 2", n)
	}
}

func certificates(bundle []byte) (n int) {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		n++
	}
	return n
}
