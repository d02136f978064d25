package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/allocation"
	"github.com/herald-lb/herald/e2e/experiment"
	"github.com/herald-lb/herald/e2e/lab"
)

var experiments = []experiment.Experiment[measure]{
	{Name: "pace", What: "100 Services, 10 a second: to the address in status", Measure: pace},
	{Name: "burst", What: "3,000 Services by 8 clients: to the address in status", Measure: burst},
	{Name: "scale", What: "5,000 Services by 8 clients", Measure: scale},
	{Name: "failover", What: "two replicas, 1,000 Services, and another every 20 ms", Measure: failover},
}

// pace creates Services one at a time, evenly.
func pace(ctx context.Context, b *bench, _ *allocation.Controller, r *report) error {
	watch, err := allocation.NewStopwatch(ctx, b.world, namespace)
	if err != nil {
		return err
	}
	clock := time.NewTicker(time.Second / 10)
	defer clock.Stop()
	for i := range 100 {
		<-clock.C
		if err := watch.Create(ctx, service(i)); err != nil {
			return err
		}
	}
	record, err := watch.Stop(ctx)
	if err != nil {
		return err
	}
	r.latencies(record, "≤ 4 ms", "≤ 10 ms")
	return nil
}

func burst(ctx context.Context, b *bench, _ *allocation.Controller, r *report) error {
	begin := time.Now()
	record, err := b.create(ctx, 3000)
	if err != nil {
		return err
	}
	r.latencies(record, "≤ 50 ms", "≤ 500 ms")
	r.add("all of them", "", seconds, time.Since(begin).Seconds())
	return nil
}

// scale looks at what thousands of Services cost: to get there, at rest, and over a restart.
func scale(ctx context.Context, b *bench, c *allocation.Controller, r *report) error {
	if _, err := b.create(ctx, 5000); err != nil {
		return err
	}
	if err := settle(ctx, c); err != nil {
		return err
	}
	if err := cost(ctx, c, r); err != nil {
		return err
	}
	if err := idle(ctx, b, c, r); err != nil {
		return err
	}
	return restart(ctx, b, c, r)
}

// settle waits until the controller has not written for three seconds.
func settle(ctx context.Context, c *allocation.Controller) error {
	last, since := -1, time.Now()
	for time.Since(since) < 3*time.Second {
		requests, err := c.Requests(ctx)
		if err != nil {
			return err
		}
		if now := requests.Writes(); now != last {
			last, since = now, time.Now()
		}
		time.Sleep(200 * time.Millisecond)
	}
	return nil
}

func cost(ctx context.Context, c *allocation.Controller, r *report) error {
	cpu, err := c.CPU()
	if err != nil {
		return err
	}
	memory, err := c.Memory()
	if err != nil {
		return err
	}
	requests, err := c.Requests(ctx)
	if err != nil {
		return err
	}
	r.add("processor time to get there", "≤ 5 s", seconds, cpu.Seconds())
	r.add("resident memory there", "≤ 60 MB", mebibytes, float64(memory)/(1<<20))
	r.add("requests: PATCH (statuses)", "5,000", count, float64(requests["PATCH"]))
	r.add("requests: POST (events, nearly all)", "", count, float64(requests["POST"]))
	r.add("requests: PUT (pool status)", "", count, float64(requests["PUT"]))
	return nil
}

// idleTime is how long a controller is looked at that has nothing to do.
const idleTime = time.Minute

// idle counts what a controller asks that has nothing to do.
func idle(ctx context.Context, b *bench, c *allocation.Controller, r *report) error {
	before, err := c.Requests(ctx)
	if err != nil {
		return err
	}
	told, err := b.events(ctx)
	if err != nil {
		return err
	}
	spent, err := c.CPU()
	if err != nil {
		return err
	}
	time.Sleep(idleTime)
	after, err := c.Requests(ctx)
	if err != nil {
		return err
	}
	toldNow, err := b.events(ctx)
	if err != nil {
		return err
	}
	now, err := c.CPU()
	if err != nil {
		return err
	}
	memory, err := c.Memory()
	r.add("idle for 60 s: writes and events", "0", count, float64(after.Since(before).Writes()+toldNow-told))
	r.add("idle for 60 s: processor time", "", seconds, (now - spent).Seconds())
	r.add("idle for 60 s: resident memory then", "", mebibytes, float64(memory)/(1<<20))
	return err
}

// restart kills the controller, and starts it again over what it left.
func restart(ctx context.Context, b *bench, c *allocation.Controller, r *report) error {
	before, err := b.versions(ctx)
	if err != nil {
		return err
	}
	told, err := b.events(ctx)
	if err != nil {
		return err
	}
	c.Kill()
	begin := time.Now()
	again, err := b.start(ctx)
	if err != nil {
		return err
	}
	defer again.Stop()
	r.duration("restart: to ready", "≤ 2 s", time.Since(begin))
	if err := settle(ctx, again); err != nil {
		return err
	}
	after, err := b.versions(ctx)
	if err != nil {
		return err
	}
	requests, err := again.Requests(ctx)
	if err != nil {
		return err
	}
	toldNow, err := b.events(ctx)
	if err != nil {
		return err
	}
	cpu, err := again.CPU()
	if err != nil {
		return err
	}
	memory, err := again.Memory()
	if err != nil {
		return err
	}
	r.add("restart: Services changed", "0", count, float64(changes(before, after)))
	r.add("restart: writes and events", "0", count, float64(requests.Writes()+toldNow-told))
	r.add("restart: processor time", "", seconds, cpu.Seconds())
	r.add("restart: resident memory then", "", mebibytes, float64(memory)/(1<<20))
	return resume(ctx, b, again, r)
}

// resume kills the controller once more, and looks at when the next Service is served: who is ready need not lead.
func resume(ctx context.Context, b *bench, c *allocation.Controller, r *report) error {
	c.Kill()
	begin := time.Now()
	again, err := b.start(ctx)
	if err != nil {
		return err
	}
	defer again.Stop()
	err = b.serve(ctx)
	r.duration("restart: to the next Service's address", "≤ 2 s", time.Since(begin))
	return err
}

// failover ends the replica that leads, twice, and looks at the Service that waits longest for its address.
func failover(ctx context.Context, b *bench, c *allocation.Controller, r *report) error {
	const many = 1000
	if _, err := b.create(ctx, many); err != nil {
		return err
	}
	if err := settle(ctx, c); err != nil {
		return err
	}
	before, err := b.versions(ctx)
	if err != nil {
		return err
	}
	second, err := b.startOn(ctx, lab.Client)
	if err != nil {
		return err
	}
	defer second.Stop()
	killed, err := b.longest(ctx, many, c.Kill)
	if err != nil {
		return err
	}
	third, err := b.start(ctx)
	if err != nil {
		return err
	}
	defer third.Stop()
	ended, err := b.longest(ctx, 2*many, second.Stop)
	if err != nil {
		return err
	}
	after, err := b.versions(ctx)
	r.duration("its leader killed: longest wait for an address", "≤ 5 s", killed)
	r.duration("its leader told to end: longest wait", "", ended)
	r.add("Services changed that had an address", "0", count, float64(changes(before, after)))
	return err
}

// longest creates Services evenly for six seconds, numbered from first, while something happens, and returns the longest
// time that one waits for its address.
func (b *bench) longest(ctx context.Context, first int, event func()) (time.Duration, error) {
	watch, err := allocation.NewStopwatch(ctx, b.world, namespace)
	if err != nil {
		return 0, err
	}
	clock := time.NewTicker(20 * time.Millisecond)
	defer clock.Stop()
	over := make(chan struct{})
	for i := range 300 {
		<-clock.C
		if i == 25 {
			go func() { event(); close(over) }()
		}
		if err := watch.Create(ctx, service(first+i)); err != nil {
			return 0, err
		}
	}
	<-over
	record, err := watch.Stop(ctx)
	if err != nil {
		return 0, err
	}
	return percentile(record.All, func(t allocation.Times) time.Duration { return t.Assigned.Sub(t.Called) }, 100), nil
}

// versions are the resource versions of all Services: they change with every write.
func (b *bench) versions(ctx context.Context) (map[string]string, error) {
	list, err := b.world.Client.CoreV1().Services(corev1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	versions := map[string]string{}
	for _, svc := range list.Items {
		versions[svc.Namespace+"/"+svc.Name] = svc.ResourceVersion
	}
	return versions, nil
}

// events counts what the controller has told users.
func (b *bench) events(ctx context.Context) (int, error) {
	list, err := b.world.Client.CoreV1().Events(corev1.NamespaceAll).List(ctx, metav1.ListOptions{FieldSelector: "source=metallb-controller"})
	if err != nil {
		return 0, fmt.Errorf("list Events: %w", err)
	}
	told := 0
	for _, e := range list.Items {
		told += int(e.Count)
	}
	return told, nil
}

func changes(before, after map[string]string) int {
	changed := 0
	for name := range maps.Keys(before) {
		if before[name] != after[name] {
			changed++
		}
	}
	return changed
}
