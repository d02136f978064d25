package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
)

// starts measures from the start of a speaker's process until it is ready: by then it has decided about everything, and its
// sockets are open.
func (b *bench) starts(ctx context.Context) error {
	var took []time.Duration
	for run := range b.runs {
		if err := b.settle(ctx); err != nil {
			return err
		}
		if err := b.deleteSpeaker(ctx); err != nil {
			return err
		}
		if err := b.awaitReadyz(ctx); err != nil {
			return err
		}
		ready := time.Now()
		if err := b.settle(ctx); err != nil {
			return err
		}
		started, err := b.startOfSpeaker(ctx)
		if err != nil {
			return err
		}
		say("%2d: %s", run+1, milliseconds(ready.Sub(started)))
		took = append(took, ready.Sub(started))
	}
	b.span("speaker started: to ready", took)
	return nil
}

// awaitReadyz asks the speaker of the node at home every other millisecond whether it is ready, as its kubelet does every
// few seconds.
func (b *bench) awaitReadyz(ctx context.Context) error {
	client := http.Client{Transport: &http.Transport{DialContext: b.cluster.DialFrom(b.home), DisableKeepAlives: true}}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:17472/readyz", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the speaker on %s to be ready: %w", b.home, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// startOfSpeaker is when the process of the speaker at home began, give or take 10 ms: field 22 of its stat, proc(5).
func (b *bench) startOfSpeaker(ctx context.Context) (time.Time, error) {
	pod, err := herald.Speaker(ctx, b.cluster, b.home)
	if err != nil {
		return time.Time{}, err
	}
	stat, err := herald.ProcessFile(ctx, b.cluster, pod, "stat")
	if err != nil {
		return time.Time{}, err
	}
	ticks, err := numberIn(stat, 22)
	if err != nil {
		return time.Time{}, fmt.Errorf("parse the process status of pod %s: %w", pod.Name, err)
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}, err
	}
	seconds, _, _ := strings.Cut(string(uptime), " ")
	up, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("parse /proc/uptime: %w", err)
	}
	age := time.Duration(up*float64(time.Second)) - time.Duration(ticks)*tick
	return time.Now().Add(-age), nil
}
