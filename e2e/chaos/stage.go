package chaos

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/router"
)

// stage is where the play takes place: a lab of light nodes with Herald, FRR on the router, Services that nobody changes
// and room for those that users make.
type stage struct {
	lab        *lab.Lab
	client     kubernetes.Interface
	dynamic    dynamic.Interface
	frr        *router.FRR
	journal    *journal
	wire       *wire
	history    *history
	attendance *attendance

	// acting is held by users while they do something, and by the judge while nobody may.
	acting sync.RWMutex

	// spared is the pod of the controller that must not end; nil is none.
	spared *corev1.Pod
}

const (
	nodesASN  = 64512
	routerASN = 64513
	nodeCount = 5
)

// furniture are the pools and all that announces them.
//
//go:embed furniture.yaml
var furniture string

// routerPassword is in furniture too. It is looked for in the logs.
const routerPassword = "open-sesame-1965"

func setUp(ctx context.Context, o Options) (*stage, error) {
	s := &stage{journal: newJournal(o.Out, o.History)}
	var err error
	s.lab, err = lab.Up(ctx, lab.Options{Name: o.Lab, Nodes: nodeCount, Light: true, Programs: herald.Programs(o.Root), Steps: o.Out})
	if err != nil {
		return nil, err
	}
	config := s.lab.RESTConfig()
	config.QPS, config.WarningHandler = -1, rest.NoWarnings{}
	s.client, err = kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if s.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, err
	}
	if err := s.install(ctx, o.Root); err != nil {
		return nil, err
	}
	if s.wire, err = watchWire(ctx, s.lab); err != nil {
		return nil, err
	}
	s.attendance = watchEndpoints(ctx, s.client, s.journal)
	s.history = watchServices(ctx, s.client, s.wire.expect, s.journal)
	return s, s.addSteady(ctx)
}

// install installs Herald, which is told to log all that it can: a secret that is in no log at this level is in none.
func (s *stage) install(ctx context.Context, root string) error {
	manifest, err := os.ReadFile(herald.Manifest(root))
	if err != nil {
		return err
	}
	if err := s.lab.Apply(ctx, strings.ReplaceAll(string(manifest), "--log-level=info", "--log-level=debug")); err != nil {
		return err
	}
	if err := herald.AwaitReady(ctx, s.lab); err != nil {
		return err
	}
	web := strings.Replace(manifests.Web, "replicas: 3", fmt.Sprintf("replicas: %d", nodeCount-1), 1)
	if err := s.lab.Apply(ctx, furniture+"---\n"+web); err != nil {
		return err
	}
	s.frr = router.NewFRR(s.lab, lab.Router)
	return errors.Join(s.frr.Start(ctx, s.routerConfig()), s.lab.AwaitRollout(ctx, "default", "deployment/web"))
}

func (s *stage) routerConfig() router.Config {
	return router.Config{ASN: routerASN, Neighbours: router.Nodes(s.lab, router.Neighbour{
		ASN: nodesASN, DualStack: true, Password: routerPassword, HoldTime: 9 * time.Second, BFD: &router.BFD{},
	})}
}

// addSteady makes Services that nobody changes. What they are given they must keep, and how long nobody or several answered
// for their addresses is what the faults are measured by.
func (s *stage) addSteady(ctx context.Context) error {
	count := map[string]int{"lan-v4": 3, "lan-v6": 3, "lan-both": 3, "local": 2, "sharing": 2, "routed": 2, "routed-local": 1}
	for name, n := range count {
		for i := range n {
			svc := newService(fmt.Sprintf("%s%s-%d", steadyPrefix, name, i), steadyWishes[name]...)
			svc.Spec.Ports[0].Port += int32(i) // those that share need ports of their own
			if _, err := s.client.CoreV1().Services("default").Create(ctx, svc, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create Service %s: %w", svc.Name, err)
			}
		}
	}
	return nil
}

const steadyPrefix = "steady-"

func isSteady(svc *corev1.Service) bool { return strings.HasPrefix(svc.Name, steadyPrefix) }

var steadyWishes = map[string][]wish{
	"lan-v4":       {ipv4},
	"lan-v6":       {ipv6},
	"lan-both":     {dualStack},
	"local":        {dualStack, localTraffic},
	"sharing":      {dualStack, fromPool("shared"), sharing("steady")},
	"routed":       {dualStack, fromPool("routed")},
	"routed-local": {dualStack, fromPool("routed"), localTraffic},
}

// on runs a command line of a shell on a host.
func (s *stage) on(ctx context.Context, host lab.Host, line string) error {
	_, err := s.lab.In(ctx, host, "sh", "-c", line)
	return err
}

// kubectl runs it until it succeeds: another fault may be about the API server.
func (s *stage) kubectl(ctx context.Context, args ...string) error {
	return herald.Await(ctx, "kubectl "+strings.Join(args, " "), func(ctx context.Context) error {
		if output, err := s.lab.Kubectl(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		return nil
	})
}

// pause waits, but not for longer than the play lasts.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
