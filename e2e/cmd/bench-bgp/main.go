// Bench-bgp measures, on a cluster of light nodes with FRR and BIRD as routers, how soon routers follow what happens in the
// cluster, and how long clients behind them go without. It prints a table; nothing in it passes or fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/herald-lb/herald/e2e/experiment"
	"github.com/herald-lb/herald/e2e/lab"
)

var experiments = []experiment.Experiment[func(*bench, context.Context) error]{
	{Name: "route", What: "Services are created one by one: from the address in the status to the route in the router's kernel", Measure: (*bench).routes},
	{Name: "withdraw", What: "the last local endpoint of a Service goes: from the change of its EndpointSlice to the end of the route", Measure: (*bench).withdrawals},
	{Name: "cut", What: "a node's cable is cut, while a client behind the router opens a connection every 10 ms", Measure: (*bench).cuts},
	{Name: "restart", What: "all speakers are restarted, one after the other, with graceful restart", Measure: (*bench).restarts},
	{Name: "scale", What: "10,000 Services are offered to two routers by one node", Measure: (*bench).scale},
}

func main() { experiment.Main(run) }

// run makes a lab, measures, and takes the lab down.
func run(ctx context.Context) (err error) {
	var o options
	flag.StringVar(&o.lab, "lab", "bench", "the lab's name")
	flag.StringVar(&o.root, "root", "..", "the repository's root")
	flag.IntVar(&o.runs, "runs", 10, "how often each fault is made")
	flag.IntVar(&o.services, "services", 10_000, "how many Services there are in the experiment scale")
	only := flag.String("only", "", "experiments to run, separated by commas; all if empty: "+experiment.Names(experiments))
	flag.Parse()
	chosen, err := experiment.Choose(experiments, *only)
	if err != nil {
		return err
	}
	// What ctx ended must be taken down all the same.
	defer func() { err = errors.Join(err, lab.Down(context.WithoutCancel(ctx), o.lab)) }()
	b, err := setUp(ctx, o)
	if err != nil {
		return err
	}
	failure := experiment.Run(chosen, func(measure func(*bench, context.Context) error) error { return measure(b, ctx) })
	fmt.Println()
	return errors.Join(failure, b.table.Write(os.Stdout, ""))
}
