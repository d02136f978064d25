package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/herald-lb/herald/e2e/allocation"
	"github.com/herald-lb/herald/e2e/table"
)

// report gathers the figures of several runs of one experiment.
type report struct {
	title string
	rows  []*row
}

type row struct {
	name, wanted string
	format       func(float64) string
	values       []float64
}

// add notes one run's figure, in the row of that name.
func (r *report) add(name, wanted string, format func(float64) string, value float64) {
	i := slices.IndexFunc(r.rows, func(x *row) bool { return x.name == name })
	if i < 0 {
		i = len(r.rows)
		r.rows = append(r.rows, &row{name: name, wanted: wanted, format: format})
	}
	r.rows[i].values = append(r.rows[i].values, value)
}

func (r *report) duration(name, wanted string, d time.Duration) {
	r.add(name, wanted, milliseconds, d.Seconds()*1000)
}

// latencies adds the median and the 99th percentile from the call's start, which is what a user waits, and from its
// return. The call alone is the API server's: it tells how busy the machine is.
func (r *report) latencies(record allocation.Record, p50, p99 string) {
	all := record.All
	fromCall := func(t allocation.Times) time.Duration { return t.Assigned.Sub(t.Called) }
	fromReturn := func(t allocation.Times) time.Duration { return t.Assigned.Sub(t.Returned) }
	call := func(t allocation.Times) time.Duration { return t.Returned.Sub(t.Called) }
	r.duration("the call of create alone, p50", "", percentile(all, call, 50))
	r.duration("from the call of create, p50", p50, percentile(all, fromCall, 50))
	r.duration("from the call of create, p99", p99, percentile(all, fromCall, 99))
	r.duration("from its return, p50", "", percentile(all, fromReturn, 50))
	r.duration("from its return, p99", "", percentile(all, fromReturn, 99))
	r.add("the stopwatch's own watch ended", "0", count, float64(record.Interruptions))
}

func percentile(all []allocation.Times, of func(allocation.Times) time.Duration, percent int) time.Duration {
	var took []time.Duration
	for _, t := range all {
		took = append(took, of(t))
	}
	slices.Sort(took)
	return took[(len(took)-1)*percent/100]
}

func (r *report) write(out io.Writer) error {
	t := table.Table{Heading: []string{r.title, "min", "median", "max", "wanted"}}
	for _, row := range r.rows {
		slices.Sort(row.values)
		n := len(row.values)
		t.Add(row.name, row.format(row.values[0]), row.format(row.values[n/2]), row.format(row.values[n-1]), row.wanted)
	}
	return t.Write(out, "")
}

func milliseconds(v float64) string { return fmt.Sprintf("%.1f ms", v) }
func seconds(v float64) string      { return fmt.Sprintf("%.2f s", v) }
func mebibytes(v float64) string    { return fmt.Sprintf("%.1f MiB", v) }
func count(v float64) string        { return fmt.Sprintf("%.0f", v) }
