package chaos

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestGossipIsPartedInTwoGroupsOrMore(t *testing.T) {
	for draw := range uint64(1000) {
		sizes := map[int]int{}
		for _, g := range (fault{draw: draw}).groups(fiveNodes) {
			sizes[g]++
		}
		if alone := draw%3 == 0; alone && len(sizes) != len(fiveNodes) || !alone && len(sizes) != 2 {
			t.Errorf("draw %d: groups of %v", draw, sizes)
		}
	}
}

// TestBFDProcessesAreKnown has the command line as pkill matches it, of /proc/PID/cmdline.
func TestBFDProcessesAreKnown(t *testing.T) {
	for line, want := range map[string]bool{
		"/proc/self/exe bfd": true, "/speaker --log-level=debug": false, "sh -c pkill -f '/proc/self/exe bfd'": false,
	} {
		if got := regexp.MustCompile(bfdProcess).MatchString(line); got != want {
			t.Errorf("%s: %t, want %t", line, got, want)
		}
	}
}

func TestWhichConnectionsAreGone(t *testing.T) {
	const cut = "0      0      [::ffff:192.168.10.2]:6443 [::ffff:192.168.10.14]:44584\n" +
		"0      0      [::ffff:192.168.10.2]:6443 [::ffff:192.168.10.11]:11668\n"
	for left, want := range map[string]int{
		"": 2,
		"36 0 [::ffff:192.168.10.2]:6443 [::ffff:192.168.10.14]:44584\n0 0 [::ffff:192.168.10.2]:6443 [::ffff:192.168.10.11]:11669\n": 1,
		cut: 0,
	} {
		if got := gone(connections(cut), connections(left)); len(got) != want {
			t.Errorf("left %q: %q are gone, want %d", left, got, want)
		}
	}
}

func TestADrainIsWherePodsAre(t *testing.T) {
	on := func(node string) corev1.Pod { return corev1.Pod{Spec: corev1.PodSpec{NodeName: node}} }
	f := fault{node: "node1"}
	for _, c := range []struct {
		pods []corev1.Pod
		want string
	}{
		{[]corev1.Pod{on("node1"), on("node2")}, "node1"},
		{[]corev1.Pod{on("node2"), on("")}, "node2"},
		{[]corev1.Pod{on("")}, ""},
	} {
		if got := nodeWithPod(c.pods, f); string(got) != c.want {
			t.Errorf("%v: %q, want %q", c.pods, got, c.want)
		}
	}
}

func TestAMistakeIsToldOfByItsOwnWords(t *testing.T) {
	state := func(summary string) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"result": "Invalid", "errorSummary": summary}}}
	}
	m := mistakes[0]
	if !m.isTold([]unstructured.Unstructured{state(""), state(`CIDR "192.168.10.240-192.168.10.255" in pool "mistake" overlaps`)}) {
		t.Error("a mistake that is told of is not found")
	}
	if m.isTold([]unstructured.Unstructured{state("something else"), {Object: map[string]any{"status": map[string]any{"result": "Unknown"}}}}) {
		t.Error("another complaint counts as the mistake's")
	}
}

func TestPrivateKeysAreLookedFor(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	written := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("for everybody")})
	texts, err := privateKeys(map[string][]byte{"tls.crt": certificate, "tls.key": written})
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range []string{string(written), base64.StdEncoding.EncodeToString(written), base64.StdEncoding.EncodeToString(der)} {
		if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(log, text) }) {
			t.Errorf("none of %q is in %s", texts, log)
		}
	}
	for _, text := range texts {
		if text == "" || strings.Contains(text, "\n") || strings.Contains(string(certificate), text) {
			t.Errorf("%q would be found in much else", text)
		}
	}
	if _, err := privateKeys(map[string][]byte{"tls.crt": certificate}); err == nil {
		t.Error("a Secret without a private key is no error")
	}
}

func TestFaultsThatHitNothingDoNotCount(t *testing.T) {
	all := kinds(time.Minute)
	r := &Report{kinds: all, missed: []fault{{kind: all[0], node: "node1"}}}
	r.add(act{number: 1}, figures{}, nil)
	if r.faults() != 0 || r.faultsOf(all[0]) != 0 {
		t.Errorf("%d faults, want none", r.faults())
	}
	if r.Err() == nil {
		t.Error("a kind that never hit anything is no error")
	}
	var out strings.Builder
	if err := r.Write(io.Writer(&out)); err != nil || !strings.Contains(out.String(), "not counted: "+all[0].name+" (node1)") {
		t.Errorf("%v, %s", err, &out)
	}
	r.add(act{number: 2, faults: []fault{{kind: all[0], node: "node2"}}}, figures{}, nil)
	if err := r.Err(); err != nil || r.faultsOf(all[0]) != 1 {
		t.Errorf("%d faults, %v, want one and no error", r.faultsOf(all[0]), err)
	}
}
