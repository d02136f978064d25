package herald_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/plan"
)

var update = flag.Bool("update", false, "write what the worlds come to into testdata/worlds/*.plan")

// A world is a story in manifests: what users and the cluster do, chapter by chapter.
// Beside it, in the file of the same name that ends in .plan, stands what Herald makes
// of each chapter: who holds which addresses, who announces them, and what routers are
// offered.
//
// A chapter begins with a line "# ==== title". Its objects are applied; one with a
// deletionTimestamp is deleted. The live speakers are the Pods of the label
// component=speaker; in a world without any, every Node counts as having one. Each
// node has the links eth0 and eth1.
func TestWorlds(t *testing.T) {
	files, err := filepath.Glob("testdata/worlds/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no worlds: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".yaml")
		t.Run(filepath.Base(name), func(t *testing.T) {
			story, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, name+".plan", tell(t, string(story)))
		})
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%sgo test -run TestWorlds . -update writes what it comes to now", file, diff)
	}
}

var heading = regexp.MustCompile(`(?m)^# ==== (.*)\n`)

// tell runs a story and returns what comes of it.
func tell(t *testing.T, story string) string {
	t.Helper()
	var out strings.Builder
	w := newWorld(t)
	titles := heading.FindAllStringSubmatch(story, -1)
	chapters := heading.Split(story, -1)[1:]
	if len(chapters) == 0 {
		t.Fatal("a world needs a chapter: a line that begins with # ====")
	}
	for i, chapter := range chapters {
		w.apply(chapter)
		fmt.Fprintf(&out, "==== %s\n\n", titles[i][1])
		w.decide(&out)
	}
	return out.String()
}

// world is the cluster, and what Herald remembers from one chapter to the next.
type world struct {
	t       *testing.T
	decoder runtime.Decoder
	objects map[string]client.Object
	keeper  config.Keeper
	ledger  *ipam.Ledger
}

func newWorld(t *testing.T) *world {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	return &world{t: t, decoder: decoder, objects: map[string]client.Object{}, ledger: ipam.NewLedger()}
}

// apply brings the objects of a chapter into the world.
func (w *world) apply(chapter string) {
	w.t.Helper()
	for document := range strings.SplitSeq(chapter, "\n---\n") {
		if strings.TrimSpace(strings.TrimPrefix(document, "---\n")) == "" {
			continue
		}
		decoded, _, err := w.decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			w.t.Fatalf("%s\nin the document\n%s", err, document)
		}
		w.put(decoded.(client.Object))
	}
}

func (w *world) put(o client.Object) {
	key := fmt.Sprintf("%T %s/%s", o, o.GetNamespace(), o.GetName())
	if o.GetDeletionTimestamp() == nil {
		w.objects[key] = o
		return
	}
	delete(w.objects, key)
	if svc, ok := o.(*corev1.Service); ok {
		w.ledger.Release(kube.Key(svc))
	}
}

// all returns the objects of one kind, by namespace and name.
func all[T client.Object](w *world) []T {
	var out []T
	for _, key := range slices.Sorted(maps.Keys(w.objects)) {
		if o, ok := w.objects[key].(T); ok {
			out = append(out, o)
		}
	}
	return out
}

// configuration is what users configured, in the form in which it is read.
func (w *world) configuration() config.Objects {
	var o config.Objects
	for _, p := range all[*v1beta1.IPAddressPool](w) {
		o.Pools = append(o.Pools, *p)
	}
	for _, a := range all[*v1beta1.L2Advertisement](w) {
		o.L2Advertisements = append(o.L2Advertisements, *a)
	}
	for _, p := range all[*v1beta2.BGPPeer](w) {
		o.Peers = append(o.Peers, *p)
	}
	for _, a := range all[*v1beta1.BGPAdvertisement](w) {
		o.BGPAdvertisements = append(o.BGPAdvertisements, *a)
	}
	for _, p := range all[*v1beta1.BFDProfile](w) {
		o.BFDProfiles = append(o.BFDProfiles, *p)
	}
	for _, c := range all[*v1beta1.Community](w) {
		o.Communities = append(o.Communities, *c)
	}
	for _, s := range all[*corev1.Secret](w) {
		o.Secrets = append(o.Secrets, config.Secret{Name: s.Name, Type: string(s.Type), Password: lb.Secret(s.StringData["password"])})
	}
	for _, n := range all[*corev1.Namespace](w) {
		o.Namespaces = append(o.Namespaces, config.Namespace{Name: n.Name, Labels: n.Labels})
	}
	for _, n := range all[*corev1.Node](w) {
		o.Nodes = append(o.Nodes, kube.Node(n))
	}
	return o
}

// decide has the controller and then the speakers decide, and writes down the result.
func (w *world) decide(out *strings.Builder) {
	objects := w.configuration()
	c, problems := w.keeper.Parse(objects)
	for _, p := range problems {
		fmt.Fprintf(out, "problem: %s\n", p)
	}
	if len(problems) > 0 {
		out.WriteString("\n")
	}
	decisions := w.assign(c)
	view := plan.View{Config: c, Nodes: objects.Nodes, Speakers: w.speakers(), Links: links}
	for _, svc := range w.services() {
		key := kube.Key(svc)
		fmt.Fprintf(out, "service %s\n", key)
		writeDecision(out, decisions[key])
		w.writeVerdicts(out, view, objects, svc)
		out.WriteString("\n")
	}
	if len(objects.Peers) > 0 {
		w.writeSessions(out, view)
	}
}

func (w *world) services() []*corev1.Service {
	return slices.DeleteFunc(all[*corev1.Service](w), func(s *corev1.Service) bool { return !kube.Handled(s, "") })
}

// assign decides about every service as the controller does after a change of the
// configuration, and writes the statuses.
func (w *world) assign(c lb.Config) map[lb.ServiceKey]lb.Decision {
	services := w.services()
	var read []lb.Service
	for _, svc := range services {
		read = append(read, kube.Service(svc))
	}
	slices.SortFunc(read, func(a, b lb.Service) int {
		return cmp.Or(min(1, len(b.Held))-min(1, len(a.Held)), a.Created.Compare(b.Created), a.Key.Compare(b.Key))
	})
	w.ledger.SetPools(c.Pools, c.PoolsIncomplete)
	w.ledger.Restore(read)
	decisions := map[lb.ServiceKey]lb.Decision{}
	for _, svc := range read {
		decisions[svc.Key] = w.ledger.Assign(svc)
	}
	for _, key := range w.ledger.Woken() {
		i := slices.IndexFunc(read, func(s lb.Service) bool { return s.Key == key })
		decisions[key] = w.ledger.Assign(read[i])
	}
	for _, svc := range services {
		record(svc, decisions[kube.Key(svc)])
	}
	return decisions
}

// record makes the service say what was decided, as the API server would store it.
func record(svc *corev1.Service, d lb.Decision) {
	svc.Status.LoadBalancer.Ingress = nil
	for _, a := range d.Addresses {
		svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a.String()})
	}
	annotations := maps.Clone(svc.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations["metallb.io/ip-allocated-from-pool"] = string(d.Pool)
	svc.Annotations = annotations
}

func writeDecision(out *strings.Builder, d lb.Decision) {
	if d.Cleared != "" {
		fmt.Fprintf(out, "  loses its addresses: %s\n", d.Cleared)
	}
	holds := "holds nothing"
	if len(d.Addresses) > 0 {
		holds = fmt.Sprintf("holds %s from pool %s", lb.Join(d.Addresses), d.Pool)
	}
	if d.Message != "" {
		holds += " (" + d.Message + ")"
	}
	fmt.Fprintf(out, "  %s: %s\n", d.Reason, holds)
}

// speakers are the nodes with a live speaker, nil if the world says nothing of them.
func (w *world) speakers() []lb.NodeName {
	var out []lb.NodeName
	for _, pod := range all[*corev1.Pod](w) {
		if pod.Labels["component"] == "speaker" {
			out = append(out, lb.NodeName(pod.Spec.NodeName))
		}
	}
	return out
}

var links = []lb.Link{{Name: "eth0", ARP: true, NDP: true}, {Name: "eth1", ARP: true, NDP: true}}

// writeVerdicts writes what the nodes decide about a service, over each of the protocols
// that something is configured for.
func (w *world) writeVerdicts(out *strings.Builder, v plan.View, o config.Objects, svc *corev1.Service) {
	if len(o.L2Advertisements) > 0 || len(o.BGPAdvertisements) == 0 {
		writeByNode(out, v, func(p *plan.Planner) string { return inWords(w.layer2(p, kube.Key(svc))) })
	}
	if len(o.BGPAdvertisements) > 0 {
		writeByNode(out, v, func(p *plan.Planner) string { return offered(p.BGP(kube.Service(svc), w.endpoints(svc))) })
	}
}

// layer2 is what a node decides about a service, together with those that share its addresses.
func (w *world) layer2(p *plan.Planner, of lb.ServiceKey) lb.Verdict {
	holders, served := plan.NewHolders(), map[lb.ServiceKey]plan.Served{}
	for _, svc := range w.services() {
		served[kube.Key(svc)] = plan.Served{Service: kube.Service(svc), Endpoints: w.endpoints(svc)}
		holders.Set(kube.Key(svc), kube.Held(svc))
	}
	keys := holders.Group(of)
	group := make([]plan.Served, len(keys))
	for i, key := range keys {
		group[i] = served[key]
	}
	return p.Layer2Shared(group)[slices.Index(keys, of)]
}

// writeByNode writes something of each node with a live speaker, those of which it is the
// same in one line.
func writeByNode(out *strings.Builder, v plan.View, of func(*plan.Planner) string) {
	var texts []string
	nodes := map[string][]string{}
	for _, node := range v.Nodes {
		if v.Speakers != nil && !slices.Contains(v.Speakers, node.Name) {
			continue
		}
		v.Node = node.Name
		text := of(plan.New(v))
		if nodes[text] == nil {
			texts = append(texts, text)
		}
		nodes[text] = append(nodes[text], string(node.Name))
	}
	for _, text := range texts {
		fmt.Fprintf(out, "  %s: %s\n", strings.Join(nodes[text], ", "), text)
	}
}

// writeSessions writes with which routers the nodes talk, and what these are offered.
func (w *world) writeSessions(out *strings.Builder, v plan.View) {
	out.WriteString("sessions\n")
	writeByNode(out, v, func(p *plan.Planner) string {
		routes := plan.NewRoutes()
		for _, svc := range w.services() {
			routes.Set(kube.Key(svc), p.BGP(kube.Service(svc), w.endpoints(svc)).Offers)
		}
		sessions := routes.Sessions(p.Peers())
		if len(sessions) == 0 {
			return "talks with nobody"
		}
		lines := []string{"talks with"}
		for _, s := range sessions {
			lines = append(lines, "    "+session(s.Peer))
			for _, r := range s.Routes {
				lines = append(lines, "      "+route(r))
			}
		}
		return strings.Join(lines, "\n")
	})
	out.WriteString("\n")
}

func session(p lb.Peer) string {
	text := fmt.Sprintf("%s, AS %d at %s", p.Name, p.ASN, p.Address)
	if p.Password != "" {
		text += ", with a password"
	}
	if p.BFD != nil {
		text += fmt.Sprintf(", watched every %s", p.BFD.TransmitInterval)
	}
	return text
}

func route(r lb.Route) string {
	text := r.Prefix.String()
	if r.LocalPref != 0 {
		text += fmt.Sprintf(", localPref %d", r.LocalPref)
	}
	if r.MED != nil {
		text += fmt.Sprintf(", MED %d", *r.MED)
	}
	if r.Prepend != 0 {
		text += fmt.Sprintf(", prepended %d times", r.Prepend)
	}
	for _, c := range r.Communities {
		text += fmt.Sprintf(", %d:%d", c>>16, c&0xffff)
	}
	for _, c := range r.LargeCommunities {
		text += fmt.Sprintf(", large:%d:%d:%d", c.Global, c.Local1, c.Local2)
	}
	return text
}

func offered(v lb.BGPVerdict) string {
	if !v.Advertises() {
		return fmt.Sprintf("offers nothing, %s: %s", v.Reason, v.Why)
	}
	var texts []string
	for _, o := range v.Offers {
		texts = append(texts, fmt.Sprintf("%s to %s", o.Prefix, strings.Join(names(o.Peers), ", ")))
	}
	return "offers " + strings.Join(texts, " and ")
}

func names(peers []lb.PeerName) []string {
	var out []string
	for _, p := range peers {
		out = append(out, string(p))
	}
	return out
}

func (w *world) endpoints(svc *corev1.Service) []lb.Endpoint {
	var of []discoveryv1.EndpointSlice
	for _, s := range all[*discoveryv1.EndpointSlice](w) {
		if s.Namespace == svc.Namespace && s.Labels[discoveryv1.LabelServiceName] == svc.Name {
			of = append(of, *s)
		}
	}
	return kube.Endpoints(of)
}

func inWords(v lb.Verdict) string {
	if !v.Announces() {
		return fmt.Sprintf("silent, %s: %s", v.Reason, v.Why)
	}
	var texts []string
	for _, a := range v.Announcements {
		texts = append(texts, a.String())
	}
	return "announces " + strings.Join(texts, " and ")
}
