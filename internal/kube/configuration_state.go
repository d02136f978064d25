package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// labelNodeName is that of a ConfigurationState, whose labels are others than those of status objects.
const labelNodeName = "metallb.io/node-name"

// Reporter says who reports on the configuration, and how its report is known.
type Reporter struct {
	// Name of the ConfigurationState: "controller", or "speaker-" and the node.
	Name string
	// Component is "controller" or "speaker".
	Component string
	// Node is that of a speaker, else empty.
	Node string
	// Condition is the type of the condition, FieldManager who applies it.
	Condition    string
	FieldManager string
	// Pod owns the object, so that it goes with the pod; empty for no owner.
	Pod string
}

// ControllerReporter is the controller.
func ControllerReporter(pod string) Reporter {
	return Reporter{
		Name: "controller", Component: "controller", Pod: pod,
		Condition: "poolReconcilerValid", FieldManager: "poolReconciler",
	}
}

// SpeakerReporter is the speaker of a node.
func SpeakerReporter(pod string, node lb.NodeName) Reporter {
	return Reporter{
		Name: "speaker-" + string(node), Component: "speaker", Node: string(node), Pod: pod,
		Condition: "configReconcilerValid", FieldManager: "configReconciler",
	}
}

// stateRetry lies between two tries to write the object.
const stateRetry = 5 * time.Second

// ConfigurationState keeps the object of that kind true that belongs to one process.
type ConfigurationState struct {
	Reporter
	logger    log.Logger
	client    client.Client
	reader    client.Reader
	namespace string
	again     chan struct{}

	mu       sync.Mutex
	known    bool
	problems []lb.Problem
}

// NewConfigurationState returns the keeper of the object, which nothing is known to yet.
func NewConfigurationState(l log.Logger, c cluster.Cluster, namespace string, r Reporter) *ConfigurationState {
	return &ConfigurationState{
		Reporter: r, logger: l, client: c.GetClient(), reader: c.GetAPIReader(), namespace: namespace,
		again: make(chan struct{}, 1),
	}
}

// Watch has the object made again when somebody deletes or changes it.
func (s *ConfigurationState) Watch(ctx context.Context, c cluster.Cluster) error {
	return onEvery(ctx, c, &v1beta1.ConfigurationState{}, func(client.Object) { s.lookAgain() })
}

// Report notes the problems that the configuration has now. It does not block.
func (s *ConfigurationState) Report(problems []lb.Problem) {
	s.mu.Lock()
	s.known, s.problems = true, problems
	s.mu.Unlock()
	s.lookAgain()
}

func (s *ConfigurationState) lookAgain() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// Start writes the object whenever it differs from what was reported, until ctx ends.
func (s *ConfigurationState) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.again:
		}
		if err := s.write(ctx); err != nil && ctx.Err() == nil {
			level.Error(s.logger).Log("msg", "configuration state not written", "name", s.Name, "error", err, "retry", stateRetry)
			time.AfterFunc(stateRetry, s.lookAgain)
		}
	}
}

func (s *ConfigurationState) write(ctx context.Context) error {
	s.mu.Lock()
	known, problems := s.known, s.problems
	s.mu.Unlock()
	if !known {
		return nil
	}
	var stored v1beta1.ConfigurationState
	err := s.client.Get(ctx, types.NamespacedName{Namespace: s.namespace, Name: s.Name}, &stored)
	if apierrors.IsNotFound(err) || err == nil && !s.owns(&stored) {
		err = s.applyObject(ctx)
	}
	if err != nil {
		return err
	}
	want := s.status(problems, stored.Status)
	if sameStatus(want, stored.Status) {
		return nil
	}
	return s.apply(map[string]any{"status": want}, func(obj client.Object, p client.Patch) error {
		return s.client.Status().Patch(ctx, obj, p, client.FieldOwner(s.FieldManager), client.ForceOwnership)
	})
}

// owns reports whether this pod is the object's owner. One that an earlier pod left would go with that one.
func (s *ConfigurationState) owns(stored *v1beta1.ConfigurationState) bool {
	return s.Pod == "" || slices.ContainsFunc(stored.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Name == s.Pod })
}

// applyObject makes the object, or makes it this pod's own.
func (s *ConfigurationState) applyObject(ctx context.Context) error {
	labels := map[string]string{"metallb.io/component-type": s.Component}
	if s.Node != "" {
		labels[labelNodeName] = s.Node
	}
	owners := []metav1.OwnerReference{}
	if s.Pod != "" {
		owner, err := podOwner(ctx, s.reader, s.namespace, s.Pod)
		if err != nil {
			return err
		}
		owners = append(owners, owner)
	}
	metadata := map[string]any{"namespace": s.namespace, "name": s.Name, "labels": labels, "ownerReferences": owners}
	return s.apply(map[string]any{"metadata": metadata}, func(obj client.Object, p client.Patch) error {
		return s.client.Patch(ctx, obj, p, client.FieldOwner(s.FieldManager), client.ForceOwnership)
	})
}

// apply sends a part of the object as a server-side apply.
func (s *ConfigurationState) apply(part map[string]any, send func(client.Object, client.Patch) error) error {
	part["apiVersion"], part["kind"] = v1beta1.GroupVersion.String(), "ConfigurationState"
	body, err := json.Marshal(part)
	if err != nil {
		return err
	}
	obj := &v1beta1.ConfigurationState{}
	obj.Namespace, obj.Name = s.namespace, s.Name
	if err := send(obj, client.RawPatch(types.ApplyPatchType, body)); err != nil {
		return fmt.Errorf("write ConfigurationState %s: %w", s.Name, err)
	}
	return nil
}

// status is what the object should say, given what it says now.
func (s *ConfigurationState) status(problems []lb.Problem, stored v1beta1.ConfigurationStateStatus) v1beta1.ConfigurationStateStatus {
	c := metav1.Condition{Type: s.Condition, Status: metav1.ConditionTrue, Reason: string(lb.Reconciled), LastTransitionTime: metav1.Now()}
	want := v1beta1.ConfigurationStateStatus{Result: v1beta1.ConfigurationValid}
	if len(problems) > 0 {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, string(lb.ConfigurationError), Summary(problems)
		want.Result, want.ErrorSummary = v1beta1.ConfigurationInvalid, c.Message
	}
	if old := meta.FindStatusCondition(stored.Conditions, s.Condition); old != nil && old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	want.Conditions = []metav1.Condition{c}
	return want
}

func sameStatus(a, b v1beta1.ConfigurationStateStatus) bool {
	if a.Result != b.Result || a.ErrorSummary != b.ErrorSummary || len(a.Conditions) != 1 {
		return false
	}
	c := a.Conditions[0]
	old := meta.FindStatusCondition(b.Conditions, c.Type)
	return old != nil && old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message
}

// Summary words problems as conditions and error summaries do: one a line.
func Summary(problems []lb.Problem) string {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	return Lines("configuration error: ", lines)
}

// longestMessage is how long the message of a condition may be (metav1.Condition), in characters, of which
// none here takes less than a byte.
const longestMessage = 32768

// Lines is a text of many lines as the message of a condition can hold it: of those for which there is no room it says
// how many there are.
func Lines(beginning string, lines []string) string {
	if text := beginning + strings.Join(lines, "\n"); len(text) <= longestMessage {
		return text
	}
	kept, text := 0, []byte(beginning)
	for room := longestMessage - len("… and 1000000 more"); len(text)+len(lines[kept]) < room; kept++ {
		text = append(append(text, lines[kept]...), '\n')
	}
	return fmt.Sprintf("%s… and %d more", text, len(lines)-kept)
}
