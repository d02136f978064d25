package herald

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// Kill ends the process of a pod's first container with SIGKILL, as a crash would. The kubelet starts it again.
func Kill(ctx context.Context, l *lab.Lab, p *corev1.Pod) error {
	pid, err := Process(ctx, l, p)
	if err != nil {
		return err
	}
	_, err = l.In(ctx, lab.Host(p.Spec.NodeName), "kill", "-KILL", pid)
	return err
}

// Process is the PID of a pod's first container, as its node counts.
func Process(ctx context.Context, l *lab.Lab, p *corev1.Pod) (string, error) {
	id, err := container(p)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(p.Status.ContainerStatuses[0].ContainerID, "light:") {
		return lightProcess(ctx, l, p)
	}
	tasks, err := l.In(ctx, lab.Host(p.Spec.NodeName), "ctr", "-n", "k8s.io", "tasks", "list")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(tasks) {
		if task := strings.Fields(line); len(task) > 1 && task[0] == id {
			return task[1], nil
		}
	}
	return "", fmt.Errorf("find the process of pod %s: container %s has none", p.Name, id)
}

// lightProcess finds the process on a light node, which has no container runtime, by what Herald's pods are told their
// names with. A process that it has started has been told the same, and has a higher PID.
func lightProcess(ctx context.Context, l *lab.Lab, p *corev1.Pod) (string, error) {
	script := "grep --files-with-matches --no-messages METALLB_POD_NAME=" + p.Name + " /proc/[0-9]*/environ | sort --field-separator=/ --key=3 --numeric-sort"
	files, err := l.In(ctx, lab.Host(p.Spec.NodeName), "sh", "-c", script)
	if err == nil && files == "" {
		err = errors.New("there is none")
	}
	if err != nil {
		return "", fmt.Errorf("find the process of pod %s: %w", p.Name, err)
	}
	first, _, _ := strings.Cut(files, "\n")
	return strings.Split(first, "/")[2], nil
}

// ProcessFile reads a file below /proc/PID of a pod's first container.
func ProcessFile(ctx context.Context, l *lab.Lab, p *corev1.Pod, name string) (string, error) {
	pid, err := Process(ctx, l, p)
	if err != nil {
		return "", err
	}
	return l.In(ctx, lab.Host(p.Spec.NodeName), "cat", "/proc/"+pid+"/"+name)
}

func container(p *corev1.Pod) (string, error) {
	if len(p.Status.ContainerStatuses) == 0 {
		return "", fmt.Errorf("find the container of pod %s: it has none yet", p.Name)
	}
	_, id, _ := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "://")
	return id, nil
}

// Restarts counts how often the kubelets have started Herald's containers again.
func Restarts(ctx context.Context, l *lab.Lab) (int, error) {
	restarts := 0
	for _, component := range []string{"controller", "speaker"} {
		pods, err := Pods(ctx, l, component)
		if err != nil {
			return 0, err
		}
		for _, p := range pods {
			for _, c := range p.Status.ContainerStatuses {
				restarts += int(c.RestartCount)
			}
		}
	}
	return restarts, nil
}
