package main

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"time"

	"github.com/herald-lb/herald/e2e/figures"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/neighbour"
)

const (
	// askEvery is the pace of requests; half of them are for Herald's address, half for one of the kernel's.
	askEvery = time.Millisecond
	askFor   = 10 * time.Second
	// noise is how many requests a second another neighbour makes for addresses that nobody has.
	noise = 20_000
)

// quiet and noisy are the segments that answers are measured on.
var quiet, noisy = "quiet", fmt.Sprintf("flood of %d/s", noise)

// arp measures how long answers to ARP requests take, side by side with those of the same node's kernel for an address of
// its own.
func (b *bench) arp(ctx context.Context) error {
	if err := b.settle(ctx); err != nil {
		return err
	}
	targets := []netip.Addr{b.addresses[0], lab.AddressesOf(b.home).V4}
	took := map[string][][]time.Duration{quiet: make([][]time.Duration, 2), noisy: make([][]time.Duration, 2)}
	lost := map[string][][]int{quiet: make([][]int, 2), noisy: make([][]int, 2)}
	for run := range b.runs {
		for _, segment := range []string{quiet, noisy} {
			answers, err := b.askOn(ctx, segment, targets)
			if err != nil {
				return err
			}
			for i, a := range answers {
				took[segment][i] = append(took[segment][i], a.Took...)
				lost[segment][i] = append(lost[segment][i], a.Lost)
			}
			ours, kernels := figures.Of(answers[0].Took), figures.Of(answers[1].Took)
			say("%2d: %s: p50 %v against the kernel's %v, p99 %v against %v, lost %d against %d",
				run+1, segment, ours.Median, kernels.Median, ours.P99, kernels.P99, answers[0].Lost, answers[1].Lost)
		}
	}
	for _, segment := range []string{quiet, noisy} {
		for i, who := range []string{"Herald", "the kernel"} {
			b.span(fmt.Sprintf("ARP answers, %s: %s", segment, who), took[segment][i])
			b.count(fmt.Sprintf("ARP answers lost, %s: %s", segment, who), lost[segment][i])
		}
	}
	return nil
}

func (b *bench) askOn(ctx context.Context, segment string, targets []netip.Addr) ([]neighbour.Answers, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flooded := make(chan error, 1)
	if segment == noisy {
		go func() {
			_, err := neighbour.FloodFrom(ctx, b.from(lab.Router), neighbour.Noise{
				Link: "eth0", As: lab.AddressesOf(lab.Router).V4, Network: netip.MustParsePrefix("10.99.0.0/16"), PerSecond: noise,
			})
			flooded <- err
		}()
		time.Sleep(time.Second)
	}
	answers, err := neighbour.AskFrom(ctx, b.from(lab.Client), neighbour.Questions{
		Link: "eth0", As: askers(), Targets: targets, Every: askEvery, For: askFor,
	})
	cancel()
	if segment == noisy && err == nil {
		err = <-flooded
	}
	return answers, err
}

// askers are addresses of the LAN that no host has: an answer is known by whom it is for. It counts as lost if it takes
// longer than until its asker's turn comes again, which is a fifth of a second.
func askers() (all []netip.Addr) {
	for a := netip.MustParseAddr("192.168.10.90"); len(all) < 100; a = a.Next() {
		all = append(all, a)
	}
	return all
}

func (b *bench) from(host lab.Host) neighbour.Host {
	return func(ctx context.Context, args ...string) (*exec.Cmd, error) {
		return b.cluster.Command(ctx, host, args...)
	}
}
