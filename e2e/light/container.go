package light

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// container is one container's life: its program runs, and is started again when it ends.
type container struct {
	runner  *runner
	spec    *corev1.Container
	program string // "": the image is not known, there is no process
	script  string // lays out the root directory and starts the program there
	env     []string

	mu       sync.Mutex // guards all below
	running  bool
	ready    bool
	started  metav1.Time
	restarts int32
	last     *corev1.ContainerStateTerminated
}

func (r *runner) newContainer(ctx context.Context, spec *corev1.Container) (*container, error) {
	c := &container{runner: r, spec: spec, program: r.node.Programs[repository(spec.Image)], started: metav1.Now()}
	for _, old := range r.pod.Status.ContainerStatuses { // the node was off for a while
		if old.Name == spec.Name {
			c.restarts = old.RestartCount + 1
		}
	}
	if c.program == "" {
		c.running, c.ready = true, true
		return c, nil
	}
	volumes, err := r.volumes(ctx, spec)
	if err != nil {
		return nil, err
	}
	if c.env, err = r.environment(ctx, spec); err != nil {
		return nil, err
	}
	c.script = c.layOut(volumes)
	return c, nil
}

// repository is an image's name without its tag or digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		return image[:colon]
	}
	return image
}

func (c *container) root() string { return filepath.Join(c.runner.dir(), c.spec.Name) }

// layOut is a shell script that runs in a mount namespace of the container's own: a root directory with the program,
// its volumes, and the file systems that the kernel shows.
func (c *container) layOut(volumes []volume) string {
	var s strings.Builder
	root := c.root()
	fmt.Fprintf(&s, "set -e; mkdir -p %[1]s; mount -t tmpfs root %[1]s; mkdir %[1]s/proc %[1]s/sys %[1]s/dev %[1]s/tmp\n", root)
	fmt.Fprintf(&s, "mount --rbind /proc %[1]s/proc; mount --rbind /sys %[1]s/sys; mount --rbind /dev %[1]s/dev\n", root)
	fmt.Fprintf(&s, "touch %[1]s/program; mount --bind %[2]s %[1]s/program\n", root, c.program)
	for _, v := range volumes {
		fmt.Fprintf(&s, "mkdir -p %[1]s%[2]s; mount --bind %[3]s %[1]s%[2]s\n", root, v.path, v.dir)
	}
	fmt.Fprintf(&s, "exec chroot %s /program \"$@\"\n", root)
	return s.String()
}

// supervise keeps the program running until the context ends, then ends it as a kubelet would.
func (c *container) supervise(ctx context.Context) {
	if c.program == "" {
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		if err := c.runOnce(ctx); err != nil && ctx.Err() == nil {
			log.Printf("pod %s/%s: container %s: %v", c.runner.pod.Namespace, c.runner.pod.Name, c.spec.Name, err)
		}
		sleep(ctx, time.Second)
	}
}

func (c *container) runOnce(ctx context.Context) error {
	command, err := c.start(ctx)
	if err != nil {
		return err
	}
	c.change(func() { c.running, c.started, c.ready = true, metav1.Now(), c.spec.ReadinessProbe == nil })
	life, stop := context.WithCancel(ctx)
	defer stop()
	go c.watchReadiness(life)
	err = command.Wait()
	c.change(func() {
		c.running, c.ready = false, false
		c.restarts++
		c.last = &corev1.ContainerStateTerminated{ExitCode: int32(command.ProcessState.ExitCode()), Reason: "Completed", StartedAt: c.started, FinishedAt: metav1.Now()}
	})
	return err
}

func (c *container) grace() time.Duration {
	if s := c.runner.pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

// start starts the program in its pod's network, with its log where a person would look for it. When the context ends,
// the program is told to, and killed if it does not.
func (c *container) start(ctx context.Context) (*exec.Cmd, error) {
	args := append([]string{"unshare", "--mount", "sh", "-c", c.script, "sh"}, c.arguments()...)
	if !c.runner.pod.Spec.HostNetwork {
		args = append([]string{"ip", "netns", "exec", string(c.runner.pod.UID)}, args...)
	}
	pod := c.runner.pod
	output, err := os.OpenFile(fmt.Sprintf("/var/log/%s_%s_%s.log", pod.Namespace, pod.Name, c.spec.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = c.grace()
	command.Stdout, command.Stderr = output, output
	command.Env = append(os.Environ(), c.env...)
	return command, command.Start()
}

// arguments are the container's, with $(NAME) replaced (kubernetes.io/docs/tasks/inject-data-application). The command
// names the program, which is known already; what follows its first word are arguments.
func (c *container) arguments() []string {
	var all []string
	if len(c.spec.Command) > 1 {
		all = append(all, c.spec.Command[1:]...)
	}
	all = append(all, c.spec.Args...)
	for i, arg := range all {
		all[i] = expand(arg, c.env)
	}
	return all
}

func (c *container) change(apply func()) {
	c.mu.Lock()
	apply()
	c.mu.Unlock()
	c.runner.touch()
}

// watchReadiness asks the readiness probe at its period.
func (c *container) watchReadiness(ctx context.Context) {
	probe := c.spec.ReadinessProbe
	if probe == nil {
		return
	}
	period := max(time.Duration(probe.PeriodSeconds)*time.Second, time.Second)
	for ; ctx.Err() == nil; sleep(ctx, period) {
		ready := c.answers(ctx, probe)
		c.mu.Lock()
		changed := ready != c.ready
		c.mu.Unlock()
		if changed && ctx.Err() == nil {
			c.change(func() { c.ready = ready })
		}
	}
}

// answers carries out an HTTP or a TCP probe; any other counts as passed.
func (c *container) answers(ctx context.Context, probe *corev1.Probe) bool {
	ctx, cancel := context.WithTimeout(ctx, max(time.Duration(probe.TimeoutSeconds)*time.Second, time.Second))
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		return c.answersHTTP(ctx, probe.HTTPGet)
	case probe.TCPSocket != nil:
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(c.runner.ips[0], c.port(probe.TCPSocket.Port)))
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	return true
}

func (c *container) answersHTTP(ctx context.Context, get *corev1.HTTPGetAction) bool {
	host := c.runner.ips[0]
	if get.Host != "" {
		host = get.Host
	}
	url := strings.ToLower(string(get.Scheme)) + "://" + net.JoinHostPort(host, c.port(get.Port)) + get.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := probeClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode < 400
}

// port finds the number of a port that may be named.
func (c *container) port(p intstr.IntOrString) string {
	for _, known := range c.spec.Ports {
		if p.Type == intstr.String && known.Name == p.StrVal {
			return fmt.Sprint(known.ContainerPort)
		}
	}
	return p.String()
}

func (c *container) status() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: c.spec.Image, RestartCount: c.restarts, Ready: c.ready, Started: &c.running,
		ContainerID: fmt.Sprintf("light://%s-%s-%d", c.runner.pod.UID, c.spec.Name, c.restarts),
	}
	if c.running {
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: c.started}
	} else {
		s.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	}
	if c.last != nil {
		s.LastTerminationState.Terminated = c.last
	}
	running := c.running
	s.Started = &running
	return s
}
