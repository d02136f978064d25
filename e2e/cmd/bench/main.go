// Bench measures, on a real cluster in network namespaces, how long Herald's clients go without and how long its users
// wait. It prints tables; nothing in it passes or fails.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/neighbour"
)

// section is a group of figures that can be asked for by its name.
type section struct {
	name, what string
	measure    func(*bench, context.Context) error
}

var sections = []section{
	{"outage", "the announcing node's cable is cut, and plugged in again", (*bench).outages},
	{"thousand", "the same with 1,000 Services more", (*bench).thousand},
	{"ring", "the same in a cluster of 50 nodes", (*bench).ring},
	{"kill", "the announcing speaker is killed, while the client forgets its neighbours every 200 ms", (*bench).kills},
	{"stop", "the announcing speaker is shut down in good order", (*bench).stops},
	{"restart", "all speakers are restarted, one after the other", (*bench).restarts},
	{"assign", "Services are created at 10/s", (*bench).assignments},
	{"burst", "3,000 Services are created by 8 clients at once", (*bench).burst},
	{"arp", "a neighbour asks for the address at 1,000/s, and for one of the kernel's", (*bench).arp},
	{"steady", "all cores are busy with something else", (*bench).steady},
	{"fivethousand", "5,000 Services are created", (*bench).fiveThousand},
	{"usage", "memory and CPU after all of this, and when idle", (*bench).usage},
}

func main() {
	neighbour.Visit()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o options
	flag.StringVar(&o.lab, "lab", "bench", "the lab's name")
	flag.StringVar(&o.root, "root", "..", "the repository's root")
	flag.IntVar(&o.runs, "runs", 10, "how often each fault is made")
	flag.DurationVar(&o.steadyFor, "steady", 30*time.Minute, "how long all cores are kept busy")
	only := flag.String("only", "", "sections to measure, separated by commas; all if empty: "+names())
	flag.Parse()
	if os.Geteuid() != 0 {
		return errors.New("the cluster is made of network namespaces, which takes root: run it with sudo")
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	return measure(ctx, o, chosen)
}

func names() string {
	var all []string
	for _, s := range sections {
		all = append(all, s.name)
	}
	return strings.Join(all, ",")
}

func choose(only string) ([]section, error) {
	if only == "" {
		return sections, nil
	}
	var chosen []section
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no section %q; there are %s", name, names())
		}
		chosen = append(chosen, sections[i])
	}
	return chosen, nil
}

// measure makes a lab, measures, and takes the lab down.
func measure(ctx context.Context, o options, chosen []section) (err error) {
	defer func() { err = errors.Join(err, lab.Down(context.WithoutCancel(ctx), o.lab)) }()
	b, err := setUp(ctx, o)
	if err != nil {
		return err
	}
	for _, s := range chosen {
		fmt.Printf("\n%s\n", s.what)
		if err := s.measure(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
	}
	fmt.Println()
	for _, t := range b.tables() {
		if err := t.Write(os.Stdout, ""); err != nil {
			return err
		}
	}
	return nil
}
