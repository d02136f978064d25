package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"runtime"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/neighbour"
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
	return b.withCrowd(ctx, 5000, func() error {
		if err := b.quiet(ctx); err != nil {
			return err
		}
		return b.usageOf(ctx, "at 5,000 Services")
	})
}

// quietFor is for how long no Service must have changed.
const quietFor = 5 * time.Second

// quiet waits until the Services say all that there is to say about them: that they are announced is written at a pace.
func (b *bench) quiet(ctx context.Context) error {
	var before map[types.UID]string
	for {
		list, err := b.cluster.Client().CoreV1().Services(crowd).List(ctx, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("list Services: %w", err)
		}
		now := map[types.UID]string{}
		for i := range list.Items {
			now[list.Items[i].UID] = list.Items[i].ResourceVersion
		}
		if maps.Equal(before, now) {
			return nil
		}
		before = now
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(quietFor):
		}
	}
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

// announcedCrowd creates Services in numbers, and returns once all of their addresses are answered for. It asks for them
// only when speakers have said that they announce all: thousands of requests would be what is measured.
func (b *bench) announcedCrowd(ctx context.Context, count int) error {
	if err := b.cluster.Apply(ctx, crowdPool+crowdAdvertisement); err != nil {
		return err
	}
	addresses, err := herald.CreateCrowd(ctx, b.cluster, crowd, count)
	if err != nil {
		return err
	}
	err = herald.Await(ctx, "the crowd to be announced", func(ctx context.Context) error {
		announced, err := herald.CountL2Statuses(ctx, b.cluster)
		if err == nil && announced < count {
			err = fmt.Errorf("%d of %d are", announced, count)
		}
		return err
	})
	if err != nil {
		return err
	}
	return herald.Await(ctx, "the crowd's addresses to be answered for", func(ctx context.Context) error {
		answers, err := neighbour.AskFrom(ctx, b.from(lab.Client), neighbour.Questions{
			Link: "eth0", As: askers()[:1], Targets: addresses, Every: askEvery, For: time.Duration(count) * askEvery,
		})
		if err != nil {
			return err
		}
		silent := 0
		for _, a := range answers {
			if len(a.Took) == 0 {
				silent++
			}
		}
		if silent > 0 {
			return fmt.Errorf("%d of %d are silent", silent, count)
		}
		return nil
	})
}

const crowdAdvertisement = `
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata:
  name: crowd
  namespace: metallb-system
spec:
  ipAddressPools: [crowd]
`

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
		b.count(fmt.Sprintf("all cores busy for %s: failed connections over %s", b.steadyFor, family(a)), []int{reports[i].Failed + reports[i].Parted})
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
