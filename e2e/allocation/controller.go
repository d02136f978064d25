package allocation

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// Binary is the controller that make build makes, in the repository with this root.
func Binary(root string) string { return filepath.Join(root, "build", "bin", "controller") }

// Start says how to run the controller.
type Start struct {
	Binary     string
	Kubeconfig string
	Args       []string  // beside those of the manifest
	Log        io.Writer // nil: nobody reads it
	// Host is where to run it; the default is the control plane's. Each has room for one.
	Host lab.Host
}

// Controller is one that runs, as a process on a host.
type Controller struct {
	world   *World
	host    lab.Host
	command *exec.Cmd
	http    *http.Client
	ended   chan struct{}
}

// healthAddress is where it answers probes.
const healthAddress = "127.0.0.1:17472"

// Run starts the controller. It ends with ctx or with the lab, if nobody ends it before.
func (w *World) Run(ctx context.Context, s Start) (*Controller, error) {
	binary, err := filepath.Abs(s.Binary)
	if err != nil {
		return nil, err
	}
	host := cmp.Or(s.Host, lab.Control)
	// It stands for the Lease under the name of its machine, as it does in a pod.
	args := append([]string{
		"unshare", "--uts", "sh", "-c", `hostname "$0" && exec "$@"`, string(host),
		"env", "KUBECONFIG=" + s.Kubeconfig, "METALLB_NAMESPACE=" + herald.Namespace,
		"METALLB_ML_SECRET_NAME=memberlist", "METALLB_DEPLOYMENT=controller", binary, "--port=9120",
	}, s.Args...)
	command, err := w.Lab.Command(ctx, host, args...)
	if err != nil {
		return nil, err
	}
	command.Stdout, command.Stderr = s.Log, s.Log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start the controller: %w", err)
	}
	c := &Controller{world: w, host: host, command: command, ended: make(chan struct{})}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		return w.Lab.Dial(ctx, host, network, address)
	}
	c.http = &http.Client{Transport: &http.Transport{DialContext: dial}}
	go func() { _ = command.Wait(); close(c.ended) }() // how it ended is in its log
	return c, nil
}

// AwaitReady waits until /readyz says yes.
func (c *Controller) AwaitReady(ctx context.Context) error {
	for {
		if c.ready(ctx) {
			return nil
		}
		if err := c.rest(ctx); err != nil {
			return fmt.Errorf("wait for the controller to be ready: %w", err)
		}
	}
}

// rest waits before the next try, unless there is to be none.
func (c *Controller) rest(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return fmt.Errorf("it ended with %s", c.command.ProcessState)
	case <-time.After(5 * time.Millisecond):
		return nil
	}
}

func (c *Controller) ready(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+healthAddress+"/readyz", nil)
	if err != nil {
		return false
	}
	response, err := c.http.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Stop ends it in good order.
func (c *Controller) Stop() { c.end(syscall.SIGTERM) }

// Kill ends it as the out-of-memory killer does.
func (c *Controller) Kill() { c.end(syscall.SIGKILL) }

// Freeze stops it between two of its steps, as a machine does that is suspended.
func (c *Controller) Freeze() error { return c.command.Process.Signal(syscall.SIGSTOP) }

// Thaw lets it go on where it was.
func (c *Controller) Thaw() error { return c.command.Process.Signal(syscall.SIGCONT) }

func (c *Controller) end(signal syscall.Signal) {
	_ = c.command.Process.Signal(signal) // it may have ended by itself
	<-c.ended
}

// Memory is its resident set, in bytes.
func (c *Controller) Memory() (int64, error) {
	file := c.proc("status")
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("find VmRSS in %s", file)
}

// CPU is the processor time that it has spent.
func (c *Controller) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(c.proc("stat"))
	if err != nil {
		return 0, err
	}
	// Fields 14 and 15 of proc(5), counted from behind the program's name; a tick is 10 ms on every Linux platform.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("read the processor time in %q", stat)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}

func (c *Controller) proc(file string) string {
	return fmt.Sprintf("/proc/%d/%s", c.command.Process.Pid, file)
}
