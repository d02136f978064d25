package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

const (
	// indulgence is how long the judge waits for everything to be right. It is much longer than anything takes, and ends
	// plays that would never go on. What takes longest is Kubernetes' own: when the API server was away, its controllers and
	// kubelets may look for it once a minute, and one waits for the other.
	indulgence = 3 * time.Minute
	// calm is how long everything must have been right on the wire.
	calm = time.Second
)

// settle waits until everything is as it should be, while the users pause, and returns what is not if that takes too long.
func (s *stage) settle(ctx context.Context) (complaints []string, err error) {
	noted := ""
	for end := time.Now().Add(indulgence); ; pause(ctx, 100*time.Millisecond) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if complaints, err = s.complaints(ctx); err != nil {
			complaints = []string{err.Error()} // the API server may be on its way back
		}
		if len(complaints) == 0 || time.Now().After(end) {
			return complaints, nil
		}
		if complaints[0] != noted {
			noted = complaints[0]
			s.journal.note("not settled: %s", noted)
		}
	}
}

// complaints are what is not as it should be. Where a part cannot be judged before another is right, it is not.
func (s *stage) complaints(ctx context.Context) ([]string, error) {
	if complaints, err := s.unready(ctx); err != nil || len(complaints) > 0 {
		return complaints, err
	}
	w, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	if complaints := slices.Concat(w.apart(), w.unserved()); len(complaints) > 0 {
		return complaints, nil
	}
	if complaints, err := s.wrongOnWire(w); err != nil || len(complaints) > 0 {
		return complaints, err
	}
	routes, err1 := s.wrongOnRouter(ctx, w)
	statuses, err2 := s.wrongStatuses(ctx, w)
	states, err3 := s.invalidStates(ctx)
	return slices.Concat(routes, statuses, states), errors.Join(err1, err2, err3)
}

// unready tells which of Herald's pods are not what their controllers want them to be.
func (s *stage) unready(ctx context.Context) (complaints []string, err error) {
	for component, want := range map[string]int{"controller": 2, "speaker": nodeCount} {
		pods, err := herald.Pods(ctx, s.lab, component)
		if err != nil {
			return nil, err
		}
		ready := 0
		for _, p := range pods {
			if p.DeletionTimestamp == nil && isReady(&p) {
				ready++
			}
		}
		if ready != want || len(pods) != want {
			complaints = append(complaints, fmt.Sprintf("%d of %d pods of the %s are ready", ready, len(pods), component))
		}
	}
	return complaints, nil
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// look reads the world from the API server.
func (s *stage) look(ctx context.Context) (w world, err error) {
	services, err := s.client.CoreV1().Services("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return w, err
	}
	for _, svc := range services.Items {
		if isSteady(&svc) || strings.HasPrefix(svc.Name, crowdPrefix) {
			w.services = append(w.services, svc)
		}
	}
	slices, err := s.client.DiscoveryV1().EndpointSlices("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		return w, err
	}
	w.slices = slices.Items
	nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return w, err
	}
	for _, n := range nodes.Items {
		if _, excluded := n.Labels[corev1.LabelNodeExcludeBalancers]; !excluded {
			w.eligible = append(w.eligible, lab.Host(n.Name))
		}
	}
	return w, nil
}

// wrongOnWire tells which addresses are not answered for as they should be, and have been for a while.
func (s *stage) wrongOnWire(w world) (complaints []string, err error) {
	answers := w.answers()
	for address := range answers {
		s.wire.expect(address, true) // the watch of Services may be late after the API server was away
	}
	err = s.wire.read(func(t *timeline) {
		for address := range t.spans {
			if _, held := answers[address]; !held {
				answers[address] = nil // nobody is to answer
			}
		}
		for _, address := range slices.SortedFunc(maps.Keys(answers), netip.Addr.Compare) {
			by, since := t.now(address)
			want := answers[address]
			switch {
			case !rightlyAnswered(by, want):
				complaints = append(complaints, fmt.Sprintf("%s is answered for by %v, want one of %v", address, by, want))
			case t.until.Sub(since) < calm:
				complaints = append(complaints, fmt.Sprintf("%s is answered for by %v since a moment ago", address, by))
			}
		}
		if silence := time.Since(t.until); silence > calm {
			complaints = append(complaints, fmt.Sprintf("nothing was heard for %v", silence))
		}
	})
	return complaints, err
}

// rightlyAnswered says whether one of the wanted answers, and nobody else; or nobody, if nobody is wanted.
func rightlyAnswered(by, want []lab.Host) bool {
	if len(want) == 0 {
		return len(by) == 0
	}
	return len(by) == 1 && slices.Contains(want, by[0])
}

// wrongOnRouter holds the router's table against what it should have.
func (s *stage) wrongOnRouter(ctx context.Context, w world) (complaints []string, err error) {
	routes, err := s.frr.Routes(ctx)
	if err != nil {
		return nil, err
	}
	got := map[netip.Prefix][]lab.Host{}
	for _, r := range routes {
		from, _ := netip.ParseAddr(r.From)
		host, _ := s.lab.HostAt(from)
		got[r.Prefix] = append(got[r.Prefix], host)
		if !slices.Equal(r.Communities, []string{"64512:100"}) {
			complaints = append(complaints, fmt.Sprintf("the route to %s by %s carries the communities %v", r.Prefix, host, r.Communities))
		}
	}
	want := w.routes()
	for prefix, hosts := range got {
		if slices.Sort(hosts); !slices.Equal(hosts, want[prefix]) {
			complaints = append(complaints, fmt.Sprintf("the router knows %s by %v, want %v", prefix, hosts, want[prefix]))
		}
	}
	for prefix, hosts := range want {
		if got[prefix] == nil {
			complaints = append(complaints, fmt.Sprintf("the router does not know %s, want it by %v", prefix, hosts))
		}
	}
	return complaints, nil
}

// wrongStatuses tells which ServiceL2Statuses name another node than the one that answers, and which are missing.
func (s *stage) wrongStatuses(ctx context.Context, w world) (complaints []string, err error) {
	list, err := s.kinds("servicel2statuses").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	told := map[string][]lab.Host{}
	for _, o := range list.Items {
		service, _, _ := unstructured.NestedString(o.Object, "status", "serviceName")
		node, _, _ := unstructured.NestedString(o.Object, "status", "node")
		told[service] = append(told[service], lab.Host(node))
	}
	err = s.wire.read(func(t *timeline) {
		for i := range w.services {
			svc := &w.services[i]
			answering := t.answering(addresses(svc))
			if isLocal(svc) && len(told[svc.Name]) == 0 && w.sharesAny(svc) {
				continue // another Service may have brought the addresses to a node without pods of this one
			}
			if !slices.Equal(told[svc.Name], answering) {
				complaints = append(complaints, fmt.Sprintf("%v answer for Service %s, and its ServiceL2Statuses name %v", answering, svc.Name, told[svc.Name]))
			}
		}
	})
	return complaints, err
}

// invalidStates tells which ConfigurationStates find something wrong, or are missing.
func (s *stage) invalidStates(ctx context.Context) (complaints []string, err error) {
	list, err := s.kinds("configurationstates").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, o := range list.Items {
		if result, _, _ := unstructured.NestedString(o.Object, "status", "result"); result != "Valid" {
			complaints = append(complaints, fmt.Sprintf("ConfigurationState %s is %s", o.GetName(), result))
		}
	}
	if len(list.Items) != nodeCount+1 {
		complaints = append(complaints, fmt.Sprintf("there are %d ConfigurationStates, want %d", len(list.Items), nodeCount+1))
	}
	return complaints, nil
}

// kinds are Herald's objects of a kind.
func (s *stage) kinds(resource string) dynamic.ResourceInterface {
	version := map[string]string{"bgppeers": "v1beta2"}[resource]
	if version == "" {
		version = "v1beta1"
	}
	return s.dynamic.Resource(schema.GroupVersionResource{Group: "metallb.io", Version: version, Resource: resource}).Namespace(herald.Namespace)
}

// delivery is how long an event may be on its way: client-go tries again after ten seconds when the API server was away.
const delivery = 15 * time.Second

// unexplained are the losses that no event tells of. A pool that was changed explains itself.
func (s *stage) unexplained(ctx context.Context, losses []loss) (complaints []string, err error) {
	end := time.Now().Add(delivery)
	for _, l := range losses {
		if within(fickleRange, l.address) {
			continue
		}
		explained, err := s.explained(ctx, l)
		for ; err == nil && !explained && time.Now().Before(end); explained, err = s.explained(ctx, l) {
			if pause(ctx, time.Second); ctx.Err() != nil {
				return nil, ctx.Err()
			}
		}
		if err != nil {
			return nil, err
		}
		if !explained {
			complaints = append(complaints, fmt.Sprintf("Service %s lost %s, and no event says why", l.svc.Name, l.address))
		}
	}
	return complaints, nil
}

func (s *stage) explained(ctx context.Context, l loss) (bool, error) {
	events, err := s.client.CoreV1().Events("default").List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(l.svc.UID)})
	if err != nil {
		return false, err
	}
	return l.isExplained(events.Items), nil
}
