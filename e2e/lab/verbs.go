package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kill ends a node as a power cut does: its cable goes dark and its processes die in the same moment. The cable matters,
// because the namespace's kernel would go on answering ARP and forwarding packets by itself.
func (l *Lab) Kill(ctx context.Context, node Host) error {
	if err := l.checkNode(node); err != nil {
		return err
	}
	if err := l.Cable(ctx, node, false); err != nil {
		return err
	}
	return l.stopNode(node)
}

// PowerOff shuts a node down in good order: its processes are told to end and have a while to do so, then its cable goes
// dark.
func (l *Lab) PowerOff(ctx context.Context, node Host) error {
	if err := l.checkNode(node); err != nil {
		return err
	}
	if _, on := l.firstProcess(node); on {
		if _, err := l.In(ctx, node, "kill", "-TERM", "-1"); err != nil && ctx.Err() != nil {
			return err
		}
		l.awaitPodsGone(node, shutdownTime)
	}
	if err := l.stopNode(node); err != nil {
		return err
	}
	return l.Cable(ctx, node, false)
}

// shutdownTime is what a machine's shutdown gives its programs.
const shutdownTime = 10 * time.Second

// awaitPodsGone waits until no pod of the node runs any more.
func (l *Lab) awaitPodsGone(node Host, limit time.Duration) {
	st, err := l.store().load()
	if err != nil {
		return
	}
	for end := time.Now().Add(limit); time.Now().Before(end) && st.runsPods(node); {
		time.Sleep(20 * time.Millisecond)
	}
}

// runsPods looks at the control groups that a kubelet makes; a light node's stand-in for one ends after its pods.
func (st state) runsPods(node Host) bool {
	for _, top := range st.Cgroups {
		group := filepath.Join(top, string(node))
		if len(groupMembers(filepath.Join(group, "kubepods"))) > 0 {
			return true
		}
		for _, p := range groupMembers(group) {
			if p.runs("lightlet") {
				return true
			}
		}
	}
	return false
}

// Revive switches a node on that was killed or powered off, plugs its cable in, and waits until it is Ready.
func (l *Lab) Revive(ctx context.Context, node Host) error {
	if err := l.checkNode(node); err != nil {
		return err
	}
	if err := l.Cable(ctx, node, true); err != nil {
		return err
	}
	if _, on := l.firstProcess(node); on {
		return l.awaitNodes(ctx, []Host{node}, time.Time{})
	}
	switchedOn := time.Now()
	if err := l.startNode(ctx, node); err != nil {
		return err
	}
	return l.awaitNodes(ctx, []Host{node}, switchedOn)
}

// Cable plugs a host's cable in or pulls it: the bridge's port goes up or down, and the host's own link with it.
func (l *Lab) Cable(ctx context.Context, host Host, in bool) error {
	if !slices.Contains(l.Hosts(), host) || !host.OnLAN() {
		return fmt.Errorf("lab %s has no host %q on its LAN; it has %s", l.Name, host, join(l.Hosts()))
	}
	direction := map[bool]string{true: "up", false: "down"}[in]
	return ip(ctx, lanNamespace(l.Name), []string{fmt.Sprintf("link set %s %s", host, direction)})
}

// CableIn plugs a host's cable in.
func (l *Lab) CableIn(ctx context.Context, host Host) error { return l.Cable(ctx, host, true) }

// CableOut pulls it.
func (l *Lab) CableOut(ctx context.Context, host Host) error { return l.Cable(ctx, host, false) }

func (l *Lab) checkNode(node Host) error {
	if !slices.Contains(l.NodeNames(), node) {
		return fmt.Errorf("lab %s has no node %q; it has %s", l.Name, node, join(l.NodeNames()))
	}
	return nil
}

// stopNode kills the node's first process: the kernel then kills all others of its PID namespace.
func (l *Lab) stopNode(node Host) error {
	st, err := l.store().load()
	if err != nil {
		return err
	}
	process := st.Processes[string(node)]
	if err := process.Signal(killSignal); err != nil {
		return err
	}
	if err := process.wait(5 * time.Second); err != nil {
		return err
	}
	var left []Process
	for _, top := range st.Cgroups {
		left = append(left, groupMembers(filepath.Join(top, string(node)))...)
	}
	for _, p := range left {
		if err := p.wait(5 * time.Second); err != nil {
			return err
		}
	}
	return st.removeNodeGroups(node)
}

// removeNodeGroups leaves nothing of the node's pods to the next start: after a power cut there are none.
func (st state) removeNodeGroups(node Host) error {
	for _, top := range st.Cgroups {
		if err := removeGroup(filepath.Join(top, string(node))); err != nil {
			return err
		}
	}
	return nil
}

// LoadImage hands an image archive (of docker save, or OCI) to every node that is on.
func (l *Lab) LoadImage(ctx context.Context, archive string) error {
	if l.light {
		return fmt.Errorf("load %s: the nodes of lab %s are light, they run programs and not images", archive, l.Name)
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		return err
	}
	loaded := make(chan error)
	for _, node := range l.NodeNames() {
		go func() { loaded <- l.loadOn(ctx, node, archive, data) }()
	}
	var all error
	for range l.NodeNames() {
		all = errors.Join(all, <-loaded)
	}
	return all
}

func (l *Lab) loadOn(ctx context.Context, node Host, name string, archive []byte) error {
	if _, on := l.firstProcess(node); !on {
		return nil
	}
	command := l.command(ctx, node, "ctr", "-n", "k8s.io", "images", "import", "-")
	command.Stdin = bytes.NewReader(archive)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("load %s on %s: %w: %s", name, node, err, strings.TrimSpace(string(output)))
	}
	return nil
}

// HostStatus is what Status tells of a host.
type HostStatus struct {
	Host      Host
	Addresses Addresses
	On        bool // its processes run
	Cable     bool // plugged in
	Ready     bool // a node: as the API server has it
}

// Status describes all hosts.
func (l *Lab) Status(ctx context.Context) ([]HostStatus, error) {
	ports, err := l.portsUp()
	if err != nil {
		return nil, err
	}
	waiting, err := l.notReady(ctx)
	if err != nil {
		return nil, err
	}
	var all []HostStatus
	for _, host := range l.Hosts() {
		s := HostStatus{Host: host, Addresses: AddressesOf(host), On: true, Cable: ports[host] || !host.OnLAN()}
		if host.IsNode() {
			_, s.On = l.firstProcess(host)
			s.Ready = !slices.Contains(waiting, string(host))
		}
		all = append(all, s)
	}
	return all, nil
}

func (l *Lab) notReady(ctx context.Context) ([]string, error) {
	if l.client == nil { // a bare lab
		return nodeStrings(l.NodeNames()), nil
	}
	nodes, err := l.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	return notReady(l.NodeNames(), nodes.Items, time.Time{}), nil
}

// portsUp says for each host on the LAN whether its port of the bridge is up.
func (l *Lab) portsUp() (map[Host]bool, error) {
	up := map[Host]bool{}
	err := inNamespace(lanNamespace(l.Name), func() error {
		links, err := net.Interfaces()
		for _, link := range links {
			up[Host(link.Name)] = link.Flags&net.FlagUp != 0
		}
		return err
	})
	return up, err
}
