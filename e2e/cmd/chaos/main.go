// Chaos breaks a cluster again and again while people use it, and looks whether Herald keeps its promises. It prints what
// happened in tables, and exits with 1 if a promise was broken, with what it takes to see that again. See package chaos.
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"time"

	"github.com/herald-lb/herald/e2e/chaos"
	"github.com/herald-lb/herald/e2e/experiment"
)

func main() {
	chaos.Visit()
	experiment.Main(run)
}

func run(ctx context.Context) error {
	o := chaos.Options{Out: os.Stdout}
	flag.StringVar(&o.Lab, "lab", "chaos", "the lab's name")
	flag.StringVar(&o.Root, "root", "..", "the repository's root")
	flag.Uint64Var(&o.Seed, "seed", uint64(time.Now().UnixNano()), "what everything is drawn from: one that was printed plays the same acts again")
	flag.IntVar(&o.Faults, "faults", 1000, "how many faults; there is one of each kind at least")
	flag.DurationVar(&o.Duration, "duration", 0, "begin no act after this long; 0: play all")
	flag.DurationVar(&o.Away, "away", time.Minute, "how long the API server is away, where it is away for long")
	flag.BoolVar(&o.Keep, "keep", false, "leave the lab up, to be looked at")
	history := flag.String("history", os.DevNull, "a file for all that happens")
	flag.Parse()
	file, err := os.Create(*history)
	if err != nil {
		return err
	}
	defer file.Close()
	o.History = file
	report, err := chaos.Run(ctx, o)
	if report == nil {
		return err
	}
	return errors.Join(err, report.Write(os.Stdout), report.Err())
}
