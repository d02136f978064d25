package lab

import (
	"context"
	"fmt"
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

// Running says whether a program that Run started has not ended.
func (l *Lab) Running(host Host, name string) bool { return l.alive(host, name) }

// PID is that of a program that Run started, as this machine counts; 0 if it has ended.
func (l *Lab) PID(host Host, name string) int {
	st, err := l.store().load()
	if process := st.Processes[programKey(host, name)]; err == nil && process.Alive() {
		return process.PID
	}
	return 0
}

// End sends a signal to a program that Run started, and returns when it has ended. It is no error if it had before.
func (l *Lab) End(host Host, name string, signal syscall.Signal) error {
	st, err := l.store().load()
	if err != nil {
		return err
	}
	process, ok := st.Processes[programKey(host, name)]
	if !ok {
		return nil
	}
	if err := process.Signal(signal); err != nil {
		return err
	}
	if err := process.wait(10 * time.Second); err != nil {
		return fmt.Errorf("end %s on %s: %w", name, host, err)
	}
	return nil
}

func programKey(host Host, name string) string { return string(host) + "/" + name }
