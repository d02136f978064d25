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

// nodeDrained befalls another node than the one drawn, if none of the pods is there that are to move.
func nodeDrained(ctx context.Context, s *stage, f fault) error {
	pods, err := s.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		return err
	}
	f.node = nodeWithPod(pods.Items, f)
	if f.node == "" {
		return fmt.Errorf("%w: no pod is on any node", errMissed)
	}
	s.journal.note("%s is drained", f.node)
	return errors.Join(
		herald.Drain(ctx, s.lab, f.node, "app=web"),
		s.lab.AwaitRollout(ctx, "default", "deployment/web"),
		herald.Uncordon(ctx, s.lab, f.node),
	)
}

// nodeWithPod is the fault's node, or another if no pod is there.
func nodeWithPod(pods []corev1.Pod, f fault) (other lab.Host) {
	for i := range pods {
		switch node := lab.Host(pods[i].Spec.NodeName); {
		case node == f.node:
			return node
		case node != "":
			other = node
		}
	}
	return other
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

// bfdProcess is how a speaker starts the process that watches the paths to routers. There is one on each node, as the peer
// in furniture has a BFD profile and is for all nodes.
const bfdProcess = "^/proc/self/exe bfd$"

// bfdPatience is for a BFD process to come that is not there while its speaker starts, or where it was killed a moment ago.
const bfdPatience = 10 * time.Second

func bfdKilled(ctx context.Context, s *stage, f fault) error {
	ctx, cancel := context.WithTimeout(ctx, bfdPatience)
	defer cancel()
	err := herald.Await(ctx, "a BFD process to kill", func(ctx context.Context) error {
		_, err := s.lab.In(ctx, f.node, "pkill", "-KILL", "-f", bfdProcess) // fails where there is none
		return err
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errMissed, err)
	}
	return nil
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
	group := f.groups(s.lab.NodeNames())
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

// groups says who is in which, with somebody in each of two or more.
func (f fault) groups(nodes []lab.Host) map[lab.Host]int {
	chance := f.chance()
	shuffled := chance.Perm(len(nodes))
	first := 1 + chance.IntN(len(nodes)-1) // so many are in one of two groups
	group := map[lab.Host]int{}
	for i, n := range shuffled {
		switch {
		case f.draw%3 == 0:
			group[nodes[n]] = i
		case i >= first:
			group[nodes[n]] = 1
		default:
			group[nodes[n]] = 0
		}
	}
	return group
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
