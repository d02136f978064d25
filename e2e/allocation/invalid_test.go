//go:build e2e

package allocation

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/herald-lb/herald/e2e/herald"
)

func states() dynamic.ResourceInterface {
	kind := schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "configurationstates"}
	return world.Dynamic.Resource(kind).Namespace(herald.Namespace)
}

// says waits until the controller's ConfigurationState has the result, and a text in its summary.
func (s *stage) says(result, summary string) {
	s.Helper()
	s.await(fmt.Sprintf("the controller to report %s: %s", result, summary), func() error {
		state, err := states().Get(s.ctx, "controller", metav1.GetOptions{})
		if err != nil {
			return err
		}
		gotResult, _, _ := unstructured.NestedString(state.Object, "status", "result")
		got, _, _ := unstructured.NestedString(state.Object, "status", "errorSummary")
		if gotResult != result || !strings.Contains(got, summary) || summary == "" && got != "" {
			return fmt.Errorf("it says %s: %s", gotResult, got)
		}
		return nil
	})
}

// blames waits for the event that tells of a problem on the pool itself, and finds it in the log.
func (s *stage) blames(pool, problem string) {
	s.Helper()
	stored, err := pools().Get(s.ctx, pool, metav1.GetOptions{})
	s.must(err)
	s.await("an event on the pool "+pool, func() error {
		return find(s.events(stored.GetUID(), herald.Namespace), corev1.EventTypeWarning, "ConfigurationError", problem)
	})
	for _, e := range s.events(stored.GetUID(), herald.Namespace) {
		if e.Count > 1 {
			s.Errorf("pool %s: told %d times: %s", pool, e.Count, e.Message)
		}
	}
	s.await("a line in the log", func() error {
		for line := range strings.Lines(journal.since(0)) {
			if strings.Contains(line, `"level":"error"`) && strings.Contains(line, pool) && strings.Contains(line, "spec.addresses") {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

const overlaps = "overlaps with already defined CIDR"

func TestInvalidPools(t *testing.T) {
	s := newStage(t)
	s.says("Valid", "")

	s.on("a pool that overlaps an older one gives nothing, and harms nobody", func(s *stage) {
		s.pool("older", ranges("10.11.0.0/24"))
		svc := s.service("served")
		s.holds(svc, "older", "10.11.0.0")
		s.pool("newer", ranges("10.11.0.128/25", "10.11.1.0/24"))
		s.says("Invalid", overlaps)
		s.blames("newer", overlaps)

		waiting := s.service("asks-newer", fromPool("newer"))
		s.waits(waiting, "AllocationFailed", `unknown pool "newer"`)
		other := s.service("asks-older", asking("10.11.0.200"))
		s.holds(other, "older", "10.11.0.200")

		s.pool("newer", ranges("10.11.1.0/24"))
		s.says("Valid", "")
		s.holds(waiting, "newer", "10.11.1.0")
		s.had(svc, "", "10.11.0.0")
	})
	s.on("a pool that is edited to overlap goes on as it was", func(s *stage) {
		s.pool("older", ranges("10.11.2.0/24"))
		s.pool("edited", ranges("10.11.3.0/24"))
		svc := s.service("served", fromPool("edited"))
		s.holds(svc, "edited", "10.11.3.0")
		s.pool("edited", ranges("10.11.2.0/28"))
		s.says("Invalid", overlaps)
		s.blames("edited", overlaps)
		next := s.service("next", fromPool("edited"))
		s.holds(next, "edited", "10.11.3.1")
		other := s.service("other", fromPool("older"))
		s.holds(other, "older", "10.11.2.0")

		s.pool("edited", ranges("10.11.3.0/28"))
		s.says("Valid", "")
		s.had(svc, "", "10.11.3.0")
		s.had(next, "", "10.11.3.1")
	})
	s.on("a restart in that state takes no address away, and what the pool has is given to nobody else", func(s *stage) {
		s.pool("a-older", ranges("10.11.4.0/24"))
		s.pool("b-edited", ranges("10.11.5.0/24", "fd0b::/64"))
		svc := s.service("served", fromPool("b-edited"), both)
		s.holds(svc, "b-edited", "10.11.5.0", "fd0b::")
		s.pool("b-edited", ranges("10.11.4.0/28"))
		s.says("Invalid", overlaps)
		restart(s.ctx, s.T, (*Controller).Stop, func() {})
		s.says("Invalid", overlaps)
		other := s.service("other", fromPool("a-older"))
		s.holds(other, "a-older", "10.11.4.0")
		s.had(svc, "", "10.11.5.0,fd0b::")

		s.pool("b-edited", ranges("10.11.5.0/24", "fd0b::/64"))
		s.says("Valid", "")
		s.had(svc, "", "10.11.5.0,fd0b::")
	})
	s.on("an invalid pool that is deleted is mended", func(s *stage) {
		s.pool("older", ranges("10.11.6.0/24"))
		s.pool("newer", ranges("10.11.6.0/28"))
		s.says("Invalid", overlaps)
		s.removePool("newer")
		s.says("Valid", "")
	})
	s.on("a pool that the rules of its kind refuse is not stored", func(s *stage) {
		if err := s.store("refused", ranges("10.11.7.0-nonsense")); err == nil {
			s.Error("the API server took it")
		}
	})
}

func TestConfigurationStateIsMadeAgain(t *testing.T) {
	s := newStage(t)
	s.says("Valid", "")
	s.must(states().Delete(s.ctx, "controller", metav1.DeleteOptions{}))
	s.says("Valid", "")
}
