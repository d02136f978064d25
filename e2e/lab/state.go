package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/herald-lb/herald/e2e/filelock"
)

// stateRoot has one directory per lab. A node's containerd keeps its layers below it, so it is on a real file system.
const stateRoot = "/var/lib/herald-lab"

// state is all that a lab has made outside its directory, written down before it is made, so that it can be undone after
// any crash, by any later program.
type state struct {
	Name      string            `json:"name"`
	Nodes     int               `json:"nodes"`
	ProxyMode string            `json:"proxyMode"`
	Light     bool              `json:"light,omitempty"`
	Bare      bool              `json:"bare,omitempty"`
	Programs  map[string]string `json:"programs,omitempty"`

	SingleStack bool `json:"singleStack,omitempty"`

	Boot       string             `json:"boot"` // of the machine: processes and namespaces do not outlive it
	Namespaces []string           `json:"namespaces"`
	Cgroups    []string           `json:"cgroups"`   // directories, each the top of the lab's own tree
	Processes  map[string]Process `json:"processes"` // by host, or host/program
	Ready      bool               `json:"ready"`     // up got to its end
}

// store reads and writes one lab's state; a lock makes every change a transaction among programs.
type store struct {
	dir string
}

func (s store) file() string { return filepath.Join(s.dir, "state.json") }

func (s store) load() (state, error) {
	var st state
	data, err := os.ReadFile(s.file())
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return st, fmt.Errorf("parse %s: %w", s.file(), err)
	}
	return st, nil
}

func (s store) save(st state) error {
	data, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	next := s.file() + ".next"
	if err := os.WriteFile(next, data, 0o644); err != nil {
		return err
	}
	return os.Rename(next, s.file())
}

// change applies a function to the state on disk.
func (s store) change(apply func(*state)) error {
	unlock, err := filelock.Lock(s.dir + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	st, err := s.load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	apply(&st)
	return s.save(st)
}

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
