package kube

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/herald-lb/herald/internal/lb"
)

// Events tells users, on the objects concerned, what became of them. It is safe for
// concurrent use, and never blocks: client-go drops events where they come too fast.
type Events struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
	recording   watch.Interface
}

// correlated is for how many objects client-go looks for repetitions. There are few, as
// nothing is told twice, and each of the 4,096 that it would remember takes 2 KiB.
const correlated = 256

// NewEvents returns Events whose source is the component, such as "metallb-speaker".
// They are core/v1 Events, which existing roles allow to be written.
func NewEvents(cfg *rest.Config, scheme *runtime.Scheme, component, node string) (*Events, error) {
	clients, err := kubernetes.NewForConfig(inProtobuf(cfg))
	if err != nil {
		return nil, err
	}
	b := record.NewBroadcaster(record.WithCorrelatorOptions(record.CorrelatorOptions{LRUCacheSize: correlated}))
	return &Events{
		broadcaster: b,
		recorder:    b.NewRecorder(scheme, corev1.EventSource{Component: component, Host: node}),
		// From here on, since the broadcaster drops what it is told while nobody records.
		recording: b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.CoreV1().Events("")}),
	}, nil
}

// inProtobuf has events travel in half the bytes: client-go writes all else so by itself.
func inProtobuf(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	if cfg.ContentType == "" {
		cfg.ContentType = runtime.ContentTypeProtobuf
		cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	return cfg
}

// Start goes on writing events to the API server until ctx ends.
func (e *Events) Start(ctx context.Context) error {
	<-ctx.Done()
	e.recording.Stop()
	e.broadcaster.Shutdown()
	return nil
}

// Normal tells of something that went as it should.
func (e *Events) Normal(obj runtime.Object, reason lb.Reason, message string) {
	e.recorder.Event(obj, corev1.EventTypeNormal, string(reason), message)
}

// Warning tells of something that a user should look at.
func (e *Events) Warning(obj runtime.Object, reason lb.Reason, message string) {
	e.recorder.Event(obj, corev1.EventTypeWarning, string(reason), message)
}
