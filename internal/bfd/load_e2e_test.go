//go:build e2e

package bfd

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// These benchmarks hold sessions over a real kernel, with a process of its own at either end; one
// operation is one second, so that -benchtime 60x is a minute.

func BenchmarkFiveHundredSessions(b *testing.B) {
	w := newWorld(b, 2)
	left, right := w.crowd(500, profileOf(300*ms, 3), w.process)
	for _, h := range []*host{left, right} {
		eventually(b, "all are up", func() bool { return h.up() == 500 })
	}
	hold(b, w, left, right)
}

// Other processes want more than all of the CPU, and so does this one, in which the answers of
// those with the sessions are taken in.
func BenchmarkFastSessionsOnABusyNode(b *testing.B) {
	w := newWorld(b, 2)
	left, right := w.crowd(20, profileOf(50*ms, 3), w.process)
	for _, h := range []*host{left, right} {
		eventually(b, "all are up", func() bool { return h.up() == 20 })
	}
	time.Sleep(2 * time.Second) // until the fast intervals are negotiated
	occupy(b)
	done := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() { churn(done) })
	hold(b, w, left, right)
	close(done)
	busy.Wait()
}

// occupy starts processes that want twice the CPU that there is.
func occupy(b *testing.B) {
	b.Helper()
	for range 2 * runtime.NumCPU() {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

// churn fills and drops a megabyte, over and over.
func churn(done <-chan struct{}) {
	var kept [100][]byte
	for {
		select {
		case <-done:
			return
		default:
		}
		for i := range kept {
			kept[i] = make([]byte, 10_000)
		}
	}
}

// hold lets the time pass, and reports what became of the sessions, and what each process took.
func hold(b *testing.B, w *world, hosts ...*host) {
	b.Helper()
	for _, h := range hosts {
		h.flaps()
	}
	before, _ := w.usage(b)
	for b.Loop() {
		time.Sleep(time.Second)
	}
	cpu, memory := w.usage(b)
	downs := 0
	for _, h := range hosts {
		for _, f := range h.flaps() {
			if f.state.Status != lb.BFDUp {
				downs++
				b.Logf("%s: down %q", f.key.Peer, f.state.Diagnostic)
			}
		}
	}
	b.ReportMetric(float64(downs), "downs")
	b.ReportMetric(100*(cpu-before).Seconds()/b.Elapsed().Seconds(), "%CPU")
	b.ReportMetric(float64(memory)/(1<<20), "MB")
}

// usage is what the first host's process has used of the CPU, and holds of the memory: see
// proc_pid_stat(5), whose clock ticks a hundred times a second.
func (w *world) usage(b *testing.B) (cpu time.Duration, memory int) {
	b.Helper()
	pid := strings.Fields(w.run("ip netns pids " + w.hosts[0]))[0]
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after) // the third on
	number := func(n int) int {
		v, err := strconv.Atoi(fields[n-3])
		if err != nil {
			b.Fatalf("field %d of %q: %v", n, stat, err)
		}
		return v
	}
	return time.Duration(number(14)+number(15)) * 10 * time.Millisecond, number(24) * os.Getpagesize()
}
