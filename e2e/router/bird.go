package router

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// BIRD is an instance of the BIRD Internet Routing Daemon. On its host the command birdc talks to it.
type BIRD struct {
	lab  *lab.Lab
	host lab.Host
}

// NewBIRD starts nothing. An instance that runs already is the one that is meant.
func NewBIRD(l *lab.Lab, host lab.Host) *BIRD { return &BIRD{l, host} }

const bird = "bird"

// Host is where it runs.
func (b *BIRD) Host() lab.Host { return b.host }

func (b *BIRD) dir(name string) string { return filepath.Join(b.lab.HostDir(b.host), "bird", name) }

// Start returns when it runs as configured.
func (b *BIRD) Start(ctx context.Context, c Config) error {
	if err := b.write(c); err != nil {
		return err
	}
	if err := b.lab.AddCommand(b.host, "birdc", "birdc", "-s", b.dir("bird.ctl")); err != nil {
		return err
	}
	if err := os.Remove(b.dir("bird.ctl")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := b.lab.Run(ctx, b.host, bird, "bird", "-f", "-c", b.dir("bird.conf"), "-s", b.dir("bird.ctl"), "-P", b.dir("bird.pid")); err != nil {
		return err
	}
	return herald.Await(ctx, "bird on "+string(b.host), func(ctx context.Context) error {
		_, err := b.birdc(ctx, "show status")
		return err
	})
}

// Configure puts a configuration in the place of the one before. Sessions that it does not change stay.
func (b *BIRD) Configure(ctx context.Context, c Config) error {
	if err := b.write(c); err != nil {
		return err
	}
	said, err := b.birdc(ctx, "configure")
	if err != nil || !strings.Contains(said, "Reconfigur") { // Reconfigured, or Reconfiguration in progress
		return fmt.Errorf("configure BIRD: %w", errors.Join(err, errors.New(strings.TrimSpace(said))))
	}
	return nil
}

func (b *BIRD) write(c Config) error {
	text, err := renderBIRD(b.host, c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir(""), 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.dir("bird.conf"), []byte(text), 0o644)
}

// Command runs a command of birdc.
func (b *BIRD) Command(ctx context.Context, command string) error {
	said, err := b.birdc(ctx, command)
	if err != nil {
		return fmt.Errorf("tell BIRD %q: %w: %s", command, err, strings.TrimSpace(said))
	}
	return nil
}

func (b *BIRD) birdc(ctx context.Context, command string) (string, error) {
	return b.lab.In(ctx, b.host, append([]string{"birdc"}, strings.Fields(command)...)...)
}

// Stop ends it in good order: its neighbours are told.
func (b *BIRD) Stop(context.Context) error { return b.lab.End(b.host, bird, syscall.SIGTERM) }

// Kill ends it as a crash would.
func (b *BIRD) Kill() error { return b.lab.End(b.host, bird, syscall.SIGKILL) }
