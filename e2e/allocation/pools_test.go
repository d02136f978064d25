//go:build e2e

package allocation

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// namespace makes one, or gives it other labels. It stays: namespaces go slowly.
func (s *stage) namespace(name string, labels map[string]string) {
	s.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	_, err := world.Client.CoreV1().Namespaces().Create(s.ctx, ns, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		var patch []byte
		if patch, err = json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}}); err == nil {
			_, err = world.Client.CoreV1().Namespaces().Patch(s.ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		}
	}
	s.must(err)
}

func TestWhichPoolIsDrawnFrom(t *testing.T) {
	s := newStage(t)
	s.namespace("blue", map[string]string{"colour": "blue"})
	s.namespace("green", map[string]string{"colour": "green"})

	s.on("the first by name, of those open to all", func(s *stage) {
		s.pool("b", ranges("10.7.1.0/24"))
		s.pool("a", ranges("10.7.0.0/24"))
		s.pool("0-manual", ranges("10.7.2.0/24").with(`{"autoAssign": false}`))
		svc := s.service("by-name")
		s.holds(svc, "a", "10.7.0.0")
	})
	s.on("pinned ones before those open to all, by ascending priority, and 0 last", func(s *stage) {
		s.pool("a-open", ranges("10.7.0.0/24"))
		s.pool("b-zero", ranges("10.7.1.0/32").with(`{"serviceAllocation": {}}`))
		s.pool("c-twenty", ranges("10.7.2.0/32").with(`{"serviceAllocation": {"priority": 20}}`))
		s.pool("d-ten", ranges("10.7.3.0/32").with(`{"serviceAllocation": {"priority": 10}}`))
		for i, want := range []struct{ pool, address string }{
			{"d-ten", "10.7.3.0"}, {"c-twenty", "10.7.2.0"}, {"b-zero", "10.7.1.0"}, {"a-open", "10.7.0.0"},
		} {
			svc := s.service(fmt.Sprintf("by-priority-%d", i))
			s.holds(svc, want.pool, want.address)
		}
	})
	s.on("one pinned to a namespace serves that alone, by its name or its labels", func(s *stage) {
		s.pool("named", ranges("10.7.0.0/24").with(`{"serviceAllocation": {"namespaces": ["blue"]}}`))
		s.pool("selected", ranges("10.7.1.0/24").with(`{"serviceAllocation": {"namespaceSelectors": [{"matchLabels": {"colour": "green"}}]}}`))
		blue := s.service("in-blue", named("blue"))
		green := s.service("in-green", named("green"))
		s.holds(blue, "named", "10.7.0.0")
		s.holds(green, "selected", "10.7.1.0")
		other := s.service("elsewhere")
		s.waits(other, "AllocationFailed", "no pool is open")
	})
	s.on("one pinned to Services serves those with the labels, in those namespaces", func(s *stage) {
		s.pool("pinned", ranges("10.7.0.0/24").with(`{"serviceAllocation": {"namespaces": ["blue"], "serviceSelectors": [
			{"matchLabels": {"tier": "front"}}, {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["edge"]}]}]}}`))
		for _, c := range []struct {
			name  string
			where option
			tier  string
			want  string
		}{
			{"front", named("blue"), "front", "10.7.0.0"},
			{"edge", named("blue"), "edge", "10.7.0.1"},
		} {
			svc := s.service(c.name, c.where, labelled("tier", c.tier))
			s.holds(svc, "pinned", c.want)
		}
		back := s.service("back", named("blue"), labelled("tier", "back"))
		s.waits(back, "AllocationFailed", "no pool is open")
		elsewhere := s.service("front", named("green"), labelled("tier", "front"))
		s.waits(elsewhere, "AllocationFailed", "no pool is open")
	})
	s.on("a namespace's labels that change move its Services", func(s *stage) {
		s.namespace("painted", map[string]string{"colour": "grey"})
		s.pool("grey", ranges("10.7.0.0/24").with(`{"serviceAllocation": {"namespaceSelectors": [{"matchLabels": {"colour": "grey"}}]}}`))
		s.pool("red", ranges("10.7.1.0/24").with(`{"serviceAllocation": {"namespaceSelectors": [{"matchLabels": {"colour": "red"}}]}}`))
		svc := s.service("chameleon", named("painted"))
		s.holds(svc, "grey", "10.7.0.0")
		s.namespace("painted", map[string]string{"colour": "red"})
		s.holds(svc, "red", "10.7.1.0")
		s.told(svc, corev1.EventTypeNormal, "ClearAssignment", "10.7.0.0")
		s.had(svc, "", "10.7.0.0", "10.7.1.0")
	})
	s.on("a Service's labels that change move it", func(s *stage) {
		s.pool("front", ranges("10.7.0.0/24").with(`{"serviceAllocation": {"serviceSelectors": [{"matchLabels": {"tier": "front"}}]}}`))
		s.pool("back", ranges("10.7.1.0/24").with(`{"serviceAllocation": {"serviceSelectors": [{"matchLabels": {"tier": "back"}}]}}`))
		svc := s.service("promoted", labelled("tier", "back"))
		s.holds(svc, "back", "10.7.1.0")
		s.change(svc, labelled("tier", "front"))
		s.holds(svc, "front", "10.7.0.0")
	})
}

func TestWhichAddressIsDrawn(t *testing.T) {
	s := newStage(t)
	s.on("in the order of the ranges, and in each the lowest that is free", func(s *stage) {
		s.pool("ordered", ranges("10.8.1.5-10.8.1.6", "10.8.0.0/31"))
		var all []*corev1.Service
		for i, want := range []string{"10.8.1.5", "10.8.1.6", "10.8.0.0", "10.8.0.1"} {
			svc := s.service(fmt.Sprintf("ordered-%d", i))
			s.holds(svc, "ordered", want)
			all = append(all, svc)
		}
		starved := s.service("starved")
		s.waits(starved, "AllocationFailed", "ordered")
		s.remove(all[2])
		s.holds(starved, "ordered", "10.8.0.0")
	})
	s.on("the oldest of those that wait is served first", func(s *stage) {
		s.pool("tiny", ranges("10.8.2.1/32"))
		holder := s.service("holder")
		s.holds(holder, "tiny", "10.8.2.1")
		older := s.service("z-older")
		s.waits(older, "AllocationFailed", "tiny")
		s.await("the clock to tell a younger one apart", func() error {
			if created := s.get(older).CreationTimestamp.Unix(); metav1.Now().Unix() <= created {
				return fmt.Errorf("it is still %d", created)
			}
			return nil
		})
		younger := s.service("a-younger")
		s.waits(younger, "AllocationFailed", "tiny")
		s.remove(holder)
		s.holds(older, "tiny", "10.8.2.1")
		s.remove(older)
		s.holds(younger, "tiny", "10.8.2.1")
	})
	s.on("none that ends in .0 or .255 where the pool avoids them, be it asked for", func(s *stage) {
		s.pool("avoiding", ranges("10.8.3.254-10.8.4.2", "fd08::/64").with(`{"avoidBuggyIPs": true}`))
		for i, want := range []string{"10.8.3.254", "10.8.4.1", "10.8.4.2"} {
			svc := s.service(fmt.Sprintf("avoiding-%d", i))
			s.holds(svc, "avoiding", want)
		}
		asks := s.service("asks", asking("10.8.4.0"))
		s.waits(asks, "AllocationFailed", "10.8.4.0")
		six := s.service("six", v6)
		s.holds(six, "avoiding", "fd08::")
	})
	s.on("a pool that begins to avoid them takes them away", func(s *stage) {
		s.pool("changing", ranges("10.8.5.0/30"))
		svc := s.service("buggy")
		s.holds(svc, "changing", "10.8.5.0")
		s.pool("changing", ranges("10.8.5.0/30").with(`{"avoidBuggyIPs": true}`))
		s.holds(svc, "changing", "10.8.5.1")
		s.told(svc, corev1.EventTypeNormal, "ClearAssignment", "10.8.5.0")
	})
}

func TestPoolsThatChange(t *testing.T) {
	s := newStage(t)
	s.on("a pool that shrinks moves those outside, and nobody else", func(s *stage) {
		s.pool("shrinking", ranges("10.9.0.1-10.9.0.4"))
		inside := s.service("inside", asking("10.9.0.1"))
		outside := s.service("outside")
		s.holds(inside, "shrinking", "10.9.0.1")
		s.holds(outside, "shrinking", "10.9.0.2")
		s.change(outside, asking("10.9.0.4"))
		s.holds(outside, "shrinking", "10.9.0.4")
		s.change(outside, without("metallb.io/loadBalancerIPs"))
		s.pool("shrinking", ranges("10.9.0.1-10.9.0.3"))
		s.holds(outside, "shrinking", "10.9.0.2")
		s.told(outside, corev1.EventTypeNormal, "ClearAssignment", "10.9.0.4 may no longer be held: 10.9.0.4 is in no pool")
		s.had(inside, "", "10.9.0.1")
	})
	s.on("a pool that is deleted leaves its Services waiting, and gives them theirs back when it comes again", func(s *stage) {
		s.pool("deleted", ranges("10.9.1.0/24"))
		svc := s.service("orphan", asking("10.9.1.7"))
		s.holds(svc, "deleted", "10.9.1.7")
		s.removePool("deleted")
		s.told(svc, corev1.EventTypeNormal, "ClearAssignment", "10.9.1.7")
		s.waits(svc, "AllocationFailed", "10.9.1.7")
		s.pool("deleted", ranges("10.9.1.0/24"))
		s.holds(svc, "deleted", "10.9.1.7")
		s.had(svc, "", "10.9.1.7", "", "10.9.1.7")
	})
	s.on("a range that moves to another pool takes its Services along, and their annotation", func(s *stage) {
		s.pool("from", ranges("10.9.2.0/24", "10.9.3.0/24"))
		svc := s.service("moving", asking("10.9.3.7"))
		s.holds(svc, "from", "10.9.3.7")
		s.pool("from", ranges("10.9.2.0/24"))
		s.pool("into", ranges("10.9.3.0/24"))
		s.holds(svc, "into", "10.9.3.7")
	})
	s.on("what a pool gains goes to those that wait", func(s *stage) {
		s.pool("growing", ranges("10.9.4.1/32"))
		first := s.service("first")
		s.holds(first, "growing", "10.9.4.1")
		second := s.service("second")
		s.waits(second, "AllocationFailed", "growing")
		s.pool("growing", ranges("10.9.4.1-10.9.4.2"))
		s.holds(second, "growing", "10.9.4.2")
	})
	s.on("a pool that stops assigning by itself takes nothing away", func(s *stage) {
		s.pool("manual", ranges("10.9.5.0/24"))
		svc := s.service("stays")
		s.holds(svc, "manual", "10.9.5.0")
		s.pool("manual", ranges("10.9.5.0/24").with(`{"autoAssign": false}`))
		next := s.service("next")
		s.waits(next, "AllocationFailed", "no pool is open")
		s.had(svc, "", "10.9.5.0")
	})
	s.on("a pool that is pinned to others takes its addresses back", func(s *stage) {
		s.pool("open", ranges("10.9.6.0/24"))
		svc := s.service("evicted")
		s.holds(svc, "open", "10.9.6.0")
		s.pool("open", ranges("10.9.6.0/24").with(`{"serviceAllocation": {"namespaces": ["elsewhere"]}}`))
		s.told(svc, corev1.EventTypeNormal, "ClearAssignment", "not compatible")
		s.waits(svc, "AllocationFailed", "no pool is open")
	})
	s.on("without a pool a Service waits", func(s *stage) {
		s.removePool("canary")
		svc := s.service("early")
		s.waits(svc, "AllocationFailed", "there is no IPAddressPool")
		s.must(world.Lab.Apply(s.ctx, canaryPool))
		s.pool("late", ranges("10.9.7.0/24"))
		s.holds(svc, "late", "10.9.7.0")
	})
}

func TestPoolStatus(t *testing.T) {
	s := newStage(t)
	s.pool("counted", ranges("10.10.0.0/30", "fd0a::/126").with(`{"avoidBuggyIPs": true}`))
	s.counts("counted", 0, 3, 0, 4)

	s.on("counts addresses, not Services", func(s *stage) {
		first := s.service("first", sharing("k"), port(80), both)
		second := s.service("second", sharing("k"), port(443), v4)
		s.holds(first, "counted", "10.10.0.1", "fd0a::")
		s.holds(second, "counted", "10.10.0.1")
		s.counts("counted", 1, 2, 1, 3)
		s.remove(first)
		s.counts("counted", 1, 2, 0, 4)
	})
	s.on("is shown by kubectl get", func(s *stage) {
		svc := s.service("shown", both)
		s.holds(svc, "counted", "10.10.0.1", "fd0a::")
		s.counts("counted", 1, 2, 1, 3)
		output, err := world.Lab.Kubectl(s.ctx, "get", "ipaddresspools", "--namespace", "metallb-system", "counted").Output()
		s.must(err)
		heading, row, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
		want := `NAME AUTO ASSIGN AVOID BUGGY IPS ADDRESSES`
		if got := strings.Join(strings.Fields(heading), " "); !strings.HasPrefix(got, want) || !strings.Contains(got, "ASSIGNED") || !strings.Contains(got, "AVAILABLE") {
			s.Errorf("kubectl's columns are %q, want %q, and what is assigned and available", got, want)
		}
		for _, cell := range []string{"counted", "true", `["10.10.0.0/30","fd0a::/126"]`, "1", "2", "3"} {
			if !strings.Contains(row, cell) {
				s.Errorf("kubectl shows %q, want %s in it", row, cell)
			}
		}
	})
	s.on("is put right when somebody edits it", func(s *stage) {
		s.patchStatus("counted", `{"status": {"assignedIPv4": 99, "availableIPv6": 0}}`)
		s.counts("counted", 0, 3, 0, 4)
	})
	s.on("takes no count of an IPv6 range that is beyond counting", func(s *stage) {
		s.pool("vast", ranges("fd0a:1::/48"))
		s.counts("vast", 0, 0, 0, beyondCounting)
	})
}

// beyondCounting is what a status has for an IPv6 range of 2⁶² addresses and more.
const beyondCounting = math.MaxInt64

func (s *stage) patchStatus(pool, patch string) {
	s.Helper()
	_, err := pools().Patch(s.ctx, pool, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	s.must(err)
}

// counts waits for the status of a pool.
func (s *stage) counts(pool string, assigned4, available4, assigned6, available6 int64) {
	s.Helper()
	want := map[string]any{
		"assignedIPv4": assigned4, "availableIPv4": available4, "assignedIPv6": assigned6, "availableIPv6": available6,
	}
	s.await("the status of pool "+pool, func() error {
		stored, err := pools().Get(context.WithoutCancel(s.ctx), pool, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status, _ := stored.Object["status"].(map[string]any)
		delete(status, "conditions") // they are not of addresses
		if got := fmt.Sprint(status); got != fmt.Sprint(want) {
			return fmt.Errorf("it is %s, want %s", got, fmt.Sprint(want))
		}
		return nil
	})
}
