// Package herald installs Herald in a lab and watches it from outside: by what the API server says, and by what a
// neighbour on the LAN hears on the wire. It shares no code with Herald.
package herald

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab"
)

// Namespace is where the manifest puts Herald.
const Namespace = "metallb-system"

// Manifest is the one file that installs Herald, in the repository with this root.
func Manifest(root string) string { return filepath.Join(root, "config", "manifests", "herald.yaml") }

// Install hands the images of make image to the nodes and applies the manifest, as a user would, and nothing else. It
// returns when Herald is ready.
func Install(ctx context.Context, l *lab.Lab, root string) error {
	if err := LoadImages(ctx, l, root); err != nil {
		return err
	}
	if err := l.ApplyFile(ctx, Manifest(root)); err != nil {
		return err
	}
	return AwaitReady(ctx, l)
}

// LoadImages hands Herald's images to the nodes: no registry has them.
func LoadImages(ctx context.Context, l *lab.Lab, root string) error {
	for _, image := range []string{"controller", "speaker"} {
		archive := filepath.Join(root, "build", "images", image+".tar")
		if _, err := os.Stat(archive); os.IsNotExist(err) {
			return fmt.Errorf("load image %s: %w (make image writes it)", image, fs.ErrNotExist)
		}
		if err := l.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

// AwaitReady waits until the controller and every speaker are ready in their latest version.
func AwaitReady(ctx context.Context, l *lab.Lab) error {
	for _, what := range []string{"deployment/controller", "daemonset/speaker"} {
		if err := l.AwaitRollout(ctx, Namespace, what); err != nil {
			return err
		}
	}
	return nil
}

// Controller is the pod of the controller that leads: it holds the Lease.
func Controller(ctx context.Context, l *lab.Lab) (*corev1.Pod, error) {
	lease, err := l.Client().CoordinationV1().Leases(Namespace).Get(ctx, "metallb-controller", metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("find out which controller leads: %w", err)
	}
	holder := lease.Spec.HolderIdentity
	return pod(ctx, l, "controller", func(p corev1.Pod) bool { return holder != nil && p.Name == *holder })
}

// Speaker is the pod of the speaker on a node.
func Speaker(ctx context.Context, l *lab.Lab, node lab.Host) (*corev1.Pod, error) {
	return pod(ctx, l, "speaker", func(p corev1.Pod) bool { return p.Spec.NodeName == string(node) })
}

func pod(ctx context.Context, l *lab.Lab, component string, match func(corev1.Pod) bool) (*corev1.Pod, error) {
	pods, err := Pods(ctx, l, component)
	if err != nil {
		return nil, err
	}
	for _, p := range pods {
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning && match(p) {
			return &p, nil
		}
	}
	return nil, fmt.Errorf("find the pod of the %s: none that runs among %d", component, len(pods))
}

// Pods are all pods of a component: controller or speaker.
func Pods(ctx context.Context, l *lab.Lab, component string) ([]corev1.Pod, error) {
	list, err := l.Client().CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=metallb,component=" + component})
	if err != nil {
		return nil, fmt.Errorf("list pods of the %s: %w", component, err)
	}
	return list.Items, nil
}
