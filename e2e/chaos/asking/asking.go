package asking

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"
)

const (
	// Round is how often each address is asked for, and how exactly the moments are known of which is told.
	Round = 50 * time.Millisecond
	// Seldom is how many rounds there are for each in which addresses are asked for that nobody should have.
	Seldom = 10
)

// Targets are what is asked for, and in every how manieth round.
type Targets map[netip.Addr]int

// Told is what is told of a round.
type Told struct {
	At time.Time // its beginning
	// Answers say who answered, by link-layer address, where that is news.
	Answers map[netip.Addr][]string
}

// From is where questions come from.
type From struct {
	Link   string
	V4, V6 netip.Addr
}

// Host prepares a command that runs on a host, such as lab.Lab's Command for one of its hosts.
type Host func(ctx context.Context, args ...string) (*exec.Cmd, error)

// Asking is a process that asks.
type Asking struct {
	command *exec.Cmd
	mu      sync.Mutex // guards writing to targets
	targets io.WriteCloser
	told    *json.Decoder
	said    bytes.Buffer
}

// Start begins to ask on a host, for nothing at first. It ends with the context.
func Start(ctx context.Context, host Host, from From) (*Asking, error) {
	text, err := json.Marshal(from)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a := &Asking{}
	if a.command, err = host(ctx, "env", variable+"="+string(text), self); err != nil {
		return nil, err
	}
	if a.targets, err = a.command.StdinPipe(); err != nil {
		return nil, err
	}
	told, err := a.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	a.told, a.command.Stderr = json.NewDecoder(told), &a.said
	if err := a.command.Start(); err != nil {
		return nil, fmt.Errorf("start to ask the LAN: %w", err)
	}
	return a, nil
}

// Ask asks for these from now on.
func (a *Asking) Ask(t Targets) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return json.NewEncoder(a.targets).Encode(t)
}

// Next waits for the end of a round. When there are no more, the error says why.
func (a *Asking) Next() (t Told, err error) {
	if err = a.told.Decode(&t); err != nil {
		return t, fmt.Errorf("ask the LAN: %w: %s", errors.Join(err, a.command.Wait()), a.said.String())
	}
	return t, nil
}

// variable of the environment says that this program was started once more, to ask. Its value is a From.
const variable = "HERALD_ASKING"

// Visit does the asking, if this program was started once more for it, and ends it; or returns at once. Who uses Start
// calls it first of all.
func Visit() {
	text := os.Getenv(variable)
	if text == "" {
		return
	}
	if err := ask(text); err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// ask asks for what comes in on the standard input, until that ends.
func ask(text string) error {
	var from From
	if err := json.Unmarshal([]byte(text), &from); err != nil {
		return fmt.Errorf("read %s: %w", variable, err)
	}
	link, err := net.InterfaceByName(from.Link)
	if err != nil {
		return fmt.Errorf("find link %s: %w", from.Link, err)
	}
	a, err := newAsker(link, from)
	if err != nil {
		return err
	}
	incoming, ended := make(chan Targets), make(chan error, 1)
	go func() { ended <- readTargets(os.Stdin, incoming) }()
	out := json.NewEncoder(os.Stdout)
	var wanted Targets
	for n := 0; ; n++ {
		select {
		case wanted = <-incoming:
		case err := <-ended:
			return err
		default:
		}
		t, err := a.round(n, wanted)
		if err != nil {
			return err
		}
		if err := out.Encode(t); err != nil {
			return err
		}
	}
}

func readTargets(in io.Reader, to chan<- Targets) error {
	for lines := json.NewDecoder(in); ; {
		var t Targets
		if err := lines.Decode(&t); err != nil {
			return err
		}
		to <- t
	}
}
