package lab

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

const (
	hybridMounts = `24 1 0:20 / /sys/fs/cgroup rw - tmpfs tmpfs rw
25 24 0:21 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
26 24 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
27 24 0:23 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 24 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
`
	unifiedMounts   = "30 1 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	containerMounts = "40 1 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
)

func TestHierarchies(t *testing.T) {
	for _, c := range []struct {
		name, groups, mounts string
		want                 []hierarchy
	}{
		{"v1 beside an empty v2 tree: v1 counts", "4:memory:/user/a\n3:cpu,cpuacct:/\n2:name=systemd:/s\n0::/\n", hybridMounts, []hierarchy{
			{dir: "/sys/fs/cgroup/memory/user/a", top: "/sys/fs/cgroup/memory"},
			{dir: "/sys/fs/cgroup/cpu,cpuacct", top: "/sys/fs/cgroup/cpu,cpuacct"},
			{dir: "/sys/fs/cgroup/systemd/s", top: "/sys/fs/cgroup/systemd"},
		}},
		{"v2 alone", "0::/user.slice/session-1.scope\n", unifiedMounts, []hierarchy{
			{dir: "/sys/fs/cgroup/user.slice/session-1.scope", top: "/sys/fs/cgroup", unified: true},
		}},
		{"in a container whose mount begins at its own group", "4:memory:/docker/abc\n", containerMounts, []hierarchy{
			{dir: "/sys/fs/cgroup/memory", top: "/sys/fs/cgroup/memory"},
		}},
		{"a controller that is mounted nowhere is left out", "5:pids:/\n4:memory:/\n", hybridMounts, []hierarchy{
			{dir: "/sys/fs/cgroup/memory", top: "/sys/fs/cgroup/memory"},
		}},
		{"nothing is mounted", "0::/\n", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := parseHierarchies(c.groups, c.mounts); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// The files of a cpuset group of v1, as plain ones.
func TestANewGroupInheritsCPUs(t *testing.T) {
	top := filepath.Join(t.TempDir(), "herald-lab-x")
	for _, dir := range []string{filepath.Dir(top), top, filepath.Join(top, "node1")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			content := ""
			if dir == filepath.Dir(top) {
				content = "0-1"
			}
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	groups, err := makeNodeGroup([]string{top}, "node1")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(groups[0], "cpuset.mems")); string(got) != "0-1" {
		t.Errorf("memory nodes: got %q, want those of the parent", got)
	}
}

// On v2 the lab's own group hands controllers down, and the node's processes get a leaf.
func TestANodesGroupOnV2HasALeaf(t *testing.T) {
	top := filepath.Join(t.TempDir(), "herald-lab-x")
	if err := os.MkdirAll(top, 0o755); err != nil {
		t.Fatal(err)
	}
	subtree := filepath.Join(top, "cgroup.subtree_control")
	for file, content := range map[string]string{subtree: "", filepath.Join(top, "cgroup.controllers"): "cpu memory hugetlb pids\n"} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := makeNodeGroup([]string{top}, "node1")
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(subtree); string(got) != "+cpu +memory +pids" {
		t.Errorf("controllers handed down: got %q, want those of a kubelet that there are", got)
	}
	if _, err := os.Stat(filepath.Join(groups[0], leaf)); err != nil {
		t.Error(err)
	}
}

func TestAGroupWithoutTheControllersIsNoPlaceForNodes(t *testing.T) {
	top := t.TempDir()
	inner := filepath.Join(top, "session")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, controllers := range map[string]string{inner: "cpu\n", top: "cpu memory pids\n"} {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.controllers"), []byte(controllers), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := delegated(hierarchy{dir: inner, top: top, unified: true}); err != nil || got != top {
		t.Errorf("got %s, %v; want the group above", got, err)
	}
	if _, err := delegated(hierarchy{dir: inner, top: inner, unified: true}); err == nil {
		t.Error("no group can, and no error")
	}
}
