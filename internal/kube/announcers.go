package kube

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// Announcer is a node that says that it announces a Service.
type Announcer struct {
	Node lb.NodeName
	// Peers are those that it offers the Service to over BGP, sorted; none over layer 2.
	Peers []lb.PeerName
}

// Announcers knows what nodes say in ServiceL2Statuses and ServiceBGPStatuses. Of those there may be as
// many as there are Services on each node, so that no cache of whole objects is kept.
type Announcers struct {
	logger    log.Logger
	client    client.WithWatch
	namespace string
	// changed is called when what is said of a Service may have changed, and known once all
	// has been read that there is. They must not block.
	changed func(lb.ServiceKey)
	known   func()
	synced  atomic.Int32

	mu sync.Mutex
	// said is what each object says, by its name, and about the names of those about each Service.
	said  map[string]statement
	about map[lb.ServiceKey][]string
}

// statement is what one object says.
type statement struct {
	kind    string
	service lb.ServiceKey
	by      Announcer
}

// The kinds that announcers say it in.
const (
	kindL2Status  = "ServiceL2Status"
	kindBGPStatus = "ServiceBGPStatus"
	kinds         = 2
)

// NewAnnouncers returns Announcers that know of none before Start.
func NewAnnouncers(l log.Logger, c client.WithWatch, namespace string, changed func(lb.ServiceKey), known func()) *Announcers {
	return &Announcers{logger: l, client: c, namespace: namespace, changed: changed, known: known, said: map[string]statement{}, about: map[lb.ServiceKey][]string{}}
}

// Of are those that say that they announce the Service, by node, and over layer 2 first.
func (a *Announcers) Of(key lb.ServiceKey) []Announcer {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []Announcer
	for _, name := range a.about[key] {
		out = append(out, a.said[name].by)
	}
	slices.SortFunc(out, func(x, y Announcer) int {
		return cmp.Or(cmp.Compare(min(1, len(x.Peers)), min(1, len(y.Peers))), cmp.Compare(x.Node, y.Node))
	})
	return out
}

// Known reports whether all has been read that there is.
func (a *Announcers) Known() bool { return a.synced.Load() == kinds }

// readableRecheck is how often it is asked again whether the objects may be read.
const readableRecheck = time.Minute

// Start reads what nodes say until ctx ends. Where roles that predate Herald do not let
// it be read, it says so once, and waits.
func (a *Announcers) Start(ctx context.Context) {
	for told := false; !a.readable(ctx); told = true {
		if !told {
			level.Info(a.logger).Log("msg", "who announces is not told on Services: the cluster does not know ServiceL2Statuses and ServiceBGPStatuses, or does not let them be read")
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(readableRecheck):
		}
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		a.read(ctx, kindL2Status, &v1beta1.ServiceL2Status{}, func() client.ObjectList { return &v1beta1.ServiceL2StatusList{} })
	})
	reading.Go(func() {
		a.read(ctx, kindBGPStatus, &v1beta1.ServiceBGPStatus{}, func() client.ObjectList { return &v1beta1.ServiceBGPStatusList{} })
	})
	reading.Wait()
	a.forget()
}

// readable reports whether there is a use in trying. An API server that does not answer
// does not say no.
func (a *Announcers) readable(ctx context.Context) bool {
	for _, kind := range []client.ObjectList{&v1beta1.ServiceL2StatusList{}, &v1beta1.ServiceBGPStatusList{}} {
		err := a.client.List(ctx, kind, client.InNamespace(a.namespace), client.Limit(1))
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return false
		}
	}
	return true
}

// read lists and watches the objects of one kind.
func (a *Announcers) read(ctx context.Context, kind string, object client.Object, list func() client.ObjectList) {
	source := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			l := list()
			return l, a.client.List(ctx, l, client.InNamespace(a.namespace), &client.ListOptions{Raw: &o})
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return a.client.Watch(ctx, list(), client.InNamespace(a.namespace), &client.ListOptions{Raw: &o})
		},
	}
	toolscache.NewNamedReflector(kind, source, object, &statements{Announcers: a, kind: kind}, 0).RunWithContext(ctx)
}

func (a *Announcers) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said, a.about = map[string]statement{}, map[lb.ServiceKey][]string{}
	a.synced.Store(0)
}

// statements takes what the objects of one kind say: it is where a reflector stores them.
type statements struct {
	*Announcers
	kind   string
	listed bool
}

// Add takes a new object.
func (s *statements) Add(obj any) error {
	s.hear(obj.(client.Object))
	return nil
}

// Update takes an object that has changed.
func (s *statements) Update(obj any) error { return s.Add(obj) }

// Delete takes an object that is gone.
func (s *statements) Delete(obj any) error {
	s.change(obj.(client.Object).GetName(), nil)
	return nil
}

// Replace takes all objects of the kind that there are.
func (s *statements) Replace(objects []any, _ string) error {
	here := map[string]bool{}
	for _, o := range objects {
		here[o.(client.Object).GetName()] = true
		s.hear(o.(client.Object))
	}
	for _, name := range s.names() {
		if !here[name] {
			s.change(name, nil)
		}
	}
	if !s.listed {
		s.listed = true
		if s.synced.Add(1) == kinds {
			s.known()
		}
	}
	return nil
}

// Resync has nothing to do.
func (s *statements) Resync() error { return nil }

// names are those of the objects of the kind that are known.
func (s *statements) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for name, st := range s.said {
		if st.kind == s.kind {
			out = append(out, name)
		}
	}
	return out
}

// hear takes what an object says. One that was just made says nothing yet.
func (s *statements) hear(o client.Object) {
	st := statement{kind: s.kind}
	switch o := o.(type) {
	case *v1beta1.ServiceL2Status:
		st.service, st.by.Node = serviceKey(o.Status.ServiceNamespace, o.Status.ServiceName), shared(lb.NodeName(o.Status.Node))
	case *v1beta1.ServiceBGPStatus:
		st.service, st.by.Node = serviceKey(o.Status.ServiceNamespace, o.Status.ServiceName), shared(lb.NodeName(o.Status.Node))
		for _, p := range o.Status.Peers {
			st.by.Peers = append(st.by.Peers, shared(lb.PeerName(p)))
		}
		if len(st.by.Peers) == 0 {
			st.by.Node = ""
		}
	}
	if st.by.Node == "" {
		s.change(o.GetName(), nil)
		return
	}
	s.change(o.GetName(), &st)
}

// change replaces what an object says; with nil it says nothing any more.
func (a *Announcers) change(object string, now *statement) {
	a.mu.Lock()
	before, known := a.said[object]
	if known {
		delete(a.said, object)
		a.about[before.service] = slices.DeleteFunc(a.about[before.service], func(name string) bool { return name == object })
		if len(a.about[before.service]) == 0 {
			delete(a.about, before.service)
		}
	}
	if now != nil {
		a.said[object] = *now
		a.about[now.service] = append(a.about[now.service], object)
	}
	a.mu.Unlock()
	if known {
		a.changed(before.service)
	}
	if now != nil && (!known || now.service != before.service) {
		a.changed(now.service)
	}
}

func serviceKey(namespace, name string) lb.ServiceKey {
	return lb.ServiceKey{Namespace: shared(namespace), Name: name}
}

// shared is a text that many objects have, which is kept but once.
func shared[S ~string](text S) S { return unique.Make(text).Value() }
