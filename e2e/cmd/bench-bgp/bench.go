package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/herald-lb/herald/e2e/figures"
	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/router"
	"github.com/herald-lb/herald/e2e/table"
)

type options struct {
	lab, root      string
	runs, services int
}

// bench is a lab of three light nodes with Herald, three pods that answer, FRR on one router and BIRD on the other.
type bench struct {
	options
	cluster *lab.Lab
	client  kubernetes.Interface // for many requests at once
	frr     *router.FRR
	bird    *router.BIRD
	table   table.Table
}

// pools are addresses that routers alone know the way to.
const pools = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: routed, namespace: metallb-system}
spec: {addresses: [10.200.0.0/16, "2001:db8:51::/112"]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: routed, namespace: metallb-system}
spec: {ipAddressPools: [routed]}
`

const (
	routerASN = 64513
	nodesASN  = 64512
)

func setUp(ctx context.Context, o options) (*bench, error) {
	b := &bench{options: o, table: table.Table{Heading: []string{"", "minimum", "median", "p99", "maximum", "of"}}}
	var err error
	if b.cluster, err = lab.Up(ctx, lab.Options{Name: o.lab, Light: true, Programs: herald.Programs(o.root), Steps: os.Stdout}); err != nil {
		return nil, err
	}
	config := b.cluster.RESTConfig()
	config.QPS, config.Burst = 5000, 5000
	if b.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if err := herald.InstallLight(ctx, b.cluster, o.root); err != nil {
		return nil, err
	}
	if err := herald.Furnish(ctx, b.cluster, pools); err != nil {
		return nil, err
	}
	b.frr, b.bird = router.NewFRR(b.cluster, lab.Router), router.NewBIRD(b.cluster, lab.Router2)
	idle := router.Config{ASN: routerASN}
	return b, errors.Join(b.frr.Start(ctx, idle), b.bird.Start(ctx, idle))
}

// peerAll has every node hold a session with FRR. The lines are added to the BGPPeer's spec.
func (b *bench) peerAll(ctx context.Context, common router.Neighbour, lines string) error {
	common.ASN, common.DualStack = nodesASN, true
	if err := b.frr.Configure(ctx, router.Config{ASN: routerASN, Neighbours: router.Nodes(b.cluster, common)}); err != nil {
		return err
	}
	if err := b.cluster.Apply(ctx, peer("frr", lab.Router, "dualStackAddressFamily: true", lines)); err != nil {
		return err
	}
	return b.awaitSessions(ctx)
}

func (b *bench) awaitSessions(ctx context.Context) error {
	return herald.Await(ctx, "sessions with all nodes", func(ctx context.Context) error {
		sessions, err := b.frr.Sessions(ctx)
		if err != nil {
			return err
		}
		for _, s := range sessions {
			if !s.Established {
				return fmt.Errorf("that with %s is in state %s", s.Neighbour, s.State)
			}
		}
		return nil
	})
}

// awaitWatched waits until BFD is up with all nodes: before that, it would not notice anything.
func (b *bench) awaitWatched(ctx context.Context) error {
	return herald.Await(ctx, "BFD with all nodes", func(ctx context.Context) error {
		paths, err := b.frr.BFD(ctx)
		if err != nil {
			return err
		}
		up := 0
		for _, p := range paths {
			if p.Up {
				up++
			}
		}
		if up != len(b.cluster.NodeNames()) {
			return fmt.Errorf("they are %+v", paths)
		}
		return nil
	})
}

// peer is a BGPPeer. The lines are added to its spec.
func peer(name string, at lab.Host, lines ...string) string {
	text := fmt.Sprintf("apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: %s, namespace: metallb-system}\nspec:\n", name)
	for _, line := range append(lines, fmt.Sprintf("myASN: %d", nodesASN), fmt.Sprintf("peerASN: %d", routerASN), fmt.Sprintf("peerAddress: %s", lab.AddressesOf(at).V4)) {
		text += "  " + line + "\n"
	}
	return text
}

func (b *bench) unpeer(ctx context.Context, names ...string) error {
	for _, name := range names {
		deletion := b.cluster.Kubectl(ctx, "delete", "bgppeer", name, "--namespace", herald.Namespace, "--ignore-not-found")
		if output, err := deletion.CombinedOutput(); err != nil {
			return fmt.Errorf("delete BGPPeer %s: %w: %s", name, err, output)
		}
	}
	return nil
}

// service needs no node port, of which there are fewer than Services here, and no rules of kube-proxy, whose work would
// take the machine's cores from what is measured.
func service(name string, policy corev1.ServiceExternalTrafficPolicy) *corev1.Service {
	none := false
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"service.kubernetes.io/service-proxy-name": "none"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: &none, ExternalTrafficPolicy: policy,
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Ports: []corev1.ServicePort{{Port: 80}},
		},
	}
}

// host is the prefix of an address alone.
func host(address netip.Addr) netip.Prefix { return netip.PrefixFrom(address, address.BitLen()) }

// say tells the person who waits how far it is.
func say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

// span adds a row of durations, number one of numbers.
func (b *bench) span(what string, took []time.Duration) { addRow(b, what, took, milliseconds) }

func (b *bench) number(what string, numbers []int) {
	addRow(b, what, numbers, func(n int) string { return fmt.Sprint(n) })
}

func addRow[T int | time.Duration](b *bench, what string, measured []T, format func(T) string) {
	f := figures.Of(measured)
	say("%s: median %s", what, format(f.Median))
	b.table.Add(what, format(f.Minimum), format(f.Median), format(f.P99), format(f.Maximum), fmt.Sprint(len(measured)))
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

func megabytes(bytes int) string { return fmt.Sprintf("%.0f MB", float64(bytes)/1e6) }
