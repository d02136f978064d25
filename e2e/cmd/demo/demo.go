package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/manifests"
	"github.com/herald-lb/herald/e2e/router"
)

type demo struct {
	*story
	root, labName string

	lab       *lab.Lab
	addresses []netip.Addr // of the Service on the LAN
	owner     lab.Host     // who announces them

	frr    *router.FRR
	routed []netip.Addr // of the Service that the router knows the way to
}

// tell tells the story from its beginning: an earlier demo's cluster goes.
func (d *demo) tell(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{
		d.startCluster, d.installHerald, d.configure, d.createService, d.reachService, d.findOwner, d.pullCable, d.plugCableIn,
		d.startRouter, d.routeService, d.reachFromFar, d.cutRoutedNode,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return d.end()
}

func (d *demo) startCluster(ctx context.Context) (err error) {
	d.chapter("A Kubernetes cluster: three nodes with real kubelets, containerd and kube-proxy")
	d.lab, err = lab.Up(ctx, lab.Options{Name: d.labName, Steps: d.story})
	if err != nil {
		return err
	}
	d.measured("cluster up", "%.1f s", d.elapsed().Seconds())
	return nil
}

func (d *demo) installHerald(ctx context.Context) error {
	d.chapter("Herald")
	d.command("kubectl apply -f config/manifests/herald.yaml")
	start := time.Now()
	if err := herald.Install(ctx, d.lab, d.root); err != nil {
		return err
	}
	d.say("one controller and a speaker on each node are ready")
	d.measured("Herald installed and ready", "%.1f s", time.Since(start).Seconds())
	return nil
}

func (d *demo) configure(ctx context.Context) error {
	d.chapter("A pool of addresses, announced on the LAN")
	d.command("kubectl apply -f e2e/manifests/pool.yaml")
	d.quote(manifests.Pool)
	return d.lab.Apply(ctx, manifests.Pool)
}

func (d *demo) createService(ctx context.Context) error {
	d.chapter("Three pods, and a Service of type LoadBalancer")
	d.command("kubectl apply -f e2e/manifests/web.yaml")
	if err := d.applyWeb(ctx); err != nil {
		return err
	}
	d.command("kubectl apply -f e2e/manifests/service.yaml")
	d.quote(manifests.Service)
	took, addresses, err := d.assign(ctx, manifests.Service)
	if err != nil {
		return err
	}
	d.addresses = addresses
	d.found("%s were assigned %s after the Service was created", inWords(d.addresses), milliseconds(took))
	d.measured("Service created → addresses assigned", "%s", milliseconds(took))
	return nil
}

// assign creates the Service without kubectl, whose own start would take longer than all the rest.
func (d *demo) assign(ctx context.Context, manifest string) (time.Duration, []netip.Addr, error) {
	service := new(corev1.Service)
	if err := yaml.UnmarshalStrict([]byte(manifest), service); err != nil {
		return 0, nil, fmt.Errorf("parse the Service's manifest: %w", err)
	}
	watch, err := herald.WatchAssignments(ctx, d.lab, "default")
	if err != nil {
		return 0, nil, err
	}
	defer watch.Stop()
	if err := watch.Create(ctx, service); err != nil {
		return 0, nil, err
	}
	assigned, err := watch.Await(ctx)
	if err != nil {
		return 0, nil, err
	}
	addresses, err := herald.AwaitAddresses(ctx, d.lab, "default", service.Name, 2)
	return assigned[0].Took, addresses, err
}

func (d *demo) applyWeb(ctx context.Context) error {
	if err := d.lab.Apply(ctx, manifests.Web); err != nil {
		return err
	}
	return d.lab.AwaitRollout(ctx, "default", "deployment/web")
}

func (d *demo) reachService(ctx context.Context) error {
	d.chapter("A client on the LAN")
	return d.reach(ctx, lab.Client, d.addresses)
}

// reach asks until two nodes have answered, so that a person sees the load being balanced.
func (d *demo) reach(ctx context.Context, from lab.Host, addresses []netip.Addr) error {
	for _, address := range addresses {
		d.command("lab in %s curl %s", from, url(address))
		nodes := map[string]bool{}
		if err := herald.Await(ctx, "answers from several nodes at "+url(address), func(ctx context.Context) error {
			return d.curl(ctx, from, url(address), nodes)
		}); err != nil {
			return err
		}
	}
	d.found("pods on several nodes answer, over IPv4 and IPv6")
	return nil
}

// curl shows an answer if its node has not answered yet, and returns an error while the nodes are too few.
func (d *demo) curl(ctx context.Context, from lab.Host, url string, nodes map[string]bool) error {
	answer, err := d.lab.In(ctx, from, "curl", "--silent", "--show-error", "--max-time", "1", url)
	if err != nil {
		return err
	}
	_, node, _ := strings.Cut(strings.TrimSpace(answer), " on ")
	if !nodes[node] {
		d.say("%s", strings.TrimSpace(answer))
	}
	nodes[node] = true
	if len(nodes) < 2 {
		return fmt.Errorf("only %s answered", node)
	}
	return nil
}

func url(address netip.Addr) string {
	if address.Is4() {
		return fmt.Sprintf("http://%s", address)
	}
	return fmt.Sprintf("http://[%s]", address)
}

func (d *demo) findOwner(ctx context.Context) (err error) {
	d.chapter("Who announces the addresses")
	for _, address := range d.addresses {
		d.command("lab in client %s", question(address))
		d.owner, err = herald.AwaitOwner(ctx, d.lab, address, herald.Anyone)
		if err != nil {
			return err
		}
		d.say("%s answers for %s", d.owner, address)
	}
	d.found("one node answers for the Service: %s", d.owner)
	return nil
}

func question(address netip.Addr) string {
	if address.Is4() {
		return fmt.Sprintf("arping -I eth0 %s", address)
	}
	return fmt.Sprintf("ndisc6 %s eth0", address)
}

func (d *demo) pullCable(ctx context.Context) error {
	d.chapter("The cable of %s is pulled", d.owner)
	if err := d.movePods(ctx, d.owner); err != nil {
		return err
	}
	d.say("the client opens a new connection every 10 ms to each address")
	clients, err := herald.StartClients(ctx, d.lab, lab.Client, d.addresses)
	if err != nil {
		return err
	}
	d.command("lab cable %s out", d.owner)
	if err := d.lab.CableOut(ctx, d.owner); err != nil {
		return err
	}
	if err := clients.AwaitSteady(ctx, time.Now()); err != nil {
		return err
	}
	for i, r := range clients.Stop() {
		d.found("%s: %s", d.addresses[i], r)
		d.measured("node cut off: outage over "+family(d.addresses[i]), "%s", milliseconds(r.Outage))
	}
	heir, err := herald.AwaitOwner(ctx, d.lab, d.addresses[0], herald.OtherThan(d.owner))
	if err == nil {
		d.found("%s has taken over", heir)
	}
	return err
}

func (d *demo) movePods(ctx context.Context, node lab.Host) error {
	d.say("the pods move to the other nodes first, so that the outage is that of the announcement alone")
	d.command("kubectl drain %s --pod-selector app=web", node)
	if err := herald.Drain(ctx, d.lab, node, "app=web"); err != nil {
		return err
	}
	return d.lab.AwaitRollout(ctx, "default", "deployment/web")
}

func (d *demo) plugCableIn(ctx context.Context) error {
	d.chapter("The cable is back")
	clients, err := herald.StartClients(ctx, d.lab, lab.Client, d.addresses)
	if err != nil {
		return err
	}
	d.command("lab cable %s in; kubectl uncordon %s", d.owner, d.owner)
	if err := errors.Join(d.lab.CableIn(ctx, d.owner), herald.Uncordon(ctx, d.lab, d.owner)); err != nil {
		return err
	}
	if _, err := herald.AwaitOwner(ctx, d.lab, d.addresses[0], herald.Only(d.owner)); err != nil {
		return err
	}
	d.found("%s announces again", d.owner)
	if err := clients.AwaitSteady(ctx, time.Now()); err != nil {
		return err
	}
	for i, r := range clients.Stop() {
		d.found("%s: %s", d.addresses[i], r)
		d.measured("node back: failed connections over "+family(d.addresses[i]), "%d of %d", r.Failed, r.Attempts)
	}
	return nil
}

func (d *demo) end() error {
	d.chapter("In figures")
	d.measured("the whole demo", "%.0f s", d.elapsed().Seconds())
	if err := d.result.Write(d.out, "   "); err != nil {
		return err
	}
	d.hint()
	return nil
}

func (d *demo) hint() {
	command, down := "build/bin/lab", "make demo-down"
	if d.labName != lab.DefaultName {
		command += " --name " + d.labName
		down = command + " down"
	}
	d.chapter("The cluster stays up; try")
	d.command("%s kubectl describe service web", command)
	d.command("%s in client curl %s", command, url(d.addresses[0]))
	d.command("%s in router vtysh -c 'show bgp summary'", command)
	d.command("%s kubectl get --namespace metallb-system bgpsessionstates", command)
	d.command("%s kill %s", command, d.owner)
	d.command("%s revive %s", command, d.owner)
	d.command("%s kubectl logs --namespace metallb-system daemonset/speaker", command)
	d.command("%s", down)
}

func inWords(addresses []netip.Addr) string {
	var words []string
	for _, a := range addresses {
		words = append(words, a.String())
	}
	return strings.Join(words, " and ")
}

func family(address netip.Addr) string {
	if address.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
