package lab

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/herald-lb/herald/e2e/binaries"
)

//go:embed node.sh
var nodeScript string

// joinAndUnshare starts node.sh. The cgroup namespace's root is the group that the process is in when it makes the
// namespace; on cgroup v2 it then moves to a leaf, so that the kubelet can make groups for pods beside it.
const joinAndUnshare = `
for group in $GROUPS_OF_NODE; do echo $$ >$group/cgroup.procs; done
exec unshare --cgroup sh -c '
	for group in $GROUPS_OF_NODE; do
		if [ -d $group/` + leaf + ` ]; then echo $$ >$group/` + leaf + `/cgroup.procs; fi
	done
	exec ip netns exec "$NETNS" unshare --mount --uts --ipc --pid --fork --kill-child sh "$DIR/node.sh"
'`

func (l *Lab) nodeDir(node Host) string { return filepath.Join(l.dir(), "nodes", string(node)) }

// prepareNode lays out the node's disk: what it has before it is first switched on.
func (l *Lab) prepareNode(node Host) error {
	dir := l.nodeDir(node)
	for _, d := range []string{"var", "etc", "etc-work", "images", "etc/kubernetes", "etc/containerd", "etc/cni/net.d"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "node.sh"), []byte(nodeScript), 0o644); err != nil {
		return err
	}
	if err := l.writeNodeFiles(node); err != nil {
		return err
	}
	credentials := map[string]string{
		l.kubeconfig(string(node)): "kubelet.kubeconfig", l.kubeconfig("kube-proxy"): "kube-proxy.kubeconfig", l.kubeconfig("admin"): "admin.kubeconfig",
		l.pki("ca.crt"): "ca.crt", l.pki(string(node) + ".crt"): "kubelet.crt", l.pki(string(node) + ".key"): "kubelet.key",
	}
	for from, to := range credentials {
		if err := copyFile(from, filepath.Join(dir, "etc/kubernetes", to), 0o600); err != nil {
			return err
		}
	}
	for _, image := range l.set.Images {
		if err := os.Symlink(inNode(l.set.Cache, image), filepath.Join(dir, "images", filepath.Base(image))); err != nil {
			return err
		}
	}
	return nil
}

// inNode is where a file of the cache is seen in a node.
func inNode(cache, file string) string {
	return strings.Replace(file, cache, "/run/lab/cache", 1)
}

func copyFile(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}

// startNode switches a node on.
func (l *Lab) startNode(ctx context.Context, node Host) error {
	st, err := l.store().load()
	if err != nil {
		return err
	}
	groups, err := makeNodeGroup(st.Cgroups, node)
	if err != nil {
		return err
	}
	command := exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", joinAndUnshare)
	command.Env = append(l.nodeEnvironment(node, st), "GROUPS_OF_NODE="+strings.Join(groups, " "))
	process, err := start(command, filepath.Join(l.dir(), "logs", string(node)+".log"))
	if err != nil {
		return fmt.Errorf("start %s: %w", node, err)
	}
	return l.remember(string(node), process)
}

func (l *Lab) nodeEnvironment(node Host, st state) []string {
	own := AddressesOf(node)
	env := []string{
		"NODE=" + string(node),
		"NETNS=" + namespace(l.Name, node),
		"DIR=" + l.nodeDir(node),
		"CACHE=" + l.set.Cache,
		"PROGRAMS=" + l.programsDir(),
		"CNI=" + inNode(l.set.Cache, l.set.CNI),
		"PATH=" + l.nodePath(),
		"PROXY_MODE=" + st.ProxyMode,
		"POD_RANGES=" + Pods4 + "," + Pods6,
		"NODE_IPS=" + own.V4.String() + "," + own.V6.String(),
		"HOME=/root",
	}
	if st.Light {
		env = append(env, "LIGHT=1")
	}
	return env
}

// nodePath finds the lab's programs where the node sees the cache.
func (l *Lab) nodePath() string {
	var dirs []string
	for _, dir := range l.set.Path {
		dirs = append(dirs, inNode(l.set.Cache, dir))
	}
	return strings.Join(append(dirs, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ":")
}

// firstProcess is the PID, as this machine counts, of the process that is PID 1 in the node: the only child of unshare.
func (l *Lab) firstProcess(node Host) (int, bool) {
	st, err := l.store().load()
	if err != nil || !st.Processes[string(node)].Alive() {
		return 0, false
	}
	pid := st.Processes[string(node)].PID
	var child int
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, false
	}
	_, err = fmt.Sscan(string(children), &child)
	return child, err == nil
}

// register lets the node's programs join the cluster: its Node object exists.
func (l *Lab) register(node Host) error {
	return os.WriteFile(filepath.Join(l.nodeDir(node), "registered"), nil, 0o644)
}

// writeNodeFiles writes the node's configuration from the templates below.
func (l *Lab) writeNodeFiles(node Host) error {
	n, _ := node.nodeNumber()
	v4, v6 := podRanges(n)
	values := map[string]any{
		"Node": node, "MachineID": fmt.Sprintf("%032x", n), "PodRange4": v4, "PodRange6": v6,
		"Router": AddressesOf(Router).V4, "CNI": inNode(l.set.Cache, l.set.CNI), "Pause": binaries.PauseImage,
	}
	for file, text := range nodeFiles {
		t, err := template.New(file).Parse(text)
		if err != nil {
			return err
		}
		var out strings.Builder
		if err := t.Execute(&out, values); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(l.nodeDir(node), "etc", file), []byte(out.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
