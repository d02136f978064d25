// Lab runs a real Kubernetes cluster on this machine, in network namespaces, for trying and testing Herald.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if failed := new(commandFailed); errors.As(err, &failed) {
		os.Exit(failed.code) // it has said itself what was wrong
	}
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

// run carries out one command line.
func run(ctx context.Context, args []string, out io.Writer) error {
	global := flag.NewFlagSet("lab", flag.ContinueOnError)
	name := global.String("name", defaultName(), "")
	global.SetOutput(io.Discard)
	if err := global.Parse(args); err != nil || global.NArg() == 0 {
		usage(os.Stderr)
		return errors.Join(flag.ErrHelp)
	}
	verb, rest := global.Arg(0), global.Args()[1:]
	for _, c := range commands {
		if c.verb == verb {
			return c.run(ctx, invocation{lab: *name, args: rest, out: out, command: c})
		}
	}
	if verb == "help" {
		usage(out)
		return nil
	}
	usage(os.Stderr)
	return fmt.Errorf("no such command: %s", verb)
}
