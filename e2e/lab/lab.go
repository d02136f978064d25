// Package lab runs real Kubernetes clusters on one machine, without containers around them: each host is a network
// namespace, and each node besides in mount, UTS, IPC, PID and cgroup namespaces of its own, with a kubelet, containerd
// and kube-proxy that take it for a machine.
//
//	              client   control (etcd, API server, controller manager, scheduler)
//	                 │        │
//	LAN ────┬────────┼────────┼───────┬────────┬───  192.168.10.0/24, fd00:10::/64
//	        │                         │        │
//	far ─ router                    node1 … nodeN
//	far2 ─ router2
//
// A lab has a name, from which all that it makes on the machine takes its own, so that several exist side by side. Its
// state is on disk: any program can work on it, and take it down, after the one that made it has ended or crashed.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/e2e/binaries"
)

// Options say what to bring up. The zero value is the default lab.
type Options struct {
	Name      string // default: herald
	Nodes     int    // default: 3
	ProxyMode string // kube-proxy's: nftables, the default, or iptables

	// Light nodes have no kubelet and no containers: the lab does a kubelet's part and runs the programs that it is
	// given for images. For labs of many nodes.
	Light    bool
	Programs map[string]string // image without its tag → program, for light nodes

	SingleStack bool // Services have IPv4 cluster addresses alone

	// Bare is the network and its hosts alone: no cluster, and no programs but those that are started on the hosts.
	Bare bool

	Steps io.Writer // is told what is being done, with timing; nil: nobody is
}

// Lab is a cluster that is up.
type Lab struct {
	Name string

	nodes       int
	light       bool
	singleStack bool
	beside      bool // of nodes: see Beside
	set         binaries.Set
	rest        *rest.Config
	client      kubernetes.Interface
}

const killSignal = syscall.SIGKILL

// ErrDown is returned for a lab that is not up.
var ErrDown = errors.New("the lab is not up")

// Up brings a lab up and returns when all of its nodes are Ready. What is left of one with the same name, crashed or
// not, is taken down first.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	steps := newSteps(o.Steps)
	set, err := programsFor(ctx, o, steps)
	if err != nil {
		return nil, err
	}
	if err := Down(ctx, o.Name); err != nil {
		return nil, err
	}
	steps.done("programs at hand")

	l := &Lab{Name: o.Name, nodes: o.Nodes, light: o.Light, singleStack: o.SingleStack, set: set}
	if err := l.up(ctx, o, steps); err != nil {
		return nil, fmt.Errorf("bring lab %s up: %w (what was made is kept for a look; logs in %s/logs)", o.Name, err, l.dir())
	}
	return l, nil
}

func programsFor(ctx context.Context, o Options, steps *steps) (binaries.Set, error) {
	if err := binaries.EnsureDebian(ctx, steps.say); err != nil || o.Bare {
		return binaries.Set{}, err
	}
	set, err := binaries.Ensure(ctx, steps.say)
	if err == nil && o.Light {
		err = set.EnsureLightlet(ctx)
	}
	return set, err
}

func (o *Options) complete() error {
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.ProxyMode == "" {
		o.ProxyMode = "nftables"
	}
	if err := checkName(o.Name); err != nil {
		return err
	}
	if o.Nodes < 1 || o.Nodes > MaxNodes {
		return fmt.Errorf("%d nodes: want 1 to %d", o.Nodes, MaxNodes)
	}
	if o.ProxyMode != "nftables" && o.ProxyMode != "iptables" {
		return fmt.Errorf("proxy mode %q: want nftables or iptables", o.ProxyMode)
	}
	if os.Geteuid() != 0 {
		return errors.New("a lab is made of network namespaces: only root can make them")
	}
	return nil
}

func (l *Lab) up(ctx context.Context, o Options, steps *steps) error {
	if err := l.claim(o); err != nil {
		return err
	}
	if err := wireUp(ctx, l.Name, l.nodes); err != nil {
		return err
	}
	if !o.Bare {
		if err := l.upCluster(ctx, o, steps); err != nil {
			return err
		}
	}
	return l.store().change(func(st *state) { st.Ready = true })
}

func (l *Lab) upCluster(ctx context.Context, o Options, steps *steps) error {
	if err := l.writeCredentials(); err != nil {
		return err
	}
	if err := l.writePrograms(o.Programs); err != nil {
		return err
	}
	if err := l.connect(); err != nil {
		return err
	}
	steps.done("network and credentials made")

	// The nodes' container runtimes start while the API server does.
	for _, node := range l.NodeNames() {
		if err := l.prepareNode(node); err != nil {
			return fmt.Errorf("prepare %s: %w", node, err)
		}
		if err := l.startNode(ctx, node); err != nil {
			return err
		}
	}
	if err := l.startControlPlane(ctx); err != nil {
		return err
	}
	steps.done("control plane serves")

	for _, node := range l.NodeNames() {
		if err := l.createNode(ctx, node); err != nil {
			return err
		}
		if err := l.register(node); err != nil {
			return err
		}
	}
	if err := l.AwaitNodesReady(ctx); err != nil {
		return err
	}
	steps.done(fmt.Sprintf("%d nodes Ready", l.nodes))
	return nil
}

// claim writes down what is about to be made.
func (l *Lab) claim(o Options) error {
	groups, err := labGroups(l.Name)
	if err != nil {
		return err
	}
	for _, ns := range labNamespaces(l.Name, l.nodes) {
		if _, err := os.Stat(netnsFile(ns)); err == nil {
			return fmt.Errorf("network namespace %s exists, and no lab remembers making it: remove it (ip netns delete %s) or choose another name", ns, ns)
		}
	}
	return l.store().change(func(st *state) {
		*st = state{
			Name: o.Name, Nodes: o.Nodes, ProxyMode: o.ProxyMode, Light: o.Light, Bare: o.Bare, Programs: o.Programs, SingleStack: o.SingleStack,
			Boot: bootID(), Namespaces: labNamespaces(l.Name, l.nodes), Cgroups: groups, Processes: map[string]Process{},
		}
	})
}

// Open returns a lab that is up.
func Open(ctx context.Context, name string) (*Lab, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	st, err := store{dirOf(name)}.load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("lab %s: %w", name, ErrDown)
	}
	if err != nil {
		return nil, err
	}
	if st.Boot != bootID() || !st.Ready {
		return nil, fmt.Errorf("lab %s: %w (it did not get to its end, or the machine was restarted since; down removes what is left)", name, ErrDown)
	}
	l := &Lab{Name: name, nodes: st.Nodes, light: st.Light, singleStack: st.SingleStack}
	if st.Bare {
		return l, nil
	}
	if l.set, err = binaries.Ensure(ctx, func(string, ...any) {}); err != nil {
		return nil, err
	}
	return l, l.connect()
}

// Down ends a lab and removes all that it made. It is no error if there is none.
func Down(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	s := store{dirOf(name)}
	st, err := s.load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Boot == bootID() {
		if err := st.end(ctx); err != nil {
			return fmt.Errorf("take lab %s down: %w", name, err)
		}
	}
	return errors.Join(os.RemoveAll(s.dir), os.Remove(s.dir+".lock"))
}

// end kills what runs and removes namespaces and control groups.
func (st state) end(ctx context.Context) error {
	if err := st.killAll(); err != nil {
		return err
	}
	for _, ns := range st.Namespaces {
		if _, err := os.Stat(netnsFile(ns)); err != nil {
			continue
		}
		if err := ip(ctx, "", []string{"netns delete " + ns}); err != nil {
			return err
		}
	}
	for _, group := range st.Cgroups {
		if err := removeGroup(group); err != nil {
			return err
		}
	}
	return nil
}

// killAll kills the processes that the lab remembers, and those in the namespaces and control groups that it made: a
// crash may have come between a start and its record, and a person's shell may run in a host.
func (st state) killAll() error {
	var victims []Process
	for _, p := range st.Processes {
		victims = append(victims, p)
	}
	for _, ns := range st.Namespaces {
		found, err := members(netnsFile(ns))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		victims = append(victims, found...)
	}
	for _, group := range st.Cgroups {
		victims = append(victims, groupMembers(group)...)
	}
	for _, p := range victims {
		if err := p.Signal(killSignal); err != nil {
			return err
		}
	}
	for _, p := range victims {
		if err := p.wait(10 * time.Second); err != nil {
			return err
		}
	}
	return nil
}

func dirOf(name string) string { return filepath.Join(stateRoot, name) }

func (l *Lab) dir() string  { return dirOf(l.Name) }
func (l *Lab) store() store { return store{l.dir()} }

// NodeNames lists the nodes, node1 first.
func (l *Lab) NodeNames() []Host { return nodeNames(l.nodes) }

// Hosts lists all hosts.
func (l *Lab) Hosts() []Host { return hosts(l.nodes) }

func (l *Lab) remember(name string, p Process) error {
	return l.store().change(func(st *state) { st.Processes[name] = p })
}

// Beside is the same lab for programs that nodes know nothing of: there, too, they run in the host's network alone, and see
// this machine's files.
func (l *Lab) Beside() *Lab {
	beside := *l
	beside.beside = true
	return &beside
}

// Command prepares a command that runs on a host: in its network, and on a node that is on in all of its namespaces. It
// finds the lab's programs, and kubectl there talks to this lab.
func (l *Lab) Command(ctx context.Context, host Host, args ...string) (*exec.Cmd, error) {
	if !slices.Contains(l.Hosts(), host) {
		return nil, fmt.Errorf("lab %s has no host %q; it has %s", l.Name, host, join(l.Hosts()))
	}
	return l.command(ctx, host, args...), nil
}

func (l *Lab) command(ctx context.Context, host Host, args ...string) *exec.Cmd {
	enter := []string{"ip", "netns", "exec", namespace(l.Name, host)}
	path := strings.Join(slices.Concat([]string{l.hostBin(host)}, l.set.Path, []string{os.Getenv("PATH")}), ":")
	kubeconfig := l.kubeconfig("admin")
	if pid, ok := l.firstProcess(host); ok && host.IsNode() && !l.beside {
		enter = []string{"nsenter", "--target", fmt.Sprint(pid), "--all", "--"}
		path, kubeconfig = l.nodePath(), "/etc/kubernetes/admin.kubeconfig"
	}
	env := []string{"env", "PATH=" + path, "KUBECONFIG=" + kubeconfig}
	all := slices.Concat(enter, env, args)
	return exec.CommandContext(ctx, all[0], all[1:]...)
}

// In runs a command on a host and returns what it printed. The error has what it printed on its error output.
func (l *Lab) In(ctx context.Context, host Host, args ...string) (string, error) {
	command, err := l.Command(ctx, host, args...)
	if err != nil {
		return "", err
	}
	output, err := command.Output()
	if failed := new(exec.ExitError); errors.As(err, &failed) {
		err = fmt.Errorf("%s: %s: %w: %s", host, strings.Join(args, " "), err, strings.TrimSpace(string(failed.Stderr)))
	}
	return string(output), err
}

func join(hosts []Host) string {
	var names []string
	for _, h := range hosts {
		names = append(names, string(h))
	}
	return strings.Join(names, ", ")
}
