// Bench-controller measures the controller against a real API server: how soon Services have their addresses, what that
// costs, and what a restart does. It makes a lab of its own and takes it down.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/herald-lb/herald/e2e/allocation"
	"github.com/herald-lb/herald/e2e/experiment"
	"github.com/herald-lb/herald/e2e/lab"
)

func main() { experiment.Main(run) }

// run makes a world, measures, and takes the world down.
func run(ctx context.Context) (err error) {
	name := flag.String("lab", "bench", "the lab's name")
	root := flag.String("root", "..", "the repository's root")
	binary := flag.String("controller", "", "the program to measure (default: what make build has made)")
	runs := flag.Int("runs", 3, "how often each experiment is run")
	only := flag.String("only", "", "experiments to run, separated by commas; all if empty: "+experiment.Names(experiments))
	args := flag.String("args", "", "more arguments for the controller, such as --pprof-bind-address=127.0.0.1:6060 (on the lab's host control)")
	flag.Parse()
	chosen, err := experiment.Choose(experiments, *only)
	if err != nil {
		return err
	}
	if *binary == "" {
		*binary = allocation.Binary(*root)
	}

	world, err := allocation.NewWorld(ctx, lab.Options{Name: *name, Steps: os.Stdout}, *root)
	if err != nil {
		return err
	}
	// What ctx ended must be taken down all the same.
	defer func() { err = errors.Join(err, world.Down(context.WithoutCancel(ctx))) }()
	b := &bench{
		world: world, binary: *binary, args: strings.Fields(*args),
		kubeconfig: filepath.Join(os.TempDir(), *name+"-controller.kubeconfig"), out: os.Stdout,
	}
	defer os.Remove(b.kubeconfig)
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, e := range chosen {
		if err := b.measure(ctx, e, *runs); err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	return nil
}
