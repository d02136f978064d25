package chaos

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/e2e/herald"
	"github.com/herald-lb/herald/e2e/lab"
)

// The rules as users know them, written down a second time: Herald's own are not asked.

// addresses are what a Service holds. What cannot be read is none, and shows as missing.
func addresses(svc *corev1.Service) []netip.Addr {
	all, err := herald.AddressesOf(svc)
	if err != nil {
		return nil
	}
	return all
}

// mayShare says whether two Services may hold one address.
func mayShare(a, b *corev1.Service) bool {
	key := a.Annotations[sharingAnnotation]
	return key != "" && key == b.Annotations[sharingAnnotation] && backend(a) == backend(b) && !overlap(a.Spec.Ports, b.Spec.Ports)
}

// backend is the pods that Services have to have in common where traffic stays local.
func backend(svc *corev1.Service) string {
	if !isLocal(svc) {
		return ""
	}
	return labels.FormatLabels(svc.Spec.Selector)
}

func isLocal(svc *corev1.Service) bool {
	return svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func overlap(a, b []corev1.ServicePort) bool {
	return slices.ContainsFunc(a, func(p corev1.ServicePort) bool {
		return slices.ContainsFunc(b, func(q corev1.ServicePort) bool { return p.Protocol == q.Protocol && p.Port == q.Port })
	})
}

// sameWish says whether a Service asks for the same addresses in two of its versions, for itself and beside others.
func sameWish(a, b *corev1.Service) bool {
	return equality.Semantic.DeepEqual(wished(a), wished(b))
}

// wished is that much of a Service as bears on its addresses. Ports and pods do where it shares them. Namespace and labels
// would, if a pool chose Services by them: none of the play's does.
func wished(svc *corev1.Service) *corev1.Service {
	w := &corev1.Service{Spec: corev1.ServiceSpec{
		Type: svc.Spec.Type, LoadBalancerClass: svc.Spec.LoadBalancerClass, LoadBalancerIP: svc.Spec.LoadBalancerIP,
		ClusterIPs: svc.Spec.ClusterIPs, IPFamilies: svc.Spec.IPFamilies, IPFamilyPolicy: svc.Spec.IPFamilyPolicy,
	}}
	for _, key := range []string{sharingAnnotation, poolAnnotation, "metallb.io/loadBalancerIPs"} {
		if value := svc.Annotations[key]; value != "" {
			metav1.SetMetaDataAnnotation(&w.ObjectMeta, key, value)
		}
	}
	if svc.Annotations[sharingAnnotation] == "" {
		return w
	}
	metav1.SetMetaDataAnnotation(&w.ObjectMeta, "pods", backend(svc))
	for _, p := range svc.Spec.Ports {
		w.Spec.Ports = append(w.Spec.Ports, corev1.ServicePort{Protocol: p.Protocol, Port: p.Port})
	}
	return w
}

const (
	// hesitation is for how much older an event may seem than what it tells of: its time is in whole seconds, and a watch
	// shows things a little later than they happen.
	hesitation = 5 * time.Second
	// mostEvents is how many events of one program on one object client-go writes at once. Of others one in five minutes
	// gets through: https://pkg.go.dev/k8s.io/client-go/tools/record, defaultSpamBurst.
	mostEvents = 25
)

// isExplained says whether one of the events on a Service tells why it has lost an address, or may have been dropped.
func (l loss) isExplained(events []corev1.Event) bool {
	written := 0
	for i := range events {
		e := &events[i]
		if e.Reason == "ClearAssignment" && lastTold(e).After(l.seen.Add(-hesitation)) {
			return true
		}
		if e.Source.Component == "metallb-controller" {
			written += max(1, int(e.Count))
		}
	}
	return written >= mostEvents
}

// lastTold is when something was told for the last time that may have been told several times.
func lastTold(e *corev1.Event) time.Time {
	times := []time.Time{e.FirstTimestamp.Time, e.LastTimestamp.Time, e.EventTime.Time}
	if e.Series != nil {
		times = append(times, e.Series.LastObservedTime.Time)
	}
	return slices.MaxFunc(times, time.Time.Compare)
}

// world is all that decides who should answer and what the router should hold.
type world struct {
	services []corev1.Service
	slices   []discoveryv1.EndpointSlice
	eligible []lab.Host // nodes that may announce
}

// fickleRange holds all that the pool fickle may consist of.
var fickleRange = []netip.Prefix{netip.MustParsePrefix("192.168.12.0/24"), netip.MustParsePrefix("fd00:12::/64")}

// routedRange is what the router is told of, and the LAN is not.
var routedRange = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:51::/120")}

func within(ranges []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(address) })
}

// serving are the nodes with a pod of the Service that serves.
func serving(all []discoveryv1.EndpointSlice, service string) (nodes []lab.Host) {
	for _, s := range all {
		if s.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		for _, e := range s.Endpoints {
			ready, serves := e.Conditions.Ready, e.Conditions.Serving
			if e.NodeName != nil && (ready == nil || *ready || (serves != nil && *serves)) {
				nodes = append(nodes, lab.Host(*e.NodeName))
			}
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// candidates are the nodes that may announce a Service.
func (w world) candidates(svc *corev1.Service) []lab.Host {
	serving := serving(w.slices, svc.Name)
	if len(serving) == 0 || !isLocal(svc) {
		return w.eligible[:len(w.eligible)*min(len(serving), 1)]
	}
	return slices.DeleteFunc(slices.Clone(w.eligible), func(h lab.Host) bool { return !slices.Contains(serving, h) })
}

// holders are the Services at each address.
func (w world) holders() map[netip.Addr][]*corev1.Service {
	all := map[netip.Addr][]*corev1.Service{}
	for i := range w.services {
		for _, a := range addresses(&w.services[i]) {
			all[a] = append(all[a], &w.services[i])
		}
	}
	return all
}

// answerers are the nodes of which one should answer for an address with these holders: none, if nobody should. Of a
// Service that shares nothing it is known which.
func (w world) answerers(holders []*corev1.Service, shares bool) (nodes []lab.Host) {
	for _, svc := range holders {
		nodes = append(nodes, w.candidates(svc)...)
	}
	slices.Sort(nodes)
	nodes = slices.Compact(nodes)
	if shares || len(nodes) == 0 {
		return nodes
	}
	return []lab.Host{elected(addresses(holders[0])[0], nodes)}
}

// elected is the node that is first by the SHA-256 of node#address.
func elected(address netip.Addr, nodes []lab.Host) lab.Host {
	sum := func(h lab.Host) []byte { s := sha256.Sum256(fmt.Appendf(nil, "%s#%s", h, address)); return s[:] }
	return slices.MinFunc(nodes, func(a, b lab.Host) int { return bytes.Compare(sum(a), sum(b)) })
}

// answers are the nodes of which one should answer, for each address on the LAN that somebody holds.
func (w world) answers() map[netip.Addr][]lab.Host {
	all := map[netip.Addr][]lab.Host{}
	for address, holders := range w.holders() {
		if !within(routedRange, address) {
			all[address] = w.answerers(holders, slices.ContainsFunc(holders, w.sharesAny))
		}
	}
	return all
}

// sharesAny says whether a Service shares any of its addresses.
func (w world) sharesAny(svc *corev1.Service) bool {
	holders := w.holders()
	return slices.ContainsFunc(addresses(svc), func(a netip.Addr) bool { return len(holders[a]) > 1 })
}

// routes are the nodes by which the router should know each prefix.
func (w world) routes() map[netip.Prefix][]lab.Host {
	all := map[netip.Prefix][]lab.Host{}
	for address, holders := range w.holders() {
		if !within(routedRange, address) {
			continue
		}
		var nodes []lab.Host
		for _, svc := range holders {
			nodes = append(nodes, w.candidates(svc)...)
		}
		if slices.Sort(nodes); len(nodes) > 0 {
			all[netip.PrefixFrom(address, address.BitLen())] = slices.Compact(nodes)
		}
	}
	return all
}

// apart tells who holds an address together with whom it may not share it.
func (w world) apart() (complaints []string) {
	for address, at := range w.holders() {
		for i, a := range at {
			for _, b := range at[:i] {
				if !mayShare(a, b) {
					complaints = append(complaints, fmt.Sprintf("%s and %s both hold %s", a.Name, b.Name, address))
				}
			}
		}
	}
	return complaints
}

// unserved tells which Services do not hold what they ask for: there is room for all.
func (w world) unserved() (complaints []string) {
	for i := range w.services {
		svc, want := &w.services[i], 0
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			want = len(svc.Spec.ClusterIPs)
		}
		if got := addresses(svc); len(got) != want {
			complaints = append(complaints, fmt.Sprintf("%s holds %v, and its families are %v", svc.Name, got, svc.Spec.IPFamilies))
		}
	}
	return complaints
}
