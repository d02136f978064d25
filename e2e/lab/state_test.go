package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestStateKeepsChangesOfManyAtOnce(t *testing.T) {
	s := store{filepath.Join(t.TempDir(), "lab")}
	if err := s.change(func(st *state) { *st = state{Name: "lab", Processes: map[string]Process{}} }); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for n := range 20 {
		writers.Go(func() {
			err := s.change(func(st *state) { st.Processes[fmt.Sprint(n)] = Process{PID: n} })
			if err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	st, err := s.load()
	if err != nil || len(st.Processes) != 20 || st.Name != "lab" {
		t.Errorf("got %d processes of lab %q, %v; want 20", len(st.Processes), st.Name, err)
	}
}

func TestStateThatIsNoneIsReported(t *testing.T) {
	s := store{t.TempDir()}
	if err := os.WriteFile(s.file(), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.change(func(*state) {}); err == nil {
		t.Error("a state that cannot be read was overwritten")
	}
}
