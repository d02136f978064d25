//go:build e2e

package chaos

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/herald"
)

func TestMain(m *testing.M) {
	Visit()
	herald.Main(func(context.Context) (int, error) { return m.Run(), nil })
}

var labName = flag.String("lab", "chaos", "the lab's name")

// TestEachKindOfFaultOnce is a short round of make chaos. Its seed is one of those that bring the most faults together.
func TestEachKindOfFaultOnce(t *testing.T) {
	o := Options{Lab: *labName, Root: "../..", Seed: 896, Away: 5 * time.Second, Out: os.Stdout, History: io.Discard}
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(report.Write(os.Stdout), report.Err()); err != nil {
		t.Error(err)
	}
}
