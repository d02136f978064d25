package router

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// FRR is an instance of FRRouting: zebra, bgpd and bfdd. On its host the command vtysh talks to it.
type FRR struct {
	lab  *lab.Lab
	host lab.Host
}

// NewFRR starts nothing. An instance that runs already is the one that is meant.
func NewFRR(l *lab.Lab, host lab.Host) *FRR { return &FRR{l, host} }

// Its programs, in the order in which they are started.
const (
	zebra = "zebra"
	bfdd  = "bfdd"
	bgpd  = "bgpd"
)

var frrPrograms = []string{zebra, bfdd, bgpd}

// frrDir is where Debian has them.
const frrDir = "/usr/lib/frr"

// Host is where it runs.
func (f *FRR) Host() lab.Host { return f.host }

func (f *FRR) dir(name string) string { return filepath.Join(f.lab.HostDir(f.host), "frr", name) }

// Start returns when it runs as configured.
func (f *FRR) Start(ctx context.Context, c Config) error {
	if err := f.prepare(); err != nil {
		return fmt.Errorf("prepare FRR on %s: %w", f.host, err)
	}
	for _, program := range frrPrograms {
		if err := f.start(ctx, program, c); err != nil {
			return err
		}
	}
	return f.load(ctx, c)
}

// prepare makes the directory that FRR, which runs as a user of its own, keeps its sockets in, and vtysh.
func (f *FRR) prepare() error {
	if err := os.MkdirAll(f.dir(""), 0o755); err != nil {
		return err
	}
	if err := giveTo("frr", f.dir("")); err != nil {
		return err
	}
	if err := os.WriteFile(f.dir("vtysh.conf"), nil, 0o644); err != nil {
		return err
	}
	return f.lab.AddCommand(f.host, "vtysh", "vtysh", "--vty_socket", f.dir(""), "--config_dir", f.dir(""))
}

func giveTo(name, dir string) error {
	owner, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(owner.Gid)
	if err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}

func (f *FRR) start(ctx context.Context, program string, c Config) error {
	args := []string{
		filepath.Join(frrDir, program), "--log", "stdout", "--log-level", "informational",
		"--vty_socket", f.dir(""), "--vty_port", "0", "--pid_file", f.dir(program + ".pid"), "--config_file", f.dir("vtysh.conf"),
	}
	switch program {
	case zebra:
		args = append(args, "--socket", f.dir("zserv.api"))
	case bgpd:
		args = append(args, "--socket", f.dir("zserv.api"), "--bgp_port", fmt.Sprint(c.LocalPort()))
	case bfdd:
		args = append(args, "--bfdctl", f.dir("bfdd.sock"), "--socket", f.dir("zserv.api"))
	}
	if err := os.Remove(f.dir(program + ".vty")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.lab.Run(ctx, f.host, program, args...); err != nil {
		return err
	}
	return herald.Await(ctx, program+" on "+string(f.host), func(context.Context) error {
		_, err := os.Stat(f.dir(program + ".vty"))
		return err
	})
}

// Configure puts a configuration in the place of the one before. All sessions begin anew.
func (f *FRR) Configure(ctx context.Context, c Config) error {
	if err := f.Command(ctx, "configure terminal", "no router bgp", "no bfd"); err != nil {
		return err
	}
	return f.load(ctx, c)
}

func (f *FRR) load(ctx context.Context, c Config) error {
	text, err := renderFRR(f.host, c)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.dir("frr.conf"), []byte(text), 0o644); err != nil {
		return err
	}
	if said, err := f.lab.In(ctx, f.host, "vtysh", "-f", f.dir("frr.conf")); err != nil {
		return fmt.Errorf("configure FRR: %w: %s", err, strings.TrimSpace(said))
	}
	return f.settle(ctx)
}

// settleTime is longer than FRR holds a new neighbour back.
const settleTime = 3 * time.Second

// settle waits until FRR takes connections: it refuses them for about a second from each neighbour that is new to it. One
// that it cannot reach it never takes.
func (f *FRR) settle(ctx context.Context) error {
	for end := time.Now().Add(settleTime); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		sessions, err := f.Sessions(ctx)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(sessions, func(s Session) bool { return s.State == "Idle" }) {
			return nil
		}
	}
	return nil
}

// Command runs commands of vtysh, one after the other.
func (f *FRR) Command(ctx context.Context, commands ...string) error {
	said, err := f.vtysh(ctx, commands...)
	if err != nil {
		return fmt.Errorf("tell FRR %q: %w: %s", commands, err, strings.TrimSpace(said))
	}
	return nil
}

func (f *FRR) vtysh(ctx context.Context, commands ...string) (string, error) {
	args := []string{"vtysh"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return f.lab.In(ctx, f.host, args...)
}

// Stop ends it in good order: its neighbours are told.
func (f *FRR) Stop(context.Context) error {
	return errors.Join(f.end(bgpd, syscall.SIGTERM), f.end(bfdd, syscall.SIGTERM), f.end(zebra, syscall.SIGTERM))
}

// Kill ends it as a crash would.
func (f *FRR) Kill() error {
	return errors.Join(f.end(bgpd, syscall.SIGKILL), f.end(bfdd, syscall.SIGKILL), f.end(zebra, syscall.SIGKILL))
}

// KillBFD ends the program alone that watches paths, as a crash would.
func (f *FRR) KillBFD() error { return f.end(bfdd, syscall.SIGKILL) }

// StartBFD starts it again. It has no session before the next Configure.
func (f *FRR) StartBFD(ctx context.Context) error { return f.start(ctx, bfdd, Config{}) }

func (f *FRR) end(program string, signal syscall.Signal) error {
	return f.lab.End(f.host, program, signal)
}
