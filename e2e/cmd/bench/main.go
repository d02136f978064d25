// Bench measures, on a real cluster in network namespaces, how long Herald's clients go without and how long its users
// wait. It prints tables; nothing in it passes or fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/herald-lb/herald/e2e/experiment"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/neighbour"
)

var experiments = []experiment.Experiment[func(*bench, context.Context) error]{
	{Name: "outage", What: "the announcing node's cable is cut, and plugged in again", Measure: (*bench).outages},
	{Name: "thousand", What: "the same with 1,000 Services more", Measure: (*bench).thousand},
	{Name: "ring", What: "the same in a gossip ring of 50 members", Measure: (*bench).ring},
	{Name: "kill", What: "the announcing speaker is killed, while the client forgets its neighbours every 200 ms", Measure: (*bench).kills},
	{Name: "stop", What: "the announcing speaker is shut down in good order", Measure: (*bench).stops},
	{Name: "restart", What: "all speakers are restarted, one after the other", Measure: (*bench).restarts},
	{Name: "start", What: "the announcing speaker is started anew", Measure: (*bench).starts},
	{Name: "assign", What: "Services are created at 10/s", Measure: (*bench).assignments},
	{Name: "burst", What: "3,000 Services are created by 8 clients at once", Measure: (*bench).burst},
	{Name: "arp", What: "a neighbour asks for the address at 1,000/s, and for one of the kernel's", Measure: (*bench).arp},
	{Name: "steady", What: "all cores are busy with something else", Measure: (*bench).steady},
	{Name: "fivethousand", What: "5,000 Services are created", Measure: (*bench).fiveThousand},
	{Name: "usage", What: "memory and CPU after all of this, and when idle", Measure: (*bench).usage},
}

func main() {
	neighbour.Visit()
	takePart()
	experiment.Main(run)
}

// run makes a lab, measures, and takes the lab down.
func run(ctx context.Context) (err error) {
	var o options
	flag.StringVar(&o.lab, "lab", "bench", "the lab's name")
	flag.StringVar(&o.root, "root", "..", "the repository's root")
	flag.IntVar(&o.runs, "runs", 20, "how often each fault is made")
	flag.DurationVar(&o.steadyFor, "steady", 30*time.Minute, "how long all cores are kept busy")
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
	for _, t := range b.tables() {
		failure = errors.Join(failure, t.Write(os.Stdout, ""))
	}
	return failure
}
