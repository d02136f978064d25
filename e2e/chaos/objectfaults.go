package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// mistake is an object that is wrong beside the rest of the configuration: what is wrong by itself the API server refuses.
type mistake struct {
	manifest string
	// told is in what users are told of it, whether it is this object that counts as wrong, or the one that it contradicts.
	told string
}

// mistakes are new objects, but for the last, which was right.
var mistakes = []mistake{
	{`{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: mistake, namespace: metallb-system},
	  spec: {addresses: [192.168.10.240-192.168.10.255]}}`, `in pool "mistake"`},
	{`{apiVersion: metallb.io/v1beta1, kind: BGPAdvertisement, metadata: {name: mistake, namespace: metallb-system},
	  spec: {ipAddressPools: [routed], aggregationLength: 16}}`, "invalid aggregation length 16"},
	{`{apiVersion: metallb.io/v1beta1, kind: Community, metadata: {name: mistake, namespace: metallb-system},
	  spec: {communities: [{name: green, value: "64512:666"}]}}`, `duplicate definition of community "green"`},
	{`{apiVersion: metallb.io/v1beta2, kind: BGPPeer, metadata: {name: mistake, namespace: metallb-system},
	  spec: {myASN: 64512, peerASN: 64514, peerAddress: 192.168.10.1}}`, "peer 192.168.10.1 already exists"},
	{`{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: shared, namespace: metallb-system},
	  spec: {autoAssign: false, addresses: [192.168.11.0/26, "fd00:11::/122", 192.168.10.240-192.168.10.255]}}`, `in pool "shared"`},
}

const sharedPool = `{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: shared, namespace: metallb-system},
  spec: {autoAssign: false, addresses: [192.168.11.0/26, "fd00:11::/122"]}}`

// invalidObject makes a mistake while the webhook is out of reach, and undoes it when it was told of. Nobody may lose an
// address by it.
func invalidObject(ctx context.Context, s *stage, f fault) error {
	n := int(f.draw % uint64(len(mistakes)))
	s.journal.note("mistake: %s", mistakes[n].manifest)
	if err := s.unreviewed(ctx, mistakes[n].manifest); err != nil {
		return err
	}
	s.journal.note("mistake is stored")
	told := herald.Await(ctx, "a ConfigurationState to tell of a mistake", func(ctx context.Context) error {
		states, err := s.kinds("configurationstates").List(ctx, metav1.ListOptions{})
		if err == nil && !mistakes[n].isTold(states.Items) {
			err = fmt.Errorf("none has %q", mistakes[n].told)
		}
		return err
	})
	if told == nil {
		s.journal.note("mistake is told of")
	}
	pause(ctx, f.lasts)
	if n == len(mistakes)-1 {
		return errors.Join(told, s.apply(ctx, sharedPool))
	}
	return errors.Join(told, s.lab.Delete(ctx, mistakes[n].manifest))
}

// isTold says whether one of the ConfigurationStates tells of this very mistake.
func (m mistake) isTold(states []unstructured.Unstructured) bool {
	return slices.ContainsFunc(states, func(o unstructured.Unstructured) bool {
		summary, _, _ := unstructured.NestedString(o.Object, "status", "errorSummary")
		return strings.Contains(summary, m.told)
	})
}

// unreviewed applies an object while the API server cannot ask Herald's webhook, which then does not count.
func (s *stage) unreviewed(ctx context.Context, manifest string) error {
	block := "nft -f - <<'END'\nadd table inet webhook\nadd chain inet webhook out { type filter hook output priority -300; }\n" +
		"add rule inet webhook out tcp dport 9443 reject with tcp reset\nEND"
	if err := s.on(ctx, lab.Control, block); err != nil {
		return err
	}
	return errors.Join(s.apply(ctx, manifest), s.on(ctx, lab.Control, "nft delete table inet webhook"))
}

// apply applies a manifest, again and again if another fault is about the API server.
func (s *stage) apply(ctx context.Context, manifest string) error {
	return herald.Await(ctx, "an object to be applied", func(ctx context.Context) error { return s.lab.Apply(ctx, manifest) })
}

// What befalls the router.

func sessionsReset(ctx context.Context, s *stage, _ fault) error {
	return s.frr.Command(ctx, "clear bgp *")
}

func routerRestarted(ctx context.Context, s *stage, _ fault) error {
	if err := s.frr.Kill(); err != nil {
		return fmt.Errorf("kill FRR: %w", err)
	}
	return s.frr.Start(ctx, s.routerConfig())
}
