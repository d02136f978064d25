package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-kit/log"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/internal/members"
)

// ringMembers is how many take part in gossip in all. Most are simulated: the machine's cores have no place for so many
// nodes with all that runs on each.
const ringMembers = 50

// ring measures outages in a large gossip ring.
func (b *bench) ring(ctx context.Context) error {
	command, err := b.simulate(ctx)
	if err != nil {
		return err
	}
	complete, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	if _, err = fmt.Fscanln(complete, new(string)); err == nil {
		err = b.cuts(ctx, fmt.Sprintf("ring of %d: ", ringMembers))
	}
	return errors.Join(err, command.Process.Signal(syscall.SIGTERM), command.Wait())
}

// simulate prepares simulated members on the client's host. They print a line when each of them sees all.
func (b *bench) simulate(ctx context.Context) (*exec.Cmd, error) {
	c, err := b.company(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range c.Members {
		if _, err := b.cluster.In(ctx, lab.Client, "ip", "address", "replace", a.String()+"/24", "dev", "eth0"); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command, err := b.cluster.Command(ctx, lab.Client, "env", simulated+"=yes", self)
	if err != nil {
		return nil, err
	}
	command.Stdin, command.Stderr = bytes.NewReader(text), os.Stderr
	return command, nil
}

// company are simulated members, and what they need to take part.
type company struct {
	Members  []netip.Addr
	Speakers []string
	Key      []byte
}

func (b *bench) company(ctx context.Context) (c company, err error) {
	secret, err := b.cluster.Client().CoreV1().Secrets(herald.Namespace).Get(ctx, "memberlist", metav1.GetOptions{})
	if err != nil {
		return c, fmt.Errorf("read the key of gossip: %w", err)
	}
	c.Key = secret.Data["secretkey"]
	for _, node := range b.cluster.NodeNames() {
		c.Speakers = append(c.Speakers, lab.AddressesOf(node).V4.String())
	}
	for a := netip.MustParseAddr("192.168.10.100"); len(c.Speakers)+len(c.Members) < ringMembers; a = a.Next() {
		c.Members = append(c.Members, a)
	}
	return c, nil
}

// simulated is a variable of the environment: this program is to be the members that it is told of.
const simulated = "HERALD_BENCH_SIMULATED"

// takePart does what simulated asks for, and ends the program; or returns at once.
func takePart() {
	if os.Getenv(simulated) == "" {
		return
	}
	var c company
	err := json.NewDecoder(os.Stdin).Decode(&c)
	if err == nil {
		err = c.takePart()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "take part in gossip:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (c company) takePart() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	speakers := func(context.Context) ([]string, error) { return c.Speakers, nil }
	var all []*members.Members
	var running sync.WaitGroup
	for i, a := range c.Members {
		m, err := members.New(log.NewNopLogger(), members.Config{NodeName: fmt.Sprintf("simulated-%d", i), BindAddr: a.String(), SecretKey: c.Key}, speakers)
		if err != nil {
			return err
		}
		all = append(all, m)
		running.Go(func() {
			if err := m.Start(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
				stop()
			}
		})
	}
	for _, m := range all {
		for len(m.Alive()) < ringMembers && ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
	fmt.Println("complete")
	running.Wait()
	return nil
}
