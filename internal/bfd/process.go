package bfd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/herald-lb/herald/internal/lb"
)

// Process is a Speaker that runs in a process of its own, with the same methods and contracts.
//
// Within one process, a thread of high priority still waits for the others: for a processor of
// Go's scheduler that one of them holds while the kernel lets it wait, and for the garbage
// collector. On a node with more work than CPUs that takes longer than fast sessions permit. In a
// process that does nothing else, there is nobody to wait for.
type Process struct {
	logger   log.Logger
	command  []string
	onChange func(lb.BFDKey, lb.BFDState)
	changed  chan struct{}
	wake     chan struct{}
	wanted   atomic.Pointer[[]lb.BFDSession]

	mu     sync.Mutex // guards states and stats
	states map[lb.BFDKey]lb.BFDState
	stats  Stats
}

// NewProcess returns a Process that does nothing until Start is called. The command is to call
// Serve. OnChange may be nil; it may block, but the next call waits for it.
func NewProcess(logger log.Logger, command []string, onChange func(lb.BFDKey, lb.BFDState)) *Process {
	return &Process{
		logger:   logger,
		command:  command,
		onChange: onChange,
		changed:  make(chan struct{}, 1),
		wake:     make(chan struct{}, 1),
	}
}

// Set is as [Speaker.Set].
func (p *Process) Set(sessions []lb.BFDSession) {
	p.wanted.Store(&sessions)
	signal(p.wake)
}

// Changed is as [Speaker.Changed].
func (p *Process) Changed() <-chan struct{} { return p.changed }

// States is as [Speaker.States].
func (p *Process) States() map[lb.BFDKey]lb.BFDState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.states)
}

// Stats is as [Speaker.Stats], but counters may be as old as ten seconds.
func (p *Process) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Sessions: maps.Clone(p.stats.Sessions), Drops: p.stats.Drops}
}

// Start keeps the process running until ctx ends, from when the first session is wanted on.
func (p *Process) Start(ctx context.Context) error {
	for {
		for p.idle() {
			select {
			case <-ctx.Done():
				return nil
			case <-p.wake:
			}
		}
		err := p.run(ctx)
		if ctx.Err() != nil {
			return nil
		}
		level.Error(p.logger).Log("msg", "BFD process ended", "error", err, "again", retryAfter)
		p.lose(err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryAfter):
		}
	}
}

func (p *Process) idle() bool {
	wanted := p.wanted.Load()
	return wanted == nil || len(*wanted) == 0
}

// run starts the process and talks with it until it ends. It is told to end by the end of its
// input, and killed when it does not.
func (p *Process) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.command[0], p.command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what a terminal signals is meant for us
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start BFD process: %w", err)
	}
	cmd.Cancel, cmd.WaitDelay = in.Close, 2*parting
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start BFD process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start BFD process: %w", err)
	}
	var feeder sync.WaitGroup
	feeder.Go(func() { p.feed(ctx, in) })
	err = p.listen(out)
	cancel()
	feeder.Wait()
	return errors.Join(err, cmd.Wait())
}

// feed hands over what is wanted, whenever it changes.
func (p *Process) feed(ctx context.Context, in io.Writer) {
	for encoder := json.NewEncoder(in); encoder.Encode(p.wanted.Load()) == nil; {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
	}
}

// listen takes in what the process reports, until it says no more.
func (p *Process) listen(out io.Reader) error {
	decoder := json.NewDecoder(out)
	for {
		var r report
		if err := decoder.Decode(&r); err != nil {
			return fmt.Errorf("read from BFD process: %w", err)
		}
		p.take(r)
	}
}

func (p *Process) take(r report) {
	p.mu.Lock()
	if r.Change == nil {
		p.states = make(map[lb.BFDKey]lb.BFDState, len(r.Sessions))
		p.stats = Stats{Sessions: make(map[lb.BFDKey]SessionStats, len(r.Sessions)), Drops: r.Drops}
		for _, s := range r.Sessions {
			p.states[s.Key], p.stats.Sessions[s.Key] = s.State, s.Stats
		}
	} else if p.states != nil {
		p.states[r.Change.Key] = r.Change.State
	}
	p.mu.Unlock()
	if r.Change != nil && p.onChange != nil {
		p.onChange(r.Change.Key, r.Change.State)
	}
	signal(p.changed)
}

// lose shows that sessions are not held for now. That says nothing of their paths, so that
// nobody is told of a change.
func (p *Process) lose(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, state := range p.states {
		state.Status, state.Since, state.Problem = lb.BFDDown, time.Now(), err.Error()
		p.states[key] = state
	}
	signal(p.changed)
}

// report is what the process says: one change at once, or all there is to know.
type report struct {
	Change   *sessionReport  `json:",omitempty"`
	Sessions []sessionReport `json:",omitempty"`
	Drops    []DropStats     `json:",omitempty"`
}

type sessionReport struct {
	Key   lb.BFDKey
	State lb.BFDState
	Stats SessionStats
}

// Serve is the whole of the process that a Process starts: it reads wanted sessions, and writes
// reports, until its input ends.
func Serve(logger log.Logger, in io.Reader, out io.Writer) error {
	// Garbage is little, and its collection would hold up what this process is for.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(64 << 20)
	return serve(New(logger, Config{}), in, out)
}

// serve connects a speaker with the two ends of a Process.
func serve(s *Speaker, in io.Reader, out io.Writer) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	changes := make(chan sessionReport, backlog)
	s.onChange = func(key lb.BFDKey, state lb.BFDState) {
		select {
		case changes <- sessionReport{Key: key, State: state}:
		default: // nobody has read for a long time; when somebody does, all is reported
		}
	}
	go func() {
		defer stop()
		obey(s, in)
	}()
	var writer sync.WaitGroup
	writer.Go(func() { s.tell(ctx, changes, out) })
	defer writer.Wait()
	return s.Start(ctx)
}

// obey hands the wanted sessions over until there are no more.
func obey(s *Speaker, in io.Reader) {
	for decoder := json.NewDecoder(in); ; {
		var wanted []lb.BFDSession
		if decoder.Decode(&wanted) != nil {
			return
		}
		s.Set(wanted)
	}
}

const (
	// pause is between two reports of everything, so that a burst of changes is one.
	pause = 50 * time.Millisecond
	// recount is how often counters are reported when nothing else is.
	recount = 10 * time.Second
)

// tell writes reports until ctx ends, or nobody reads them any more.
func (s *Speaker) tell(ctx context.Context, changes <-chan sessionReport, out io.Writer) {
	ticker := time.NewTicker(recount)
	defer ticker.Stop()
	encoder := json.NewEncoder(out)
	var dirty <-chan time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case change := <-changes:
			err = encoder.Encode(report{Change: &change})
		case <-s.changed:
			if dirty == nil {
				dirty = time.After(pause)
			}
		case <-dirty:
			dirty = nil
			err = errors.Join(drain(changes, encoder), encoder.Encode(s.everything()))
		case <-ticker.C:
			err = encoder.Encode(s.everything())
		}
		if err != nil {
			return
		}
	}
}

// drain reports the changes that wait, so that none comes after a report of everything that is
// newer.
func drain(changes <-chan sessionReport, encoder *json.Encoder) error {
	for {
		select {
		case change := <-changes:
			if err := encoder.Encode(report{Change: &change}); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (s *Speaker) everything() report {
	states, stats := s.States(), s.Stats()
	out := report{Drops: stats.Drops}
	for key, state := range states {
		out.Sessions = append(out.Sessions, sessionReport{Key: key, State: state, Stats: stats.Sessions[key]})
	}
	return out
}
