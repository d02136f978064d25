package neighbour

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Host prepares a command that runs on a host, such as lab.Lab's Command for one of its hosts.
type Host func(ctx context.Context, args ...string) (*exec.Cmd, error)

// job is what a program is to do when it has been started once more on a host.
type job struct {
	Ask   *Questions `json:",omitempty"`
	Call  *RollCall  `json:",omitempty"`
	Flood *Noise     `json:",omitempty"`
}

// variable of the environment has the job.
const variable = "HERALD_NEIGHBOUR"

// Visit does the job for which this program was started once more, and ends it; or returns at once, if it was not. Who
// uses AskFrom and its like calls it first of all.
func Visit() {
	text := os.Getenv(variable)
	if text == "" {
		return
	}
	if err := do(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func do(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	var result any
	var err error
	switch {
	case j.Ask != nil:
		result, err = Ask(*j.Ask)
	case j.Call != nil:
		result, err = Call(ctx, *j.Call)
	default:
		result, err = Flood(ctx, *j.Flood)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

// AskFrom is Ask on a host.
func AskFrom(ctx context.Context, host Host, q Questions) (answers []Answers, err error) {
	return answers, visit(ctx, host, job{Ask: &q}, &answers)
}

// CallFrom is Call on a host.
func CallFrom(ctx context.Context, host Host, r RollCall) (sightings []Sighting, err error) {
	return sightings, visit(ctx, host, job{Call: &r}, &sightings)
}

// FloodFrom is Flood on a host.
func FloodFrom(ctx context.Context, host Host, n Noise) (sent int, err error) {
	return sent, visit(ctx, host, job{Flood: &n}, &sent)
}

// visit starts this program once more on a host. When the context ends it is asked to end, and still tells what it found.
func visit(ctx context.Context, host Host, j job, result any) error {
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command, err := host(ctx, "env", variable+"="+string(text), self)
	if err != nil {
		return err
	}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	var complaint bytes.Buffer
	command.Stderr = &complaint
	output, err := command.Output()
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("ask the neighbours: %w: %s", err, complaint.String())
	}
	if err := json.Unmarshal(output, result); err != nil {
		return fmt.Errorf("ask the neighbours: %w: %s", err, complaint.String())
	}
	return nil
}
