//go:build e2e

package bgp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// Two advertisements that give the routes of one Service different localPrefs contradict each other where a Service's
// labels bring them together. That Service is not offered, and others are.
func TestConflictingAdvertisements(t *testing.T) {
	ctx := begin(t)
	everyNode(ctx, t, frr, "frr")
	create(ctx, t, advertisement("low", "localPref: 100", "serviceSelectors: [{matchLabels: {tier: low}}, {matchLabels: {tier: both}}]"))
	create(ctx, t, advertisement("high", "localPref: 200", "serviceSelectors: [{matchLabels: {tier: high}}, {matchLabels: {tier: both}}]"))
	both := service(ctx, t, "both", labelled("tier", "both"))
	low := service(ctx, t, "low", labelled("tier", "low"))
	for _, address := range low {
		awaitRoutes(ctx, t, frr, host(address), nodes4(), anyRoute)
	}
	for _, address := range both {
		awaitRoutes(ctx, t, frr, host(address), nil, anyRoute)
	}
	awaitBGPStatuses(ctx, t, "both", nil, 0)
	awaitLog(ctx, t, "node1", `"reason":"conflictingAdvertisements"`, `"service":"default/both"`)

	change(ctx, t, "BGPAdvertisement", "high", "spec: {localPref: 100}")
	for _, address := range both {
		awaitRoutes(ctx, t, frr, host(address), nodes4(), anyRoute)
	}
	awaitBGPStatuses(ctx, t, "both", []string{"frr"}, 3)
}

// awaitLog waits until a node's speaker has logged a line that holds all of these.
func awaitLog(ctx context.Context, t *testing.T, node lab.Host, words ...string) {
	t.Helper()
	await(ctx, t, fmt.Sprintf("a line with %q in the log of %s's speaker", words, node), func(ctx context.Context) error {
		logs, err := cluster.In(ctx, node, "sh", "-c", "cat /var/log/"+herald.Namespace+"_speaker-*.log")
		if err != nil {
			return err
		}
		for line := range strings.Lines(logs) {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
				return nil
			}
		}
		return errors.New("there is none")
	})
}
