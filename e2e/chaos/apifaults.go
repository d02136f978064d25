package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// What befalls the way to the API server, or itself. The play's own requests come from its host, and are spared by the former.

// connectionsCut resets all connections of the nodes with the API server: watches begin anew. Not every kernel can, and ss
// says nothing where it cannot.
func connectionsCut(ctx context.Context, s *stage, _ fault) error {
	which := "--no-header --numeric --tcp state established sport = :6443 and not dst [::1] and not dst " + lab.AddressesOf(lab.Control).V4.String()
	cut, err := s.lab.In(ctx, lab.Control, "sh", "-c", "ss --kill "+which)
	if err != nil {
		return err
	}
	left, err := s.lab.In(ctx, lab.Control, "sh", "-c", "ss "+which)
	if err != nil {
		return err
	}
	count := len(gone(connections(cut), connections(left)))
	s.journal.note("%d connections to the API server were cut", count)
	if count == 0 {
		return fmt.Errorf("%w: ss has cut no connection", errMissed)
	}
	return nil
}

// connections reads both ends of each connection from what ss prints. One that is made anew has another port.
func connections(printed string) (all []string) {
	for line := range strings.Lines(printed) {
		if words := strings.Fields(line); len(words) >= 4 {
			all = append(all, words[2]+" "+words[3])
		}
	}
	return all
}

// gone are those that are not left.
func gone(all, left []string) []string {
	return slices.DeleteFunc(all, func(c string) bool { return slices.Contains(left, c) })
}

// apiSlow makes the control plane's link slow, with a queue before it, and lose a tenth of the packets either way.
func apiSlow(ctx context.Context, s *stage, f fault) error {
	slow := "tc qdisc add dev eth0 root tbf rate 1mbit burst 16kb latency 400ms"
	if err := s.on(ctx, lab.Control, slow+"\n"+filterAPI("numgen random mod 10 == 0 drop")); err != nil {
		return err
	}
	pause(ctx, f.lasts)
	return s.on(ctx, lab.Control, "tc qdisc delete dev eth0 root && nft delete table inet api")
}

// apiOutOfReach loses all packets, so that nobody is told that the connections are of no use.
func apiOutOfReach(ctx context.Context, s *stage, f fault) error {
	if err := s.on(ctx, lab.Control, filterAPI("drop")); err != nil {
		return err
	}
	pause(ctx, f.lasts)
	return s.on(ctx, lab.Control, "nft delete table inet api")
}

// filterAPI is a command that has something done to the packets between nodes and API server.
func filterAPI(do string) string {
	return "nft -f - <<'END'\n" +
		"add table inet api\n" +
		"add chain inet api in { type filter hook input priority -300; }\n" +
		"add chain inet api out { type filter hook output priority -300; }\n" +
		"add rule inet api in iifname eth0 tcp dport 6443 " + do + "\n" +
		"add rule inet api out oifname eth0 tcp sport 6443 " + do + "\n" +
		"END"
}

func etcdKilled(ctx context.Context, s *stage, _ fault) error {
	if err := s.lab.KillProgram(lab.Etcd); err != nil {
		return err
	}
	return s.awaitAPI(ctx)
}

func apiAway(ctx context.Context, s *stage, f fault) error {
	return s.withoutAPI(ctx, f, func() error { return nil })
}

// apiAwayNodeCutOff cuts a node off meanwhile, until others have taken over, and joins it again.
func apiAwayNodeCutOff(ctx context.Context, s *stage, f fault) error {
	return s.withoutAPI(ctx, f, func() error {
		pause(ctx, f.lasts/4)
		if err := s.lab.CableOut(ctx, f.node); err != nil {
			return err
		}
		return errors.Join(s.awaitOneEach(ctx), s.lab.CableIn(ctx, f.node))
	})
}

// apiAwaySpeakerKilled kills a speaker meanwhile. It starts again, and cannot know what to announce: others must.
func apiAwaySpeakerKilled(ctx context.Context, s *stage, f fault) error {
	pod, err := s.speaker(ctx, f.node)
	if err != nil {
		return err
	}
	return s.withoutAPI(ctx, f, func() error {
		pause(ctx, f.lasts/4)
		return herald.Kill(ctx, s.lab, pod)
	})
}

// withoutAPI kills the API server and starts it again when the fault has lasted as long as it shall, and no address is
// without an answer or has several.
func (s *stage) withoutAPI(ctx context.Context, f fault, meanwhile func() error) error {
	end := time.Now().Add(f.lasts)
	if err := s.lab.KillProgram(lab.APIServer); err != nil {
		return err
	}
	err := meanwhile()
	pause(ctx, time.Until(end))
	return errors.Join(err, s.awaitOneEach(ctx), s.awaitAPI(ctx))
}

// awaitOneEach waits until one node answers for each address of those that nobody changes, and has for a while.
func (s *stage) awaitOneEach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, indulgence/2)
	defer cancel()
	return herald.Await(ctx, "one answer for each address while the API server is away", func(context.Context) (err error) {
		broken := s.wire.read(func(t *timeline) {
			for _, a := range slices.Concat(slices.Collect(maps.Values(s.history.steadyOnLAN()))...) {
				if by, since := t.now(a); len(by) != 1 || t.until.Sub(since) < calm {
					err = fmt.Errorf("%s is answered for by %v", a, by)
				}
			}
		})
		return errors.Join(err, broken)
	})
}

// awaitAPI starts what was killed, and again if it ends because what it listened on is not free yet. It waits until a
// Service could be created: an API server that has just started answers before it knows which cluster addresses it may give.
func (s *stage) awaitAPI(ctx context.Context) error {
	return herald.Await(ctx, "the API server to take Services", func(ctx context.Context) error {
		if err := errors.Join(s.lab.StartProgram(ctx, lab.Etcd), s.lab.StartProgram(ctx, lab.APIServer)); err != nil {
			return err
		}
		try := newService("try", dualStack)
		_, err := s.client.CoreV1().Services("default").Create(ctx, try, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
}
