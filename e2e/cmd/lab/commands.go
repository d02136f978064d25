package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/probe"
	"github.com/herald-lb/herald/e2e/router"
)

// command is one verb of the command line.
type command struct {
	verb, args, help string
	run              func(context.Context, invocation) error
}

type invocation struct {
	command
	lab  string
	args []string
	out  io.Writer
}

// commands is filled at start: the verbs' functions refer back to it for their usage.
var commands []command

func init() {
	commands = []command{
		{"up", "[--nodes N] [--proxy-mode nftables|iptables] [--light] [--single-stack] [--bare]", "bring the lab up (what is left of an earlier one goes first)", up},
		{"down", "", "end the lab and remove all that it made", down},
		{"status", "", "list the hosts: addresses, on or off, cable, Ready", status},
		{"kill", "NODE", "a power cut: the cable goes dark and all processes die", onNode((*lab.Lab).Kill)},
		{"revive", "NODE", "switch a node on again, cable in, and wait until it is Ready", onNode((*lab.Lab).Revive)},
		{"poweroff", "NODE", "shut a node down in good order", onNode((*lab.Lab).PowerOff)},
		{"cable", "HOST in|out", "plug a host's cable in, or pull it", cable},
		{"kubectl", "ARGUMENT...", "kubectl, as the cluster's administrator", kubectl},
		{"in", "HOST COMMAND...", "run a command on a host, say: lab in client curl 192.168.10.200", in},
		{"probe", "HOST ADDRESS:PORT", "open a connection every 10 ms until interrupted, then tell the outage", probeFrom},
		{"routers", "[--asn N] [--nodes-asn N]", "run FRR on router and BIRD on router2, which wait for every node's BGP session", routers},
		{"load", "IMAGE.tar...", "hand image archives to all nodes", load},
	}
}

func usage(out io.Writer) {
	fmt.Fprint(out, "lab runs a real Kubernetes cluster on this machine, in network namespaces.\n\n"+
		"usage: lab [--name NAME] COMMAND\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, c := range commands {
		fmt.Fprintf(w, "  %s %s\t%s\n", c.verb, c.args, c.help)
	}
	w.Flush()
	fmt.Fprintf(out, "\nHosts: control, client, router, far (behind router), router2, far2 (behind router2), node1, node2, ...\n"+
		"Addresses that are free for pools: %s, %s\n"+
		"Labs with different names exist side by side; without --name it is $HERALD_LAB, else %s.\n", lab.Pool4, lab.Pool6, lab.DefaultName)
}

func defaultName() string { return cmp.Or(os.Getenv("HERALD_LAB"), lab.DefaultName) }

// want checks the number of arguments.
func (i invocation) want(count int) error {
	if len(i.args) != count {
		return fmt.Errorf("usage: lab %s %s", i.verb, i.command.args)
	}
	return nil
}

func (i invocation) atLeast(count int) error {
	if len(i.args) < count {
		return fmt.Errorf("usage: lab %s %s", i.verb, i.command.args)
	}
	return nil
}

func (i invocation) open(ctx context.Context) (*lab.Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root can work on a lab's network namespaces")
	}
	l, err := lab.Open(ctx, i.lab)
	if errors.Is(err, lab.ErrDown) {
		err = fmt.Errorf("%w; bring it up with: lab --name %s up", err, i.lab)
	}
	return l, err
}

func up(ctx context.Context, i invocation) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	options := lab.Options{Name: i.lab, Steps: i.out}
	flags.IntVar(&options.Nodes, "nodes", 3, "how many nodes")
	flags.StringVar(&options.ProxyMode, "proxy-mode", "nftables", "kube-proxy's mode: nftables or iptables")
	flags.BoolVar(&options.Bare, "bare", false, "the network and its hosts alone, without a cluster")
	flags.BoolVar(&options.Light, "light", false, "nodes without kubelets and containers, for labs of many nodes")
	flags.BoolVar(&options.SingleStack, "single-stack", false, "Services have IPv4 cluster addresses alone")
	if err := flags.Parse(i.args); err != nil {
		return err
	}
	i.args = flags.Args()
	if err := i.want(0); err != nil {
		return err
	}
	if options.Light {
		options.Programs = builtPrograms()
	}
	if _, err := lab.Up(ctx, options); err != nil {
		return err
	}
	fmt.Fprintf(i.out, "try: %[1]s kubectl get nodes   %[1]s in client ip address   %[1]s down\n", filepath.Base(os.Args[0]))
	return nil
}

// builtPrograms are Herald's, where make build puts them: beside this one.
func builtPrograms() map[string]string {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	return map[string]string{
		"ghcr.io/herald-lb/controller": filepath.Join(filepath.Dir(self), "controller"),
		"ghcr.io/herald-lb/speaker":    filepath.Join(filepath.Dir(self), "speaker"),
	}
}

func down(ctx context.Context, i invocation) error {
	if err := i.want(0); err != nil {
		return err
	}
	return lab.Down(ctx, i.lab)
}

func status(ctx context.Context, i invocation) error {
	if err := i.want(0); err != nil {
		return err
	}
	l, err := i.open(ctx)
	if err != nil {
		return err
	}
	hosts, err := l.Status(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(i.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tIPV4\tIPV6\tPOWER\tCABLE\tREADY")
	for _, h := range hosts {
		ready := "-"
		if h.Host.IsNode() {
			ready = word(h.Ready, "yes", "no")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", h.Host, h.Addresses.V4, h.Addresses.V6, word(h.On, "on", "off"), word(h.Cable, "in", "out"), ready)
	}
	return w.Flush()
}

func word(yes bool, ifYes, ifNo string) string {
	if yes {
		return ifYes
	}
	return ifNo
}

func onNode(do func(*lab.Lab, context.Context, lab.Host) error) func(context.Context, invocation) error {
	return func(ctx context.Context, i invocation) error {
		if err := i.want(1); err != nil {
			return err
		}
		l, err := i.open(ctx)
		if err != nil {
			return err
		}
		return do(l, ctx, lab.Host(i.args[0]))
	}
}

func cable(ctx context.Context, i invocation) error {
	if err := i.want(2); err != nil {
		return err
	}
	if i.args[1] != "in" && i.args[1] != "out" {
		return fmt.Errorf("cable %s: want in or out", i.args[1])
	}
	l, err := i.open(ctx)
	if err != nil {
		return err
	}
	return l.Cable(ctx, lab.Host(i.args[0]), i.args[1] == "in")
}

func kubectl(ctx context.Context, i invocation) error {
	l, err := i.open(ctx)
	if err != nil {
		return err
	}
	return attach(l.Kubectl(ctx, i.args...))
}

func in(ctx context.Context, i invocation) error {
	if err := i.atLeast(2); err != nil {
		return err
	}
	l, err := i.open(ctx)
	if err != nil {
		return err
	}
	command, err := l.Command(ctx, lab.Host(i.args[0]), i.args[1:]...)
	if err != nil {
		return err
	}
	return attach(command)
}

// attach runs a command with this program's input and outputs. A terminal's Ctrl-C reaches the command itself, so that it
// is told to end, but never killed for it: a shell would not be.
func attach(command *exec.Cmd) error {
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := command.Run()
	if ended := new(exec.ExitError); errors.As(err, &ended) && ended.ExitCode() > 0 {
		return &commandFailed{ended.ExitCode()}
	}
	return err
}

// commandFailed is the end of a command that a person has run on a host.
type commandFailed struct{ code int }

func (c *commandFailed) Error() string { return fmt.Sprintf("exit status %d", c.code) }

func probeFrom(ctx context.Context, i invocation) error {
	if err := i.want(2); err != nil {
		return err
	}
	address, err := netip.ParseAddrPort(i.args[1])
	if err != nil {
		return fmt.Errorf("probe %s: %w", i.args[1], err)
	}
	l, err := i.open(ctx)
	if err != nil {
		return err
	}
	if _, err := l.Command(ctx, lab.Host(i.args[0]), "true"); err != nil {
		return err
	}
	p := probe.Start(probe.Options{Dial: l.DialFrom(lab.Host(i.args[0])), Address: address})
	<-ctx.Done()
	fmt.Fprintln(i.out, p.Stop())
	return nil
}

func routers(ctx context.Context, i invocation) error {
	flags := flag.NewFlagSet("routers", flag.ContinueOnError)
	asn := flags.Uint("asn", 64513, "the routers' autonomous system")
	nodes := flags.Uint("nodes-asn", 64512, "the nodes'")
	if err := flags.Parse(i.args); err != nil {
		return err
	}
	i.args = flags.Args()
	if err := i.want(0); err != nil {
		return err
	}
	l, err := i.open(ctx)
	if err != nil {
		return err
	}
	config := router.Config{ASN: uint32(*asn), Neighbours: router.Nodes(l, router.Neighbour{ASN: uint32(*nodes), DualStack: true})}
	frr, bird := router.NewFRR(l, lab.Router), router.NewBIRD(l, lab.Router2)
	if err := errors.Join(frr.Kill(), bird.Kill()); err != nil {
		return err
	}
	if err := errors.Join(frr.Start(ctx, config), bird.Start(ctx, config)); err != nil {
		return err
	}
	own, other := lab.AddressesOf(lab.Router), lab.AddressesOf(lab.Router2)
	fmt.Fprintf(i.out, "AS %d at %s (FRR) and %s (BIRD) waits for AS %d\n", *asn, own.V4, other.V4, *nodes)
	fmt.Fprintf(i.out, "try: %[1]s in router vtysh -c 'show bgp summary'   %[1]s in router2 birdc show protocols\n", filepath.Base(os.Args[0]))
	return nil
}

func load(ctx context.Context, i invocation) error {
	if err := i.atLeast(1); err != nil {
		return err
	}
	l, err := i.open(ctx)
	if err != nil {
		return err
	}
	for _, archive := range i.args {
		if err := l.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}
