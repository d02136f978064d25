//go:build e2e

package allocation

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// root is the repository's.
const root = "../.."

var labName = flag.String("lab", "allocation", "the lab's name")

// The tests share a world and, unless they start one themselves, a controller. Each has Services and pools of its own,
// and ranges that no other uses.
var (
	world    *World
	running  *Controller
	observed *observer
	journal  = &log{}
	// credentials are the kubeconfig of the service account controller.
	credentials string
)

func TestMain(m *testing.M) {
	herald.Main(func(ctx context.Context) (code int, err error) {
		defer func() { err = errors.Join(err, end(ctx)) }()
		if err := open(ctx, lab.Options{Name: *labName, Steps: os.Stdout}); err != nil {
			return 0, err
		}
		return m.Run(), nil
	})
}

// open makes the world that the tests play in, with an observer and a controller.
func open(ctx context.Context, o lab.Options) error {
	var err error
	world, running, observed = nil, nil, nil
	if world, err = NewWorld(ctx, o, root); err != nil {
		return err
	}
	credentials = filepath.Join(os.TempDir(), o.Name+".kubeconfig")
	if err := world.Kubeconfig(ctx, credentials); err != nil {
		return err
	}
	if observed, err = observe(ctx, world.Client); err != nil {
		return err
	}
	if err := world.Lab.Apply(ctx, canaryPool); err != nil {
		return err
	}
	running, err = start(ctx, credentials)
	return err
}

// end undoes as much of open as was done.
func end(ctx context.Context) error {
	if running != nil {
		running.Stop()
	}
	if observed != nil {
		observed.stop()
	}
	if world == nil {
		return nil
	}
	return errors.Join(world.Down(context.WithoutCancel(ctx)), os.Remove(credentials))
}

// elsewhere lets a test play in a world of its own, beside the one of the others.
func elsewhere(t *testing.T, o lab.Options) {
	t.Helper()
	w, c, seen, file := world, running, observed, credentials
	t.Cleanup(func() {
		if err := end(t.Context()); err != nil {
			t.Error(err)
		}
		world, running, observed, credentials = w, c, seen, file
	})
	if err := open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// start runs the controller and waits until it is ready.
func start(ctx context.Context, kubeconfig string, args ...string) (*Controller, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := world.Run(context.WithoutCancel(ctx), Start{Binary: Binary(root), Kubeconfig: kubeconfig, Args: args, Log: journal})
	if err != nil {
		return nil, err
	}
	return c, c.AwaitReady(ctx)
}

// second runs another controller beside the one that runs, for the time of a test.
func second(ctx context.Context, t *testing.T) *Controller {
	t.Helper()
	return beside(ctx, t, Start{Kubeconfig: credentials})
}

// beside runs one as it is said to, on another host.
func beside(ctx context.Context, t *testing.T, s Start) *Controller {
	t.Helper()
	s.Binary, s.Log, s.Host = Binary(root), journal, lab.Client
	c, err := world.Run(context.WithoutCancel(ctx), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	if err := c.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// restart replaces the controller that runs, once what was done to it meanwhile is over.
func restart(ctx context.Context, t *testing.T, end func(*Controller), meanwhile func()) {
	t.Helper()
	replace(ctx, t, end, meanwhile, credentials)
}

// instead runs another controller for the time of a test.
func instead(ctx context.Context, t *testing.T, kubeconfig string, args ...string) {
	t.Helper()
	replace(ctx, t, (*Controller).Stop, func() {}, kubeconfig, args...)
	t.Cleanup(func() { replace(context.WithoutCancel(ctx), t, (*Controller).Stop, func() {}, credentials) })
}

func replace(ctx context.Context, t *testing.T, end func(*Controller), meanwhile func(), kubeconfig string, args ...string) {
	t.Helper()
	end(running)
	meanwhile()
	c, err := start(ctx, kubeconfig, args...)
	if err != nil {
		t.Fatal(err)
	}
	running = c
}

// begin gives a test its time, which is generous: it ends tests that hang, and judges nothing. If the test fails, what
// the controller has said since is printed.
func begin(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	from := journal.length()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("the controller's log since:\n%s", last(journal.since(from), 60))
		}
	})
	return ctx
}

func last(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// log keeps what the controllers write.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *log) length() int { return len(l.since(0)) }

func (l *log) since(from int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()[from:]
}
