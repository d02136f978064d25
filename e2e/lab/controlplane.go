package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// The programs of the control plane, as Kill and Restart name them.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

func apiServerURL() string { return fmt.Sprintf("https://%s:6443", AddressesOf(Control).V4) }

func (l *Lab) pki(file string) string        { return filepath.Join(l.dir(), "pki", file) }
func (l *Lab) kubeconfig(user string) string { return filepath.Join(l.dir(), user+".kubeconfig") }
func (l *Lab) log(program string) string     { return filepath.Join(l.dir(), "logs", program+".log") }

// writeCredentials makes what the control plane and the nodes prove themselves with.
func (l *Lab) writeCredentials() error {
	ca, err := newAuthority(l.pki(""))
	if err != nil {
		return err
	}
	if err := l.issueCertificates(ca); err != nil {
		return err
	}
	users := []user{adminUser, controllerManagerUser, schedulerUser, proxyUser}
	for _, node := range l.NodeNames() {
		users = append(users, nodeUser(node))
	}
	users = withTokens(users)
	if err := os.WriteFile(l.pki("tokens.csv"), tokenFile(users), 0o600); err != nil {
		return err
	}
	for i, name := range append([]string{"admin", ControllerManager, Scheduler, "kube-proxy"}, nodeStrings(l.NodeNames())...) {
		if err := writeKubeconfig(l.kubeconfig(name), users[i], l.pki("ca.crt")); err != nil {
			return err
		}
	}
	return nil
}

func nodeStrings(nodes []Host) (names []string) {
	for _, n := range nodes {
		names = append(names, string(n))
	}
	return names
}

func (l *Lab) issueCertificates(ca *authority) error {
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"}
	if err := ca.issue(APIServer, APIServer, nil, names, AddressesOf(Control), firstServiceAddresses()); err != nil {
		return err
	}
	if err := ca.issue("kubelet-client", "kubelet-client", []string{"system:masters"}, nil); err != nil {
		return err
	}
	if err := ca.issue("service-accounts", "service-accounts", nil, nil); err != nil {
		return err
	}
	for _, node := range l.NodeNames() {
		if err := ca.issue(string(node), nodeUser(node).name, nil, []string{string(node)}, AddressesOf(node)); err != nil {
			return err
		}
	}
	return nil
}

// programArgs are the command lines of the control plane.
func (l *Lab) programArgs(program string) []string {
	address := AddressesOf(Control).V4.String()
	switch program {
	case Etcd:
		return []string{
			"--data-dir=" + filepath.Join(l.dir(), "etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
		}
	case APIServer:
		return []string{
			"--etcd-servers=http://127.0.0.1:2379", "--advertise-address=" + address, "--bind-address=::",
			"--service-cluster-ip-range=" + l.serviceRanges(),
			"--tls-cert-file=" + l.pki(APIServer+".crt"), "--tls-private-key-file=" + l.pki(APIServer+".key"),
			"--client-ca-file=" + l.pki("ca.crt"), "--token-auth-file=" + l.pki("tokens.csv"),
			"--kubelet-client-certificate=" + l.pki("kubelet-client.crt"), "--kubelet-client-key=" + l.pki("kubelet-client.key"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + l.pki("service-accounts.crt"), "--service-account-signing-key-file=" + l.pki("service-accounts.key"),
			"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
			"--kubelet-preferred-address-types=InternalIP",
			"--enable-aggregator-routing=true", // webhooks are called at their pods, since no kube-proxy runs here
			"--allow-privileged=true",
		}
	case ControllerManager:
		return []string{
			"--kubeconfig=" + l.kubeconfig(program), "--leader-elect=false",
			"--controllers=*,-node-ipam-controller,-cloud-node-lifecycle-controller,-service-lb-controller,-node-route-controller",
			"--root-ca-file=" + l.pki("ca.crt"), "--service-account-private-key-file=" + l.pki("service-accounts.key"),
			"--cluster-signing-cert-file=" + l.pki("ca.crt"), "--cluster-signing-key-file=" + l.pki("ca.key"),
		}
	case Scheduler:
		return []string{"--kubeconfig=" + l.kubeconfig(program), "--leader-elect=false"}
	}
	return nil
}

func (l *Lab) serviceRanges() string {
	if l.singleStack {
		return Services4
	}
	return Services4 + "," + Services6
}

// startProgram starts one program of the control plane and remembers it.
func (l *Lab) startProgram(ctx context.Context, program string) error {
	args := append([]string{l.set.LookPath(program)}, l.programArgs(program)...)
	process, err := start(l.command(context.WithoutCancel(ctx), Control, args...), l.log(program))
	if err != nil {
		return err
	}
	return l.remember(programKey(Control, program), process)
}

// startControlPlane returns when the API server serves. Its clients are started then: they give up on one that takes
// long.
func (l *Lab) startControlPlane(ctx context.Context) error {
	for _, program := range []string{Etcd, APIServer} {
		if err := l.startProgram(ctx, program); err != nil {
			return err
		}
	}
	if err := l.awaitAPIServer(ctx); err != nil {
		return err
	}
	for _, program := range []string{ControllerManager, Scheduler} {
		if err := l.startProgram(ctx, program); err != nil {
			return err
		}
	}
	return nil
}

// awaitAPIServer waits for /readyz to say yes.
func (l *Lab) awaitAPIServer(ctx context.Context) error {
	client := l.Client()
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		var status int
		client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
		if status != http.StatusOK && !l.alive(Control, APIServer) {
			return false, fmt.Errorf("it ended: see %s", l.log(APIServer))
		}
		return status == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the API server: %w", err)
	}
	return nil
}

// alive says whether a program of the control plane runs.
func (l *Lab) alive(host Host, program string) bool {
	st, err := l.store().load()
	return err == nil && st.Processes[programKey(host, program)].Alive()
}

// KillProgram kills a program of the control plane, as the machine's out-of-memory killer would.
func (l *Lab) KillProgram(program string) error {
	st, err := l.store().load()
	if err != nil {
		return err
	}
	process, ok := st.Processes[programKey(Control, program)]
	if !ok {
		return fmt.Errorf("kill %s: the control plane has no such program", program)
	}
	if err := process.Signal(killSignal); err != nil {
		return err
	}
	return process.wait(5 * time.Second)
}

// StartProgram starts a program of the control plane that was killed.
func (l *Lab) StartProgram(ctx context.Context, program string) error {
	if l.programArgs(program) == nil {
		return fmt.Errorf("start %s: the control plane has no such program", program)
	}
	if l.alive(Control, program) {
		return nil
	}
	return l.startProgram(ctx, program)
}
