package allocation

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Stopwatch takes the time from the creation of Services to the moment when a client's watch shows their addresses.
type Stopwatch struct {
	client kubernetes.Interface
	watch  watch.Interface
	ended  chan struct{}

	// watches is how many watches it took.
	watches atomic.Int32

	mu    sync.Mutex // guards what is below
	times map[string]*Times
	seen  map[string]time.Time
}

// Times are the moments of one Service, as its creator saw them.
type Times struct{ Called, Returned, Assigned time.Time }

// Record is what a Stopwatch has seen.
type Record struct {
	All []Times
	// Interruptions is how often the API server ended its watch: addresses given then were seen up to a second late.
	Interruptions int
}

// NewStopwatch begins to watch a namespace.
func NewStopwatch(ctx context.Context, w *World, namespace string) (*Stopwatch, error) {
	// A connection of its own: what it shows does not queue behind what is created. In protobuf, which is read
	// many times as fast as JSON: who reads too slowly measures himself.
	config := Unthrottled(w.Lab)
	config.ContentType = runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	// From what is there now, which comes first if no version is named.
	services, err := client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("list Services: %w", err)
	}
	s := &Stopwatch{client: w.Client, ended: make(chan struct{}), times: map[string]*Times{}, seen: map[string]time.Time{}}
	// The API server ends the watch of a client that it finds slow: then it goes on where it was, a second later.
	s.watch, err = watchtools.NewRetryWatcherWithContext(ctx, services.ResourceVersion, &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			s.watches.Add(1)
			return client.CoreV1().Services(namespace).Watch(ctx, o)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch Services: %w", err)
	}
	go s.read()
	return s, nil
}

func (s *Stopwatch) read() {
	defer close(s.ended)
	for event := range s.watch.ResultChan() {
		if svc, ok := event.Object.(*corev1.Service); ok && len(svc.Status.LoadBalancer.Ingress) > 0 {
			s.note(svc.Name)
		}
	}
}

// note keeps the first moment.
func (s *Stopwatch) note(name string) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[name]; !known {
		s.seen[name] = now
	}
}

// Create creates a Service. It is safe for concurrent use.
func (s *Stopwatch) Create(ctx context.Context, svc *corev1.Service) error {
	times := &Times{Called: time.Now()}
	if _, err := s.client.CoreV1().Services(svc.Namespace).Create(ctx, svc, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create Service %s: %w", svc.Name, err)
	}
	times.Returned = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.times[svc.Name] = times
	return nil
}

// Stop waits until all that were created have addresses, and returns what it has seen.
func (s *Stopwatch) Stop(ctx context.Context) (Record, error) {
	defer func() { s.watch.Stop(); <-s.ended }()
	for {
		all, missing := s.result()
		if missing == 0 {
			return Record{all, int(s.watches.Load()) - 1}, nil
		}
		select {
		case <-ctx.Done():
			return Record{}, fmt.Errorf("wait for addresses: %d of %d Services have none: %w", missing, missing+len(all), ctx.Err())
		case <-s.ended:
			return Record{}, fmt.Errorf("wait for addresses: the watch ended, and %d of %d Services had none", missing, missing+len(all))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Stopwatch) result() (all []Times, missing int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, t := range s.times {
		if seen, ok := s.seen[name]; ok {
			all = append(all, Times{t.Called, t.Returned, seen})
		} else {
			missing++
		}
	}
	return all, missing
}
