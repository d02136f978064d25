package main

import (
	"context"
	"fmt"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/probe"
)

// seen collects what clients saw of a series of faults, by address.
type seen struct {
	outages [2][]time.Duration
	failed  [2][]int
	parted  [2][]int
}

func (s *seen) add(reports []probe.Report) {
	for i, r := range reports {
		s.outages[i] = append(s.outages[i], r.Outage)
		s.failed[i] = append(s.failed[i], r.Failed)
		s.parted[i] = append(s.parted[i], r.Parted)
	}
}

// countFailed adds rows for the connections that failed as something happened, and for those that were parted from the node
// which had answered them.
func (b *bench) countFailed(happened string, s seen) {
	for i, a := range b.addresses {
		b.count(happened+": failed connections over "+family(a), s.failed[i])
		b.count(happened+": connections reset as their way moved, over "+family(a), s.parted[i])
	}
}

// under makes a fault while clients try to connect, and returns what they saw once each connection is answered again.
// The fault returns when it has been made, or when it is over.
func (b *bench) under(ctx context.Context, fault func(context.Context) error) ([]probe.Report, error) {
	clients, err := herald.StartClients(ctx, b.cluster, lab.Client, b.addresses)
	if err != nil {
		return nil, err
	}
	err = fault(ctx)
	if err == nil {
		err = clients.AwaitSteady(ctx, time.Now())
	}
	return clients.Stop(), err
}

func (b *bench) outages(ctx context.Context) error { return b.cuts(ctx, "") }

// cuts pulls the announcing node's cable and plugs it in again. The circumstances begin the names of the figures.
func (b *bench) cuts(ctx context.Context, circumstances string) error {
	var cut, back seen
	for run := range b.runs {
		if err := b.settle(ctx); err != nil {
			return err
		}
		out, err := b.under(ctx, func(ctx context.Context) error { return b.cluster.CableOut(ctx, b.home) })
		if err != nil {
			return err
		}
		in, err := b.under(ctx, b.comeBack)
		if err != nil {
			return err
		}
		say("%2d: cut: %s; %s; back: %s; %s", run+1, out[0], out[1], in[0], in[1])
		cut.add(out)
		back.add(in)
	}
	for i, a := range b.addresses {
		b.span(circumstances+"cable cut: outage over "+family(a), cut.outages[i])
	}
	b.countFailed(circumstances+"cable back", back)
	return nil
}

// comeBack plugs the cable in and waits until the node announces again.
func (b *bench) comeBack(ctx context.Context) error {
	if err := b.cluster.CableIn(ctx, b.home); err != nil {
		return err
	}
	_, err := herald.AwaitOwner(ctx, b.cluster, b.addresses[0], herald.Only(b.home))
	return err
}

// kills measures what a dead speaker on a living node costs: a client that has the node's address in its neighbour table
// would not notice, so it is made to forget. Its kernel keeps connections waiting while it asks for the address, and drops
// them when it has to forget again, so that outages come in steps of 200 ms.
func (b *bench) kills(ctx context.Context) error {
	forgetting, stop := context.WithCancel(ctx)
	defer stop()
	if err := b.forgetNeighbours(forgetting); err != nil {
		return err
	}
	var killed seen
	for run := range b.runs {
		if err := b.settle(ctx); err != nil {
			return err
		}
		reports, err := b.under(ctx, b.killSpeaker)
		if err != nil {
			return err
		}
		say("%2d: %s; %s", run+1, reports[0], reports[1])
		killed.add(reports)
		// A fresh pod: the kubelet waits ever longer before it starts one again that keeps ending.
		if err := b.stopSpeaker(ctx); err != nil {
			return err
		}
	}
	for i, a := range b.addresses {
		b.span("speaker killed: outage over "+family(a), killed.outages[i])
	}
	return nil
}

// forgetNeighbours makes the client ask anew who has the addresses every 200 ms, until the context ends.
func (b *bench) forgetNeighbours(ctx context.Context) error {
	script := "while sleep 0.2; do"
	for _, a := range b.addresses {
		script += fmt.Sprintf(" ip neighbour delete %s dev eth0;", a)
	}
	command, err := b.cluster.Command(ctx, lab.Client, "sh", "-c", script+" done")
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("make the client forget its neighbours: %w", err)
	}
	go func() { _ = command.Wait() }() // it ends when the context does, and no other way
	return nil
}

func (b *bench) killSpeaker(ctx context.Context) error {
	pod, err := herald.Speaker(ctx, b.cluster, b.home)
	if err != nil {
		return err
	}
	return herald.Kill(ctx, b.cluster, pod)
}

// stopSpeaker deletes the pod of the announcing speaker, and waits until it and its replacement have come to rest.
func (b *bench) stopSpeaker(ctx context.Context) error {
	if err := b.deleteSpeaker(ctx); err != nil {
		return err
	}
	return b.settle(ctx)
}

// deleteSpeaker deletes the pod of the announcing speaker, and returns when it is gone.
func (b *bench) deleteSpeaker(ctx context.Context) error {
	pod, err := herald.Speaker(ctx, b.cluster, b.home)
	if err != nil {
		return err
	}
	deletion := b.cluster.Kubectl(ctx, "delete", "pod", "--namespace", herald.Namespace, pod.Name)
	if output, err := deletion.CombinedOutput(); err != nil {
		return fmt.Errorf("delete pod %s: %w: %s", pod.Name, err, output)
	}
	return nil
}

func (b *bench) stops(ctx context.Context) error {
	return b.fails(ctx, "speaker stopped and started", b.runs, b.stopSpeaker)
}

// restarts are fewer: each takes ten seconds and more.
func (b *bench) restarts(ctx context.Context) error {
	return b.fails(ctx, "rolling restart", (b.runs+2)/3, b.restartSpeakers)
}

func (b *bench) restartSpeakers(ctx context.Context) error {
	restart := b.cluster.Kubectl(ctx, "rollout", "restart", "--namespace", herald.Namespace, "daemonset/speaker")
	if output, err := restart.CombinedOutput(); err != nil {
		return fmt.Errorf("restart the speakers: %w: %s", err, output)
	}
	return b.settle(ctx)
}

// fails counts the connections that fail while something happens that should cost none.
func (b *bench) fails(ctx context.Context, what string, runs int, happens func(context.Context) error) error {
	var all seen
	for run := range runs {
		if err := b.settle(ctx); err != nil {
			return err
		}
		reports, err := b.under(ctx, happens)
		if err != nil {
			return err
		}
		say("%2d: %s; %s", run+1, reports[0], reports[1])
		all.add(reports)
	}
	b.countFailed(what, all)
	return nil
}
