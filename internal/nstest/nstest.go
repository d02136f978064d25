// Package nstest runs the tests of a package in a network namespace of their own, which takes root.
package nstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

const inside = "HERALD_TEST_IN_NAMESPACE"

// Main is the body of a TestMain, and exits. What it is given runs in a process of its own, in a new network namespace: then
// all its threads are in it.
func Main(run func() (code int)) {
	if os.Getenv(inside) != "" {
		os.Exit(run())
	}
	again := exec.Command(os.Args[0], os.Args[1:]...)
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.Env = append(os.Environ(), inside+"=yes")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the death signal comes with the end of this thread
	var exit *exec.ExitError
	switch err := again.Run(); {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "run the tests in a network namespace:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
