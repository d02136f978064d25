package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inNamespace runs a function on a thread that visits a network namespace: sockets that the function opens itself belong
// there, whoever uses them later.
func inNamespace(ns string, visit func() error) error {
	there, err := os.Open(netnsFile(ns))
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer there.Close()
	done := make(chan error, 1)
	go func() { done <- visitThenDie(there, visit) }()
	return <-done
}

// visitThenDie leaves the thread locked where it cannot return home, so that the runtime ends it with the goroutine.
func visitThenDie(there *os.File, visit func() error) error {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", there.Name(), err)
	}
	err = visit()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// Dial connects from a host, as a program that runs there would. The address must be an IP address and port: looking a
// name up might open its sockets elsewhere.
func (l *Lab) Dial(ctx context.Context, host Host, network, address string) (conn net.Conn, err error) {
	err = inNamespace(namespace(l.Name, host), func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// DialFrom is Dial for one host, in the shape that clients and probes take.
func (l *Lab) DialFrom(host Host) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return l.Dial(ctx, host, network, address)
	}
}

// Listen listens on a host, as a program that runs there would.
func (l *Lab) Listen(ctx context.Context, host Host, network, address string) (listener net.Listener, err error) {
	err = inNamespace(namespace(l.Name, host), func() error {
		var c net.ListenConfig
		listener, err = c.Listen(ctx, network, address)
		return err
	})
	return listener, err
}
