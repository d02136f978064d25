package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/herald-lb/herald/internal/bfd"
	"github.com/herald-lb/herald/internal/bgp"
	"github.com/herald-lb/herald/internal/layer2"
	"github.com/herald-lb/herald/internal/metrics"
)

// engines make true on the wire what is decided. They outlive the manager, since each
// ends in its own time.
type engines struct {
	layer2 *layer2.Announcer
	bgp    *bgp.Speaker
	bfd    *bfd.Process
	paths  *paths
	// durations are measured where frames are sent.
	durations *durations
}

// bfdCommand, as the only argument, makes this program the process that keeps BFD's sessions:
// its packets must not wait for what else a speaker does.
const bfdCommand = "bfd"

func newEngines(l logger, o options, registry prometheus.Registerer) engines {
	d := newDurations(registry)
	e := engines{
		layer2:    layer2.New(l, layer2.Config{Refresh: o.refresh, Gained: d.sent}),
		bgp:       bgp.New(l, bgp.Config{Node: o.node}),
		durations: d,
	}
	e.paths = newPaths(e.bgp)
	e.bfd = bfd.NewProcess(l, []string{"/proc/self/exe", bfdCommand}, e.paths.changed)
	e.paths.bfd = e.bfd
	return e
}

// handOver is how long this node goes on answering after it told the others that it
// leaves: they have announced themselves by then. Two that answer for a moment cost
// nothing, as kube-proxy forwards on both.
const handOver = 500 * time.Millisecond

// startThenHandOver runs until ctx ends. BGP takes its leave at once: routers turn to
// others, and what is on its way here is still forwarded. By when the manager returns,
// this speaker has left the ring; only then do the answers over layer 2 stop. BFD goes on
// for as long: a router that hears of its end before it has read BGP's takes the path for
// broken, and drops the routes that it should keep over a restart.
func startThenHandOver(ctx context.Context, mgr ctrl.Manager, e engines, l logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	answering, silence := context.WithCancel(context.WithoutCancel(ctx))
	defer silence()
	run := func(ctx context.Context, start func(context.Context) error) <-chan error {
		ended := make(chan error, 1)
		go func() {
			err := start(ctx)
			if err != nil {
				stop() // what works must not hide what does not
			}
			ended <- err
		}()
		return ended
	}
	layer2, bgp, bfd := run(answering, e.layer2.Start), run(ctx, e.bgp.Start), run(answering, e.bfd.Start)
	context.AfterFunc(ctx, e.layer2.Quiet)

	err := mgr.Start(ctx)
	stop()
	err = errors.Join(err, <-bgp)
	if err == nil {
		level.Info(l).Log("msg", "handing over", "for", handOver)
		time.Sleep(handOver)
	}
	silence()
	err = errors.Join(err, <-layer2, <-bfd)
	level.Info(l).Log("msg", "speaker stopped")
	return err
}

// bfdMetrics is what metrics say about the paths that are watched. Two sessions with one
// router, such as over one hop and over several, count as one.
func (e engines) bfdMetrics() []metrics.Path {
	type labels struct{ peer, vrf string }
	byLabels := map[labels]metrics.Path{}
	for key, stats := range e.bfd.Stats().Sessions {
		l := labels{key.Peer.String(), key.VRF}
		p, known := byLabels[l]
		byLabels[l] = metrics.Path{
			Peer: l.peer, VRF: l.vrf, Up: stats.Up && (p.Up || !known),
			ControlInput: p.ControlInput + stats.ControlPacketsReceived, ControlOutput: p.ControlOutput + stats.ControlPacketsSent,
			EchoInput: p.EchoInput + stats.EchoPacketsReceived, EchoOutput: p.EchoOutput + stats.EchoPacketsSent,
			UpEvents: p.UpEvents + stats.UpEvents, DownEvents: p.DownEvents + stats.DownEvents, Notifications: p.Notifications + stats.Notifications,
		}
	}
	return slices.Collect(maps.Values(byLabels))
}

// bfdDrops is what metrics say about the BFD packets that changed nothing.
func (e engines) bfdDrops() []metrics.Drop {
	var out []metrics.Drop
	for _, d := range e.bfd.Stats().Drops {
		out = append(out, metrics.Drop{Reason: d.Reason, Count: d.Count})
	}
	return out
}
