package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/herald-lb/herald/e2e/figures"
	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/table"
)

type options struct {
	lab, root string
	runs      int
	steadyFor time.Duration
}

// bench is a lab in which Herald announces one Service, of an address of each family, whose pods are elsewhere than on
// the node that announces it.
type bench struct {
	options
	cluster   *lab.Lab
	addresses []netip.Addr
	home      lab.Host

	spans, counts, usages table.Table
}

func setUp(ctx context.Context, o options) (*bench, error) {
	b := &bench{
		options: o,
		spans:   table.Table{Heading: []string{"", "minimum", "median", "p99", "maximum", "of"}},
		counts:  table.Table{Heading: []string{"", "minimum", "median", "maximum", "of"}},
		usages:  table.Table{Heading: []string{"", "RSS", "CPU so far", "CPU when idle"}},
	}
	var err error
	if b.cluster, err = lab.Up(ctx, lab.Options{Name: o.lab, Steps: os.Stdout}); err != nil {
		return nil, err
	}
	if err := herald.Install(ctx, b.cluster, o.root); err != nil {
		return nil, err
	}
	if err := herald.Furnish(ctx, b.cluster, manifests.Pool+"---\n"+manifests.Service); err != nil {
		return nil, err
	}
	return b, b.settleIn(ctx)
}

// settleIn finds out where the Service is announced, and moves its pods away from there.
func (b *bench) settleIn(ctx context.Context) (err error) {
	if err := b.cluster.AwaitRollout(ctx, "default", "deployment/web"); err != nil {
		return err
	}
	if b.addresses, err = herald.AwaitAddresses(ctx, b.cluster, "default", "web", 2); err != nil {
		return err
	}
	if b.home, err = herald.AwaitOwner(ctx, b.cluster, b.addresses[0], herald.Anyone); err != nil {
		return err
	}
	if err := herald.Drain(ctx, b.cluster, b.home, "app=web"); err != nil {
		return err
	}
	return b.cluster.AwaitRollout(ctx, "default", "deployment/web")
}

// settle waits until all speakers are ready, and the Service has been announced where it should for some seconds: what
// comes next then finds the speakers' gossip at rest.
func (b *bench) settle(ctx context.Context) error {
	if err := herald.AwaitReady(ctx, b.cluster); err != nil {
		return err
	}
	for range 2 { // each takes two seconds or more
		for _, a := range b.addresses {
			if _, err := herald.AwaitOwner(ctx, b.cluster, a, herald.Only(b.home)); err != nil {
				return err
			}
		}
	}
	return nil
}

// say tells the person who waits how far it is.
func say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

// span adds a row of durations.
func (b *bench) span(what string, took []time.Duration) {
	f := figures.Of(took)
	b.spans.Add(what, milliseconds(f.Minimum), milliseconds(f.Median), milliseconds(f.P99), milliseconds(f.Maximum), fmt.Sprint(len(took)))
}

// count adds a row of numbers.
func (b *bench) count(what string, numbers []int) {
	f := figures.Of(numbers)
	b.counts.Add(what, fmt.Sprint(f.Minimum), fmt.Sprint(f.Median), fmt.Sprint(f.Maximum), fmt.Sprint(len(numbers)))
}

func (b *bench) tables() (drawn []table.Table) {
	for _, t := range []table.Table{b.spans, b.counts, b.usages} {
		if len(t.Rows) > 0 {
			drawn = append(drawn, t)
		}
	}
	return drawn
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 1:
		return fmt.Sprintf("%.0f µs", 1000*ms)
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func family(address netip.Addr) string {
	if address.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
