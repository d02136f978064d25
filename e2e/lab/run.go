package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// HostDir is the host's directory for the files of programs that run on it. It goes with the lab.
func (l *Lab) HostDir(host Host) string { return filepath.Join(l.dir(), "hosts", string(host)) }

// hostBin has commands of the host's own, which go before all others of their names.
func (l *Lab) hostBin(host Host) string { return filepath.Join(l.HostDir(host), "bin") }

// Run starts a program on a host, under a name, in the background: it lives until it is ended, or the lab is. What it
// prints is in the file that LogOf names.
func (l *Lab) Run(ctx context.Context, host Host, name string, args ...string) error {
	command, err := l.Command(context.WithoutCancel(ctx), host, args...)
	if err != nil {
		return err
	}
	process, err := start(command, l.LogOf(host, name))
	if err != nil {
		return err
	}
	return l.remember(programKey(host, name), process)
}

// LogOf is the file with the output of a program that Run started.
func (l *Lab) LogOf(host Host, name string) string { return l.log(string(host) + "-" + name) }

// AddCommand makes a command of a host's own: those who run it there run the given command line, and what they add to it.
func (l *Lab) AddCommand(host Host, name string, line ...string) error {
	if err := os.MkdirAll(l.hostBin(host), 0o755); err != nil {
		return err
	}
	program, err := exec.LookPath(line[0])
	if err != nil {
		return err
	}
	script := "#!/bin/sh\nexec " + program
	for _, word := range line[1:] {
		script += fmt.Sprintf(" '%s'", word)
	}
	return os.WriteFile(filepath.Join(l.hostBin(host), name), []byte(script+" \"$@\"\n"), 0o755)
}

// End sends a signal to a program that Run started, and returns when it has ended. It is no error if it had before.
func (l *Lab) End(host Host, name string, signal syscall.Signal) error {
	process, err := l.program(host, name)
	if err != nil {
		return err
	}
	if err := process.Signal(signal); err != nil {
		return err
	}
	if err := process.wait(10 * time.Second); err != nil {
		return fmt.Errorf("end %s on %s: %w", name, host, err)
	}
	return nil
}

// Join lays a cable between two hosts beside the LAN: a link of the same name on each, without addresses but link-local ones.
func (l *Lab) Join(ctx context.Context, a, b Host, link string) error {
	there := namespace(l.Name, b)
	err := ip(ctx, namespace(l.Name, a), []string{
		fmt.Sprintf("link add %s type veth peer name %s netns %s", link, link, there),
		fmt.Sprintf("link set %s up", link),
	})
	return errors.Join(err, ip(ctx, there, []string{fmt.Sprintf("link set %s up", link)}))
}

// program is one that Run started; a zero one, which is not alive, if it never did.
func (l *Lab) program(host Host, name string) (Process, error) {
	st, err := l.store().load()
	return st.Processes[programKey(host, name)], err
}

func programKey(host Host, name string) string { return string(host) + "/" + name }
