package lab

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

func TestNodeFilesAreWhatTheirReadersParse(t *testing.T) {
	values := map[string]any{
		"Node": "node1", "MachineID": "1", "Router": "192.168.10.1", "CNI": "/cni", "Pause": "pause:1",
		"PodRange4": "10.244.1.0/24", "PodRange6": "fd00:244:0:1::/64",
	}
	for file, text := range nodeFiles {
		var out strings.Builder
		if err := template.Must(template.New(file).Option("missingkey=error").Parse(text)).Execute(&out, values); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		var parsed any
		var err error
		switch filepath.Ext(file) {
		case ".yaml":
			err = yaml.UnmarshalStrict([]byte(out.String()), &parsed)
		case ".conflist":
			err = json.Unmarshal([]byte(out.String()), &parsed)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, out.String())
		}
	}
}

func TestCertificatesServeUnderTheirNames(t *testing.T) {
	ca, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.issue("server", "server", nil, []string{"kubernetes.default.svc"}, AddressesOf(Control)); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(ca.dir, "server.crt"), filepath.Join(ca.dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(filepath.Join(ca.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	for _, name := range []string{"kubernetes.default.svc", "192.168.10.2", "fd00:10::2"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "192.168.10.3", Roots: roots}); err == nil {
		t.Error("serves as a host that it is not")
	}
}

func TestKubeconfigLeadsToTheAPIServer(t *testing.T) {
	ca, err := newAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(ca.dir, "kubeconfig")
	if err := writeKubeconfig(file, user{name: "u", token: "secret"}, filepath.Join(ca.dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://192.168.10.2:6443" || config.BearerToken != "secret" || len(config.CAData) == 0 {
		t.Errorf("got host %s, token %q, %d bytes of CA", config.Host, config.BearerToken, len(config.CAData))
	}
}

func TestTokenFileIsOneLinePerUser(t *testing.T) {
	users := withTokens([]user{{name: "a", groups: []string{"x", "y"}}, {name: "b"}})
	want := users[0].token + ",a,a,\"x,y\"\n" + users[1].token + ",b,b,\"\"\n"
	if got := string(tokenFile(users)); got != want || users[0].token == users[1].token {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOptions(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gets past the first check")
	}
	for _, c := range []struct {
		name    string
		options Options
		says    string
	}{
		{"nothing chosen", Options{}, ""},
		{"a name that cannot be one", Options{Name: "My Lab"}, `"My Lab"`},
		{"more nodes than addresses", Options{Nodes: MaxNodes + 1}, "want 1 to"},
		{"a mode that the kernel lacks", Options{ProxyMode: "ipvs"}, "nftables or iptables"},
	} {
		err := c.options.complete()
		if (c.says == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want it to say %q", c.name, err, c.says)
		}
	}
}
