package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/herald"
)

// idle is how long Herald is left alone to see what it does then.
const idle = 30 * time.Second

// usage measures all of Herald's processes.
func (b *bench) usage(ctx context.Context) error { return b.usageOf(ctx, "") }

// usageOf measures them in some circumstances, which end the names of the figures.
func (b *bench) usageOf(ctx context.Context, circumstances string) error {
	if err := b.settle(ctx); err != nil {
		return err
	}
	var pods []corev1.Pod
	for _, component := range []string{"controller", "speaker"} {
		found, err := herald.Pods(ctx, b.cluster, component)
		if err != nil {
			return err
		}
		pods = append(pods, found...)
	}
	before, err := b.consumed(ctx, pods)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(idle):
	}
	after, err := b.consumed(ctx, pods)
	if err != nil {
		return err
	}
	for i, p := range pods {
		rest := float64(after[i].cpu-before[i].cpu) / float64(idle)
		b.usages.Add(
			strings.TrimSpace(fmt.Sprintf("%s on %s %s", p.Labels["component"], p.Spec.NodeName, circumstances)),
			fmt.Sprintf("%d MB", after[i].memory>>20), fmt.Sprintf("%.1f s", before[i].cpu.Seconds()), fmt.Sprintf("%.1f %%", 100*rest))
	}
	return nil
}

// consumption is what a process has taken: CPU since its start, and memory now.
type consumption struct {
	cpu    time.Duration
	memory int
}

func (b *bench) consumed(ctx context.Context, pods []corev1.Pod) (all []consumption, err error) {
	for _, p := range pods {
		stat, err := herald.ProcessFile(ctx, b.cluster, &p, "stat")
		if err != nil {
			return nil, err
		}
		c, err := parseStat(stat)
		if err != nil {
			return nil, fmt.Errorf("parse the process status of pod %s: %w", p.Name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// The units of /proc/PID/stat on Linux with pages of the usual size: proc(5), sysconf(3).
const (
	tick = 10 * time.Millisecond
	page = 4096
)

// parseStat reads utime, stime and rss: fields 14, 15 and 24 of proc(5).
func parseStat(stat string) (consumption, error) {
	var numbers []int
	for _, i := range []int{14, 15, 24} {
		n, err := numberIn(stat, i)
		if err != nil {
			return consumption{}, err
		}
		numbers = append(numbers, n)
	}
	return consumption{cpu: time.Duration(numbers[0]+numbers[1]) * tick, memory: numbers[2] * page}, nil
}

// numberIn reads a field of /proc/PID/stat behind the second, the program's name, which stands in parentheses and may hold
// anything.
func numberIn(stat string, field int) (int, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < field-2 {
		return 0, fmt.Errorf("%q has too few fields", stat)
	}
	return strconv.Atoi(fields[field-3])
}
