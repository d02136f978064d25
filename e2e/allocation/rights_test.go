//go:build e2e

package allocation

import (
	"context"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/herald"
)

// metallbRights are what an installation of MetalLB grants its controller: update on statuses, and not patch.
const metallbRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "metallb-system:controller"}
rules:
- {apiGroups: [""], resources: [services, namespaces], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [nodes], verbs: [list]}
- {apiGroups: [""], resources: [services/status], verbs: [update]}
- {apiGroups: [""], resources: [events], verbs: [create, patch]}
- {apiGroups: [admissionregistration.k8s.io], resources: [validatingwebhookconfigurations], verbs: [list, watch]}
- {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [list, watch]}
- {apiGroups: [metallb.io], resources: [configurationstates], verbs: [create, delete, get, list, patch, update, watch]}
- {apiGroups: [metallb.io], resources: [configurationstates/status], verbs: [get, patch, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: controller, namespace: metallb-system}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [create, delete, get, list, patch, update, watch]}
- {apiGroups: [apps], resources: [deployments], resourceNames: [controller], verbs: [get]}
- {apiGroups: [metallb.io], resources: [bgppeers], verbs: [get, list]}
- {apiGroups: [metallb.io], resources: [ipaddresspools, bgpadvertisements, l2advertisements, communities, bfdprofiles], verbs: [get, list, watch]}
- {apiGroups: [metallb.io], resources: [ipaddresspools/status], verbs: [update]}
`

func TestWithTheRightsOfAnEarlierInstallation(t *testing.T) {
	s := newStage(t)
	manifest, err := os.ReadFile(herald.Manifest(root))
	s.must(err)
	ours, err := withoutPods(string(manifest))
	s.must(err)
	s.Cleanup(func() { s.must(world.Lab.Apply(context.WithoutCancel(s.ctx), ours)) })

	s.must(world.Client.CoreV1().Secrets(herald.Namespace).Delete(s.ctx, "memberlist", metav1.DeleteOptions{}))
	from := journal.length()
	replace(s.ctx, s.T, (*Controller).Stop, func() { s.must(world.Lab.Apply(s.ctx, metallbRights)) }, credentials)

	s.pool("granted", ranges("10.16.0.0/24", "fd10::/64"))
	svc := s.service("granted", both)
	s.holds(svc, "granted", "10.16.0.0", "fd10::")
	s.counts("granted", 1, 255, 1, beyondCounting)
	s.change(svc, v4)
	s.holds(svc, "granted", "10.16.0.0")
	s.change(svc, asking("10.16.0.9"))
	s.holds(svc, "granted", "10.16.0.9")
	s.pool("overlapping", ranges("10.16.0.0/28"))
	s.says("Invalid", overlaps)
	s.removePool("overlapping")
	s.says("Valid", "")
	s.must(states().Delete(s.ctx, "controller", metav1.DeleteOptions{}))
	s.says("Valid", "")
	s.await("the memberlist secret", func() error {
		_, err := world.Client.CoreV1().Secrets(herald.Namespace).Get(s.ctx, "memberlist", metav1.GetOptions{})
		return err
	})
	s.had(svc, "", "10.16.0.0,fd10::", "10.16.0.0", "10.16.0.9")
	for line := range strings.Lines(journal.since(from)) {
		if strings.Contains(line, `"level":"error"`) && strings.Contains(line, "forbidden") {
			s.Error(line)
		}
	}
}
