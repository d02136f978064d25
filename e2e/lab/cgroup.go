package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hierarchy is one mounted tree of control groups: one per controller on a cgroup v1 machine, a single one on v2.
type hierarchy struct {
	dir     string // the caller's own group in it
	top     string // where it is mounted
	unified bool   // v2
}

// hierarchies finds the caller's groups. On a hybrid machine (v1 controllers, and a v2 tree without any) v1 counts.
func hierarchies() ([]hierarchy, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	found := parseHierarchies(string(groups), string(mounts))
	if len(found) == 0 {
		return nil, errors.New("find control groups: no cgroup file system is mounted")
	}
	return found, nil
}

// parseHierarchies joins /proc/self/cgroup (cgroups(7): "id:controllers:path") with /proc/self/mountinfo (proc(5)).
func parseHierarchies(groups, mounts string) []hierarchy {
	var v1, v2 []hierarchy
	for line := range strings.Lines(groups) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		controllers, path := parts[1], parts[2]
		mount, root, ok := cgroupMount(mounts, controllers)
		if !ok {
			continue
		}
		rel, inside := strings.CutPrefix(path, strings.TrimSuffix(root, "/"))
		if !inside {
			rel = ""
		}
		h := hierarchy{dir: filepath.Join(mount, rel), top: mount, unified: controllers == ""}
		if h.unified {
			v2 = append(v2, h)
		} else {
			v1 = append(v1, h)
		}
	}
	if len(v1) > 0 {
		return v1
	}
	return v2
}

// cgroupMount finds where the hierarchy of these controllers is mounted ("" is v2's), and which of its groups is the
// mount's root.
func cgroupMount(mounts, controllers string) (mount, root string, ok bool) {
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		where, what := strings.Fields(before), strings.Fields(after)
		if !ok || len(where) < 5 || len(what) < 3 {
			continue
		}
		if controllers == "" && what[0] == "cgroup2" {
			return where[4], where[3], true
		}
		if what[0] == "cgroup" && hasControllers(what[2], controllers) {
			return where[4], where[3], controllers != ""
		}
	}
	return "", "", false
}

func hasControllers(options, controllers string) bool {
	have := "," + options + ","
	for c := range strings.SplitSeq(controllers, ",") {
		if !strings.Contains(have, ","+c+",") {
			return false
		}
	}
	return true
}

// labGroups are the directories that would be the tops of the lab's own trees.
func labGroups(lab string) ([]string, error) {
	found, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, h := range found {
		base := h.dir
		if h.unified {
			if base, err = delegated(h); err != nil {
				return nil, err
			}
		}
		dirs = append(dirs, filepath.Join(base, "herald-lab-"+lab))
	}
	return dirs, nil
}

// delegated finds the nearest group at or above the caller's own that can hand controllers to a child: one that has
// processes of its own cannot, unless it is the machine's root (cgroups(7), "no internal processes").
func delegated(h hierarchy) (string, error) {
	for dir := h.dir; ; dir = filepath.Dir(dir) {
		err := handDown(dir)
		if err == nil {
			return dir, nil
		}
		if len(dir) <= len(h.top) {
			return "", fmt.Errorf("hand controllers to the nodes' control groups: no group from %s up to %s can: %w", h.dir, h.top, err)
		}
	}
}

// kubeletControllers are those that a kubelet uses.
var kubeletControllers = []string{"cpu", "cpuset", "io", "memory", "pids"}

// handDown lets a group's children have its controllers (cgroup v2).
func handDown(group string) error {
	available, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var plus []string
	for _, c := range strings.Fields(string(available)) {
		if slices.Contains(kubeletControllers, c) {
			plus = append(plus, "+"+c)
		}
	}
	if !slices.Contains(plus, "+memory") || !slices.Contains(plus, "+pids") {
		return fmt.Errorf("group %s has the controllers %q, without memory and pids", group, available)
	}
	return os.WriteFile(filepath.Join(group, "cgroup.subtree_control"), []byte(strings.Join(plus, " ")), 0)
}

// makeNodeGroup makes a node's group in each of the lab's trees.
func makeNodeGroup(tops []string, node Host) (groups []string, err error) {
	for _, top := range tops {
		group := filepath.Join(top, string(node))
		if err := prepareGroup(top, group); err != nil {
			return nil, fmt.Errorf("make control group of %s: %w", node, err)
		}
		groups = append(groups, group)
	}
	return groups, nil
}

func prepareGroup(top, group string) error {
	if err := os.MkdirAll(group, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(top, "cgroup.subtree_control")); err == nil {
		return prepareV2(top, group)
	}
	return errors.Join(inheritCPUs(top), inheritCPUs(group))
}

// prepareV2 hands the controllers down to the node's group. The node hands them on to its pods itself, from where its
// own processes are no longer in the way: in a leaf.
func prepareV2(top, group string) error {
	if err := handDown(top); err != nil {
		return err
	}
	return os.MkdirAll(filepath.Join(group, leaf), 0o755)
}

// leaf is the group of the node's own processes within the node's group, on cgroup v2.
const leaf = "host"

// inheritCPUs copies the parent's CPUs and memory nodes: a new group of v1's cpuset controller has none, and takes no
// process until it has.
func inheritCPUs(group string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		parents, err := os.ReadFile(filepath.Join(filepath.Dir(group), file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another controller's group
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, file), parents, 0); err != nil {
			return err
		}
	}
	return nil
}

// groupMembers lists the processes in a tree of control groups.
func groupMembers(top string) []Process {
	var found []Process
	_ = filepath.WalkDir(top, func(path string, _ fs.DirEntry, err error) error { // groups may vanish meanwhile
		if err != nil || filepath.Base(path) != "cgroup.procs" {
			return nil
		}
		pids, _ := os.ReadFile(path)
		for field := range strings.FieldsSeq(string(pids)) {
			pid, _ := strconv.Atoi(field)
			if p, err := identify(pid); err == nil {
				found = append(found, p)
			}
		}
		return nil
	})
	return found
}

// removeGroup removes a tree of control groups, deepest first. A group stays busy for a moment after its last process.
func removeGroup(top string) error {
	var dirs []string
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error { // groups may vanish meanwhile
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := removeEmptied(dirs[i]); err != nil {
			return fmt.Errorf("remove control group: %w", err)
		}
	}
	return nil
}

func removeEmptied(dir string) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
	}
}
