// Demo shows what Herald is for, on a real cluster in network namespaces: a Service is given an address, a neighbour on
// the LAN reaches it, the node that announces it is cut off, and another one takes over; then a router learns the way to
// another Service over BGP, and a node that it forwards through is cut off.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/herald-lb/herald/e2e/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", explain(ctx, err))
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	name := flag.String("name", lab.DefaultName, "the lab's name")
	root := flag.String("root", "..", "the repository's root")
	flag.Parse()
	if os.Geteuid() != 0 {
		return errors.New("the cluster is made of network namespaces, which takes root: run it with sudo")
	}
	d := demo{root: *root, labName: *name, story: newStory(os.Stdout)}
	return d.tell(ctx)
}

// explain says of an interrupted demo what is left of it.
func explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted; what is up stays up until make demo-down, and make demo starts afresh")
	}
	return err
}
