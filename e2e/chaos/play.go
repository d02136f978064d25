package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/herald-lb/herald/e2e/chaos/asking"
	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// Options say what to play.
type Options struct {
	Lab      string
	Root     string // the repository's
	Seed     uint64
	Faults   int           // how many; there is one of each kind at least
	Duration time.Duration // no act begins after this long; 0: all do
	Away     time.Duration // how long the API server is away, where it is away for long
	Keep     bool          // leave the lab up
	Out      io.Writer
	History  io.Writer // of all that happens, line by line
}

// mostBroken ends a play: what is broken and stays so would be found again in each act.
const mostBroken = 10

// Visit does what this program was started once more for, if it was. Programs that use Run call it first of all.
func Visit() { asking.Visit() }

// Run makes a lab, plays, and takes the lab down. The error is of the play: broken promises are in the report, which there
// is of what was played until an error, too.
func Run(ctx context.Context, o Options) (r *Report, err error) {
	if !o.Keep {
		// What ctx ended must be taken down all the same.
		defer func() { err = errors.Join(err, lab.Down(context.WithoutCancel(ctx), o.Lab)) }()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s, err := setUp(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &play{stage: s, options: o, report: &Report{seed: o.Seed, kinds: kinds(o.Away)}}
	return p.report, p.run(ctx)
}

// play is a timetable that is carried out.
type play struct {
	*stage
	options Options
	report  *Report
	young   []vitals // of the processes, when some begin to be spared
}

func (p *play) run(ctx context.Context) error {
	table := newTimetable(p.report.kinds, p.options.Seed, p.options.Faults, p.lab.NodeNames())
	p.journal.say("seed %d, %d acts", p.options.Seed, len(table.acts))
	if complaints, err := p.settle(ctx); err != nil || len(complaints) > 0 {
		return fmt.Errorf("wait for the stage to be as it should: %w %q", err, complaints)
	}
	acting, stop := context.WithCancel(ctx)
	defer stop()
	p.startUsers(acting, p.options.Seed)
	began := time.Now()
	for i, a := range table.acts {
		if i == table.sparing {
			if err := p.beginSparing(ctx); err != nil {
				return err
			}
		}
		if p.options.Duration > 0 && time.Since(began) > p.options.Duration {
			p.journal.say("time is up")
			break
		}
		if err := p.act(ctx, a); err != nil {
			return err
		}
		if p.report.brokenPromises() >= mostBroken {
			p.journal.say("too much is broken to go on")
			break
		}
	}
	p.report.took = time.Since(began)
	return p.conclude(ctx, stop)
}

// act makes faults, waits until all is as it should be, and judges.
func (p *play) act(ctx context.Context, a act) error {
	p.journal.turn()
	p.journal.say("act %d: %s", a.number, a)
	began := time.Now()
	p.wire.forget(began)
	p.attendance.forget(began)
	happened, complaints := p.befall(ctx, a)
	mended := time.Now()

	p.acting.Lock()
	defer p.acting.Unlock()
	unsettled, err := p.settle(ctx)
	if err != nil {
		return err
	}
	complaints = append(complaints, unsettled...)
	broken, losses := p.history.take()
	unexplained, err := p.unexplained(ctx, losses)
	if err != nil {
		return err
	}
	complaints = append(append(complaints, broken...), unexplained...)
	f := figures{settled: time.Since(mended)}
	err = p.wire.read(func(t *timeline) { f.without, f.several = p.worst(t, began) })
	p.report.add(happened, f, complaints)
	p.tell(a, f, complaints)
	return err
}

// befall makes all faults of an act, and returns what has happened and what went wrong when all are mended. Faults that hit
// nothing have not happened.
func (p *play) befall(ctx context.Context, a act) (happened act, complaints []string) {
	ended := make(chan error)
	missed := make([]bool, len(a.faults))
	for i, f := range a.faults {
		go func() {
			pause(ctx, f.after)
			limited, cancel := context.WithTimeout(ctx, f.lasts+indulgence)
			defer cancel()
			p.journal.note("%s begins", f)
			err := f.befall(limited, p.stage, f)
			if p.journal.note("%s is over", f); err != nil {
				err = fmt.Errorf("%s: %w", f, err)
			}
			if missed[i] = errors.Is(err, errMissed); missed[i] {
				p.journal.say("       %v", err)
				err = nil
			}
			ended <- err
		}()
	}
	for range a.faults {
		if err := <-ended; err != nil {
			complaints = append(complaints, err.Error())
		}
	}
	happened.number = a.number
	for i, f := range a.faults {
		if missed[i] {
			p.report.missed = append(p.report.missed, f)
		} else {
			happened.faults = append(happened.faults, f)
		}
	}
	return happened, complaints
}

// worst is the longest that one of the addresses of Services that nobody changes was not answered for, while there were pods
// to serve it, and the longest that one was by several.
func (s *stage) worst(t *timeline, since time.Time) (without, several time.Duration) {
	for service, addresses := range s.history.steadyOnLAN() {
		away := s.attendance.away(service)
		for _, a := range addresses {
			without = max(without, t.longestWithout(a, since, away))
			several = max(several, t.timeWithSeveral(a, since))
		}
	}
	return without, several
}

func (p *play) tell(a act, f figures, complaints []string) {
	if len(complaints) == 0 {
		p.journal.say("       settled after %v; nobody answered for %v, several for %v", rounded(f.settled), rounded(f.without), rounded(f.several))
		return
	}
	fmt.Fprintf(p.journal.out, "\n%s\n\nPROMISES BROKEN with seed %d in act %d (%s):\n  %s\n\n", p.journal.page(), p.options.Seed, a.number, a, strings.Join(complaints, "\n  "))
}

func rounded(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// beginSparing chooses the controller that is spared from here on, and takes everybody's vitals.
func (p *play) beginSparing(ctx context.Context) error {
	pods, err := herald.Pods(ctx, p.lab, "controller")
	if err != nil {
		return err
	}
	p.spared = &pods[0]
	p.young, err = p.measureAtRest(ctx)
	return err
}

// restTime is enough for what was begun to come to its end, such as requests to the API server and their connections.
const restTime = 5 * time.Second

// measureAtRest takes the vitals while there are only the Services that nobody changes.
func (p *play) measureAtRest(ctx context.Context) ([]vitals, error) {
	p.acting.Lock()
	defer p.acting.Unlock()
	if err := p.removeCrowd(ctx); err != nil {
		return nil, err
	}
	if complaints, err := p.settle(ctx); err != nil || len(complaints) > 0 {
		return nil, fmt.Errorf("come to rest: %w %q", err, complaints)
	}
	pause(ctx, restTime)
	return p.measure(ctx)
}

// conclude judges what shows at the end alone.
func (p *play) conclude(ctx context.Context, stopUsers func()) error {
	stopUsers()
	old, err := p.measureAtRest(ctx)
	if err != nil {
		return err
	}
	p.report.agings = agings(p.young, old)
	for _, a := range p.report.agings {
		p.report.end = append(p.report.end, a.leaks()...)
	}
	found, err := p.wrongInLogs(ctx)
	p.report.end = append(p.report.end, found...)
	return err
}
