// Package experiment is the frame of the benchmark programs: each offers experiments by name, and runs those that are chosen.
package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Experiment is a group of figures that can be asked for by its name. How it is measured is the program's affair.
type Experiment[Measure any] struct {
	Name, What string
	Measure    Measure
}

// Main runs a program that takes root, until its end or an interrupt, and exits with 1 and what was wrong if it fails.
func Main(run func(context.Context) error) {
	if err := untilInterrupted(run); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

func untilInterrupted(run func(context.Context) error) error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster is made of network namespaces, which takes root: run it with sudo")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx)
}

// Choose finds the experiments whose names are given, separated by commas; all, if none is.
func Choose[Measure any](all []Experiment[Measure], only string) (chosen []Experiment[Measure], err error) {
	if only == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(e Experiment[Measure]) bool { return e.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no experiment %q, but %s", name, Names(all))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// Names are what Choose finds, for the help text.
func Names[Measure any](all []Experiment[Measure]) string {
	var names []string
	for _, e := range all {
		names = append(names, e.Name)
	}
	return strings.Join(names, ",")
}

// Run measures one experiment after the other, up to the first that fails. What was found by then is worth its table all the same.
func Run[Measure any](chosen []Experiment[Measure], measure func(Measure) error) error {
	for _, e := range chosen {
		fmt.Printf("\n%s\n", e.What)
		if err := measure(e.Measure); err != nil {
			return fmt.Errorf("measure %s: %w", e.Name, err)
		}
	}
	return nil
}
