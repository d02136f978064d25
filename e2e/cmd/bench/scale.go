package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// thousand measures an outage of one Service among a thousand others that move with it.
func (b *bench) thousand(ctx context.Context) error {
	return b.withCrowd(ctx, 1000, func() error { return b.cuts(ctx, "with 1,000 Services: ") })
}

// fiveThousand measures what so many Services cost.
func (b *bench) fiveThousand(ctx context.Context) error {
	if err := b.usageOf(ctx, "before"); err != nil {
		return err
	}
	return b.withCrowd(ctx, 5000, func() error { return b.usageOf(ctx, "at 5,000 Services") })
}

func (b *bench) withCrowd(ctx context.Context, count int, measure func() error) error {
	bounded, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	begun := time.Now()
	if err := b.announcedCrowd(bounded, count); err != nil {
		return err
	}
	say("%d Services are announced after %.1f s", count, time.Since(begun).Seconds())
	return errors.Join(measure(), b.disperse(ctx))
}

// steady looks for failovers without a reason while all cores are busy with something else.
func (b *bench) steady(ctx context.Context) error {
	if err := b.settle(ctx); err != nil {
		return err
	}
	clients, err := herald.StartClients(ctx, b.cluster, lab.Client, b.addresses)
	if err != nil {
		return err
	}
	begun := time.Now()
	busy, stop := context.WithTimeout(ctx, b.steadyFor)
	defer stop()
	for range runtime.NumCPU() {
		loop := exec.CommandContext(busy, "sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			return fmt.Errorf("keep a core busy: %w", err)
		}
		defer func() { _ = loop.Wait() }() // it is killed when its time is over
	}
	<-busy.Done()
	reports := clients.Stop()
	gone, err := b.membersGone(ctx, time.Since(begun))
	if err != nil {
		return err
	}
	b.count(fmt.Sprintf("all cores busy for %s: speakers taken for dead", b.steadyFor), []int{gone})
	for i, a := range b.addresses {
		say("over %s: %s", family(a), reports[i])
		b.count(fmt.Sprintf("all cores busy for %s: failed connections over %s", b.steadyFor, family(a)), []int{reports[i].Failed})
	}
	return ctx.Err()
}

// membersGone counts how often speakers have said lately that another one is gone.
func (b *bench) membersGone(ctx context.Context, lately time.Duration) (int, error) {
	logs := b.cluster.Kubectl(ctx, "logs", "--namespace", herald.Namespace, "--selector", "component=speaker",
		"--tail", "-1", fmt.Sprintf("--since=%ds", int(lately.Seconds())+1))
	output, err := logs.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("read the speakers' logs: %w: %s", err, output)
	}
	return strings.Count(string(output), `"member gone"`), nil
}
