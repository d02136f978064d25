package chaos

import (
	"fmt"
	"io"
	"time"

	sums "github.com/herald-lb/herald/e2e/figures"
	"github.com/herald-lb/herald/e2e/table"
)

// Report is what a play has shown.
type Report struct {
	seed   uint64
	kinds  []kind
	took   time.Duration
	acts   []outcome
	missed []fault  // that hit nothing, and are in no act
	end    []string // what was found to be wrong at the end
	agings []aging
}

type outcome struct {
	act
	figures
	complaints []string
}

// figures are of one act: the longest that nobody answered for an address of those that ought to be steady, for how long
// several did, and how long it took from the last mending until all was as it should be, for a second.
type figures struct{ without, several, settled time.Duration }

func (r *Report) add(a act, f figures, complaints []string) {
	r.acts = append(r.acts, outcome{a, f, complaints})
}

func (r *Report) brokenPromises() (count int) {
	for _, o := range r.acts {
		count += len(o.complaints)
	}
	return count + len(r.end)
}

// Err says that promises were broken, if some were, and how to see it again; or that a kind of fault was drawn and never hit
// anything, so that nothing is known of what it does.
func (r *Report) Err() error {
	if broken := r.brokenPromises(); broken > 0 {
		return fmt.Errorf("%d promises were broken: play it again with -seed %d", broken, r.seed)
	}
	for _, f := range r.missed {
		if r.faultsOf(f.kind) == 0 {
			return fmt.Errorf("%s: %w, each time", f.name, errMissed)
		}
	}
	return nil
}

// Write draws the tables.
func (r *Report) Write(out io.Writer) error {
	fmt.Fprintf(out, "\nseed %d: %d faults in %d acts, %v; promises broken: %d\n\n", r.seed, r.faults(), len(r.acts), r.took.Round(time.Second), r.brokenPromises())
	fmt.Fprintln(out, "How long nobody, or several, answered for an address: the worst of those in each act, median and maximum over acts.")
	byKind := r.byKind()
	if err := byKind.Write(out, ""); err != nil {
		return err
	}
	for _, f := range r.missed {
		fmt.Fprintln(out, "hit nothing, and not counted:", f)
	}
	fmt.Fprintln(out, "\nProcesses that lived from the first third to the end, then and at the end, at rest.")
	if err := agingTable(r.agings).Write(out, ""); err != nil {
		return err
	}
	for _, complaint := range r.end {
		fmt.Fprintln(out, "BROKEN:", complaint)
	}
	return nil
}

func (r *Report) faults() (count int) {
	for _, o := range r.acts {
		count += len(o.faults)
	}
	return count
}

// byKind has a row for each kind, with the figures of those acts in which nothing else happened.
func (r *Report) byKind() table.Table {
	t := table.Table{Heading: []string{"", "faults", "alone", "broken", "nobody", "max", "several", "max", "settled after", "max"}}
	for _, k := range r.kinds {
		t.Add(r.line(k.name, fmt.Sprint(r.faultsOf(k)))...)
	}
	t.Add(r.line(several, "")...)
	return t
}

func (r *Report) faultsOf(k kind) (count int) {
	for _, o := range r.acts {
		for _, f := range o.faults {
			if f.name == k.name {
				count++
			}
		}
	}
	return count
}

func (r *Report) line(name, count string) []string {
	var without, several, settled []time.Duration
	broken := 0
	for _, o := range r.acts {
		if o.row() == name {
			without, several, settled = append(without, o.without), append(several, o.several), append(settled, o.settled)
			broken += len(o.complaints)
		}
	}
	cells := []string{name, count, fmt.Sprint(len(settled)), fmt.Sprint(broken)}
	for _, measured := range [][]time.Duration{without, several, settled} {
		f := sums.Of(measured)
		cells = append(cells, milliseconds(f.Median), milliseconds(f.Maximum))
	}
	return cells
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

func agingTable(all []aging) *table.Table {
	t := &table.Table{Heading: []string{"", "goroutines", "", "open files", "", "memory", ""}}
	for _, a := range all {
		t.Add(a.old.Pod,
			fmt.Sprint(a.young.Goroutines), fmt.Sprint(a.old.Goroutines), fmt.Sprint(a.young.Files), fmt.Sprint(a.old.Files),
			megabytes(a.young.Memory), megabytes(a.old.Memory))
	}
	return t
}

func megabytes(bytes int) string { return fmt.Sprintf("%d MB", bytes>>20) }
