package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// connect makes the clients. They dial from the control plane's host: no network of the machine's leads into the lab.
func (l *Lab) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read %s: %w", l.Kubeconfig(), err)
	}
	config.QPS, config.Burst = 500, 1000
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return l.Dial(ctx, Control, network, address)
	}
	l.rest = config
	l.client, err = kubernetes.NewForConfig(config)
	return err
}

// Kubeconfig is the administrator's. It works for programs that run on a host of the lab (see Command).
func (l *Lab) Kubeconfig() string { return l.kubeconfig("admin") }

// RESTConfig is the administrator's, for clients in this process.
func (l *Lab) RESTConfig() *rest.Config { return rest.CopyConfig(l.rest) }

// Client is the administrator's.
func (l *Lab) Client() kubernetes.Interface { return l.client }

// Kubectl prepares a kubectl command.
func (l *Lab) Kubectl(ctx context.Context, args ...string) *exec.Cmd {
	return l.command(ctx, Control, append([]string{l.set.LookPath("kubectl")}, args...)...)
}

// Apply hands manifests to kubectl apply: YAML, any number of documents.
func (l *Lab) Apply(ctx context.Context, manifests string) error {
	return runKubectl(l.Kubectl(ctx, "apply", "-f", "-"), manifests)
}

// ApplyFile does what kubectl apply -f FILE does.
func (l *Lab) ApplyFile(ctx context.Context, file string) error {
	return runKubectl(l.Kubectl(ctx, "apply", "-f", file), "")
}

// Delete removes the objects that the manifests name, and waits until they are gone.
func (l *Lab) Delete(ctx context.Context, manifests string) error {
	return runKubectl(l.Kubectl(ctx, "delete", "--ignore-not-found", "-f", "-"), manifests)
}

func runKubectl(command *exec.Cmd, input string) error {
	command.Stdin = strings.NewReader(input)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(command.Args[len(command.Args)-3:], " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// createNode makes the Node object, with its pod ranges: no controller hands those out in the lab.
func (l *Lab) createNode(ctx context.Context, host Host) error {
	n, _ := host.nodeNumber()
	v4, v6 := podRanges(n)
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: string(host), Labels: map[string]string{
			corev1.LabelHostname: string(host), corev1.LabelOSStable: "linux",
		}},
		Spec: corev1.NodeSpec{PodCIDR: v4.String(), PodCIDRs: []string{v4.String(), v6.String()}},
	}
	_, err := l.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create Node %s: %w", host, err)
	}
	return nil
}

// AwaitNodesReady waits until every node that is on is Ready.
func (l *Lab) AwaitNodesReady(ctx context.Context) error {
	return l.awaitNodes(ctx, l.NodeNames(), time.Time{})
}

// awaitNodes takes a node's word only if it was said since then: for a while after its death the API server has a node
// as Ready.
func (l *Lab) awaitNodes(ctx context.Context, hosts []Host, since time.Time) error {
	var waiting []string
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		nodes, err := l.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		waiting = notReady(hosts, nodes.Items, since)
		return len(waiting) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s to be Ready: %w", strings.Join(waiting, ", "), err)
	}
	return nil
}

func notReady(hosts []Host, nodes []corev1.Node, since time.Time) (waiting []string) {
	ready := map[string]bool{}
	for _, n := range nodes {
		ready[n.Name] = nodeIsReady(n, since)
	}
	for _, h := range hosts {
		if !ready[string(h)] {
			waiting = append(waiting, string(h))
		}
	}
	return waiting
}

// nodeIsReady also wants the taints gone that keep pods off a node that has just come. Heartbeats are told in whole
// seconds, and a kubelet with nothing new to say says it once in five minutes: one within the second of since counts.
func nodeIsReady(n corev1.Node, since time.Time) bool {
	for _, t := range n.Spec.Taints {
		if t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable {
			return false
		}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue && !c.LastHeartbeatTime.Time.Before(since.Truncate(time.Second))
		}
	}
	return false
}

// AwaitRollout waits as kubectl rollout status does; what is, say, "daemonset/speaker".
func (l *Lab) AwaitRollout(ctx context.Context, namespace, what string) error {
	limit := patience
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	return runKubectl(l.Kubectl(ctx, "rollout", "status", "--namespace", namespace, what, "--timeout", limit.String()), "")
}

// patience bounds every wait whose context has no end of its own.
const patience = 2 * time.Minute

// poll asks until the answer is yes or an error. Errors of the network are no answer: the API server may be away.
func poll(ctx context.Context, ask func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		yes, err := ask(ctx)
		if yes || (err != nil && !isNetworkError(err)) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func isNetworkError(err error) bool {
	var network net.Error
	return errors.As(err, &network) || apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err)
}
