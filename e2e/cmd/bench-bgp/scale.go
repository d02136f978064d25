package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/e2e/allocation"
	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
)

// teller is the node that holds the sessions here.
const teller lab.Host = "node1"

// scale counts from the creation of the BGPPeers until both routers have all routes, and from the change of the
// BGPAdvertisement until both have the community on all of them.
func (b *bench) scale(ctx context.Context) error {
	if err := b.crowd(ctx); err != nil {
		return err
	}
	neighbour := []router.Neighbour{{Address: lab.AddressesOf(teller).V4, ASN: nodesASN}}
	config := router.Config{ASN: routerASN, Neighbours: neighbour}
	if err := errors.Join(b.frr.Configure(ctx, config), b.bird.Configure(ctx, config)); err != nil {
		return err
	}
	var all, changed []time.Duration
	var memory []int
	for run := range (b.runs + 1) / 2 {
		took, err := b.offer(ctx)
		if err != nil {
			return err
		}
		recolour, err := b.recolour(ctx, run)
		if err != nil {
			return err
		}
		bytes, err := b.memory(ctx)
		if err != nil {
			return err
		}
		say("%2d: all routes in %s, another community on all in %s, the speaker takes %s", run+1, milliseconds(took), milliseconds(recolour), megabytes(bytes))
		all, changed, memory = append(all, took), append(changed, recolour), append(memory, bytes)
		if err := b.retract(ctx); err != nil {
			return err
		}
	}
	b.span(fmt.Sprintf("%d Services: BGPPeers created → both routers have all routes", b.services), all)
	b.span(fmt.Sprintf("a community changed on %d prefixes → both routers have it", b.services), changed)
	addRow(b, "memory of the speaker (RSS)", memory, megabytes)
	return nil
}

// crowd creates the Services, each with an endpoint, and waits until all have addresses.
func (b *bench) crowd(ctx context.Context) error {
	err := allocation.InParallel(32, b.services, func(n int) error {
		name := fmt.Sprintf("crowd-%05d", n)
		_, err := b.client.DiscoveryV1().EndpointSlices("default").Create(ctx, endpoints(name, true), metav1.CreateOptions{})
		if err != nil {
			return err
		}
		_, err = b.client.CoreV1().Services("default").Create(ctx, service(name, corev1.ServiceExternalTrafficPolicyCluster), metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("create Services: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return herald.Await(ctx, "Services to be given addresses", func(ctx context.Context) error {
		list, err := b.client.CoreV1().Services("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		waiting := 0
		for _, svc := range list.Items {
			if svc.Spec.Type == corev1.ServiceTypeLoadBalancer && len(svc.Status.LoadBalancer.Ingress) == 0 {
				waiting++
			}
		}
		if waiting > 0 {
			return fmt.Errorf("%d have none", waiting)
		}
		return nil
	})
}

// objects is where the API server has Herald's. Requests are made without kubectl, whose own start would take longer than
// what is measured.
const objects = "/apis/metallb.io"

// offer creates both peers at once.
func (b *bench) offer(ctx context.Context) (time.Duration, error) {
	on := fmt.Sprintf("nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]", teller)
	start := time.Now()
	for _, manifest := range []string{peer("frr", lab.Router, on), peer("bird", lab.Router2, on)} {
		text, err := yaml.YAMLToJSON([]byte(manifest))
		if err != nil {
			return 0, err
		}
		request := b.client.Discovery().RESTClient().Post().AbsPath(objects, "v1beta2", "namespaces", herald.Namespace, "bgppeers")
		if err := request.Body(text).Do(ctx).Error(); err != nil {
			return 0, fmt.Errorf("create a BGPPeer: %w", err)
		}
	}
	err := b.awaitAtBoth(ctx, func(s router.Session) error {
		if s.Received < b.services {
			return fmt.Errorf("%d routes", s.Received)
		}
		return nil
	})
	return time.Since(start), err
}

func (b *bench) retract(ctx context.Context) error {
	if err := b.unpeer(ctx, "frr", "bird"); err != nil {
		return err
	}
	return b.awaitAtBoth(ctx, func(s router.Session) error {
		if s.Established {
			return errors.New("it is established")
		}
		return nil
	})
}

// awaitAtBoth waits until what both routers say of the node's session is as wanted.
func (b *bench) awaitAtBoth(ctx context.Context, wanted func(router.Session) error) error {
	for _, ask := range []func(context.Context) ([]router.Session, error){b.bird.Sessions, b.frr.Sessions} {
		err := herald.Await(ctx, "the session", func(ctx context.Context) error {
			sessions, err := ask(ctx)
			if err != nil {
				return err
			}
			return wanted(router.With(sessions, lab.AddressesOf(teller).V4))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recolour gives all routes another community, and waits until both routers see it on all: on the same sessions.
func (b *bench) recolour(ctx context.Context, run int) (time.Duration, error) {
	before, err := b.frr.Sessions(ctx)
	if err != nil {
		return 0, err
	}
	community := fmt.Sprintf("%d:%d", nodesASN, 1000+run)
	patch := `{"spec":{"communities":["` + community + `"]}}`
	start := time.Now()
	request := b.client.Discovery().RESTClient().Patch(types.MergePatchType).AbsPath(objects, "v1beta1", "namespaces", herald.Namespace, "bgpadvertisements", "routed")
	if err := request.Body([]byte(patch)).Do(ctx).Error(); err != nil {
		return 0, fmt.Errorf("change the community: %w", err)
	}
	for _, count := range []func(context.Context, string) (int, error){b.birdWith, b.frrWith} {
		if err := b.awaitCount(ctx, community, count); err != nil {
			return 0, err
		}
	}
	took := time.Since(start)
	after, err := b.frr.Sessions(ctx)
	if node := lab.AddressesOf(teller).V4; err == nil && router.With(after, node).Ups != router.With(before, node).Ups {
		err = errors.New("the session was reset")
	}
	return took, err
}

func (b *bench) awaitCount(ctx context.Context, community string, count func(context.Context, string) (int, error)) error {
	return herald.Await(ctx, "the community on all routes", func(ctx context.Context) error {
		n, err := count(ctx, community)
		if err == nil && n < b.services {
			err = fmt.Errorf("it is on %d", n)
		}
		return err
	})
}

// birdWith counts BIRD's routes with a community.
func (b *bench) birdWith(ctx context.Context, community string) (int, error) {
	pair := "(" + strings.ReplaceAll(community, ":", ",") + ")"
	said, err := b.cluster.In(ctx, lab.Router2, "birdc", "show", "route", "where", pair, "~", "bgp_community", "table", "master4", "count")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(said) { // 3 of 10000 routes for 10000 networks in table master4
		if words := strings.Fields(line); len(words) > 3 && words[1] == "of" {
			return strconv.Atoi(words[0])
		}
	}
	return 0, fmt.Errorf("BIRD says %q", said)
}

// frrWith counts FRR's routes with a community, each on a line with its mark as valid and best.
func (b *bench) frrWith(ctx context.Context, community string) (int, error) {
	said, err := b.cluster.In(ctx, lab.Router, "vtysh", "-c", "show bgp ipv4 unicast community "+community)
	return strings.Count(said, "\n*>"), err
}

// memory is the speaker's VmRSS of proc(5), in bytes.
func (b *bench) memory(ctx context.Context) (int, error) {
	pod, err := herald.Speaker(ctx, b.cluster, teller)
	if err != nil {
		return 0, err
	}
	status, err := herald.ProcessFile(ctx, b.cluster, pod, "status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(status, "VmRSS:")
	kilobytes, err := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kilobytes << 10, err
}
