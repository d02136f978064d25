package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// What befalls a node, or what runs there. The lab's commands reach a node without its cable.

func cableOut(ctx context.Context, s *stage, f fault) error {
	if err := s.lab.CableOut(ctx, f.node); err != nil {
		return err
	}
	pause(ctx, f.lasts)
	return s.lab.CableIn(ctx, f.node)
}

// linkFlapping pulls the cable again and again, for shorter or longer than gossip takes to notice.
func linkFlapping(ctx context.Context, s *stage, f fault) error {
	chance := f.chance()
	for end := time.Now().Add(f.lasts); time.Now().Before(end); {
		if err := s.lab.CableOut(ctx, f.node); err != nil {
			return err
		}
		pause(ctx, upTo(chance, 600*time.Millisecond))
		if err := s.lab.CableIn(ctx, f.node); err != nil {
			return err
		}
		pause(ctx, upTo(chance, 600*time.Millisecond))
	}
	return nil
}

func (f fault) chance() *rand.Rand { return rand.New(rand.NewPCG(f.draw, 0)) }

func upTo(chance *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(chance.Int64N(int64(d)))
}

// nodeFrozen stops all programs of a node between two of their steps, as a machine does that is suspended. Its kernel goes
// on, and with it the answers for the node's own addresses.
func nodeFrozen(ctx context.Context, s *stage, f fault) error {
	if err := s.on(ctx, f.node, "kill -STOP -1"); err != nil {
		return err
	}
	pause(ctx, f.lasts)
	return s.on(ctx, f.node, "kill -CONT -1")
}

// powerCut befalls another node than the one drawn, if the controller is there that is spared.
func powerCut(ctx context.Context, s *stage, f fault) error {
	nodes := s.lab.NodeNames()
	for i := 0; s.spared != nil && (s.spared.Spec.NodeName == string(f.node) || f.node == witness); i++ {
		f.node = nodes[i]
	}
	if err := s.lab.Kill(ctx, f.node); err != nil {
		return err
	}
	pause(ctx, f.lasts)
	return s.lab.Revive(ctx, f.node)
}

func nodeExcluded(ctx context.Context, s *stage, f fault) error {
	if err := s.label(ctx, f.node, `""`); err != nil {
		return err
	}
	pause(ctx, f.lasts)
	return s.label(ctx, f.node, "null")
}

// label gives a node the label that excludes it from load balancers, or takes it away.
func (s *stage) label(ctx context.Context, node lab.Host, value string) error {
	patch := fmt.Sprintf(`{"metadata": {"labels": {%q: %s}}}`, corev1.LabelNodeExcludeBalancers, value)
	return herald.Await(ctx, "the label of "+string(node), func(ctx context.Context) error {
		_, err := s.client.CoreV1().Nodes().Patch(ctx, string(node), types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	})
}

func nodeDrained(ctx context.Context, s *stage, f fault) error {
	return errors.Join(
		herald.Drain(ctx, s.lab, f.node, "app=web"),
		s.lab.AwaitRollout(ctx, "default", "deployment/web"),
		herald.Uncordon(ctx, s.lab, f.node),
	)
}

func speakerKilled(ctx context.Context, s *stage, f fault) error {
	pod, err := s.speaker(ctx, f.node)
	if err != nil {
		return err
	}
	return herald.Kill(ctx, s.lab, pod)
}

func speakerFrozen(ctx context.Context, s *stage, f fault) error {
	pod, err := s.speaker(ctx, f.node)
	if err != nil {
		return err
	}
	return s.freeze(ctx, pod, f.lasts)
}

// freeze stops a pod's process for a while.
func (s *stage) freeze(ctx context.Context, pod *corev1.Pod, lasts time.Duration) error {
	pid, err := herald.Process(ctx, s.lab, pod)
	if err != nil {
		return err
	}
	node := lab.Host(pod.Spec.NodeName)
	if err := s.on(ctx, node, "kill -STOP "+pid); err != nil {
		return err
	}
	pause(ctx, lasts)
	return s.on(ctx, node, "kill -CONT "+pid)
}

// bfdKilled ends the process that watches the paths to routers. There may be none while its speaker starts.
func bfdKilled(ctx context.Context, s *stage, f fault) error {
	return s.on(ctx, f.node, "pkill -KILL -f '^/[a-z]* bfd$' || true")
}

func speakerShutDown(ctx context.Context, s *stage, f fault) error {
	pod, err := s.speaker(ctx, f.node)
	if err != nil {
		return err
	}
	return s.remove(ctx, pod)
}

// remove deletes a pod; another takes its place.
func (s *stage) remove(ctx context.Context, pod *corev1.Pod) error {
	return s.kubectl(ctx, "delete", "pod", "--namespace", pod.Namespace, pod.Name, "--ignore-not-found")
}

// speaker waits for the speaker of a node to be there: another fault may have kept it from starting.
func (s *stage) speaker(ctx context.Context, node lab.Host) (pod *corev1.Pod, err error) {
	err = herald.Await(ctx, "the speaker of "+string(node), func(ctx context.Context) error {
		pod, err = herald.Speaker(ctx, s.lab, node)
		return err
	})
	return pod, err
}

// gossipParted keeps speakers from hearing of each other, in two groups, or each alone. They announce still.
func gossipParted(ctx context.Context, s *stage, f fault) error {
	chance := f.chance()
	group := map[lab.Host]int{}
	for i, node := range s.lab.NodeNames() {
		group[node] = chance.IntN(2)
		if f.draw%3 == 0 {
			group[node] = i
		}
	}
	s.journal.note("gossip is parted: %v", group)
	for _, node := range s.lab.NodeNames() {
		if err := s.deafen(ctx, node, func(other lab.Host) bool { return group[node] != group[other] }); err != nil {
			return err
		}
	}
	pause(ctx, f.lasts)
	for _, node := range s.lab.NodeNames() {
		if err := s.on(ctx, node, "nft delete table inet parted"); err != nil {
			return err
		}
	}
	return nil
}

// deafen has a node hear no gossip of others.
func (s *stage) deafen(ctx context.Context, node lab.Host, to func(lab.Host) bool) error {
	rules := "add table inet parted\nadd chain inet parted in { type filter hook input priority -300; }\n"
	for _, other := range s.lab.NodeNames() {
		if !to(other) {
			continue
		}
		for _, port := range []string{"tcp dport", "tcp sport", "udp dport"} {
			rules += fmt.Sprintf("add rule inet parted in ip saddr %s %s 7946 drop\n", lab.AddressesOf(other).V4, port)
		}
	}
	return s.on(ctx, node, "nft -f - <<'END'\n"+rules+"END")
}
