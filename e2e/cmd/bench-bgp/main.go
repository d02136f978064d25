// Bench-bgp measures, on a cluster of light nodes with FRR and BIRD as routers, how soon routers follow what happens in the
// cluster, and how long clients behind them go without. It prints a table; nothing in it passes or fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/herald-lb/herald/e2e/lab"
)

// experiment is a group of figures that can be asked for by its name.
type experiment struct {
	name, what string
	measure    func(*bench, context.Context) error
}

var experiments = []experiment{
	{"route", "Services are created one by one: from the address in the status to the route in the router's kernel", (*bench).routes},
	{"withdraw", "the last local endpoint of a Service goes: from the change of its EndpointSlice to the end of the route", (*bench).withdrawals},
	{"cut", "a node's cable is cut, while a client behind the router opens a connection every 10 ms", (*bench).cuts},
	{"restart", "all speakers are restarted, one after the other, with graceful restart", (*bench).restarts},
	{"scale", "10,000 Services are offered to two routers by one node", (*bench).scale},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench-bgp:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var o options
	flag.StringVar(&o.name, "name", "bench", "the lab's name")
	flag.StringVar(&o.root, "root", "..", "the repository's root")
	flag.StringVar(&o.bin, "bin", "../build/bin", "the directory of Herald's programs")
	flag.IntVar(&o.runs, "runs", 10, "how often each fault is made")
	flag.IntVar(&o.services, "services", 10_000, "how many Services there are in the experiment scale")
	only := flag.String("only", "", "regular expression of the experiments to run: "+names())
	flag.Parse()
	chosen, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if os.Geteuid() != 0 {
		return errors.New("the cluster is made of network namespaces, which takes root: run it with sudo")
	}
	// What ctx ended must be taken down all the same.
	defer func() { err = errors.Join(err, lab.Down(context.WithoutCancel(ctx), o.name)) }()
	b, err := setUp(ctx, o)
	if err != nil {
		return err
	}
	for _, e := range experiments {
		if !chosen.MatchString(e.name) {
			continue
		}
		fmt.Printf("\n%s\n", e.what)
		if err := e.measure(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", e.name, err)
		}
	}
	fmt.Println()
	return b.table.Write(os.Stdout, "")
}

func names() string {
	var all []string
	for _, e := range experiments {
		all = append(all, e.name)
	}
	return strings.Join(all, ", ")
}
