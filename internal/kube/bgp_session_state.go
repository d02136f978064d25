package kube

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/go-kit/log"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// BGPSessionStates says, in one BGPSessionState for each peer, how the session of this
// node with it goes.
type BGPSessionStates struct {
	*statusObjects[v1beta1.BGPSessionStateStatus]
	// reported are the names of the objects that the last report was about. They belong
	// to the goroutine that reports.
	reported map[string]bool
}

const (
	// knowsRetry is when an API server is asked again that gave no answer.
	knowsRetry = 5 * time.Second
	// knowsRecheck is when it is asked again whether it knows by now what it did not.
	knowsRecheck = time.Minute
)

// AwaitBGPSessionStates waits until the cluster knows the kind, and lets it be read: manifests
// that predate Herald bring neither the kind nor the leave, and of those that were just applied
// the one may count a moment before the other. It calls missing if it has to wait for that, and
// reports false if ctx ends first.
func AwaitBGPSessionStates(ctx context.Context, r client.Reader, namespace string, missing func()) bool {
	for told := false; ctx.Err() == nil; {
		known, err := knowsBGPSessionStates(ctx, r, namespace)
		wait := knowsRecheck
		switch {
		case known:
			return true
		case err != nil:
			wait = knowsRetry
		case !told:
			told = true
			missing()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return false
}

func knowsBGPSessionStates(ctx context.Context, r client.Reader, namespace string) (bool, error) {
	err := r.List(ctx, &v1beta1.BGPSessionStateList{}, client.InNamespace(namespace), client.Limit(1))
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return false, nil
	}
	return err == nil, err
}

// NewBGPSessionStates returns the keeper of the objects of one node.
func NewBGPSessionStates(l log.Logger, c cluster.Cluster, namespace, pod string, node lb.NodeName) *BGPSessionStates {
	return &BGPSessionStates{statusObjects: newStatusObjects(l, c, namespace, pod, node, statusKind[v1beta1.BGPSessionStateStatus]{
		name:   "BGPSessionState",
		object: func() client.Object { return &v1beta1.BGPSessionState{} },
		status: func(o client.Object) *v1beta1.BGPSessionStateStatus { return &o.(*v1beta1.BGPSessionState).Status },
	})}
}

// Report notes how all sessions of this node go. It does not block; call it from one
// goroutine.
func (s *BGPSessionStates) Report(states []lb.SessionState) {
	now := map[string]bool{}
	for _, state := range states {
		name := s.nameOf(state.Peer)
		now[name] = true
		status := s.status(state)
		s.say(name, func() map[string]string {
			return map[string]string{labelPeer: labelValue(status.Peer), labelVRF: labelValue(status.VRF)}
		}, status)
	}
	for name := range s.reported {
		if !now[name] {
			s.unsay(name)
		}
	}
	s.reported = now
	s.Decided()
}

func (s *BGPSessionStates) nameOf(peer lb.PeerName) string {
	return nameOf("session-", string(s.node)+" "+string(peer))
}

func (s *BGPSessionStates) status(state lb.SessionState) v1beta1.BGPSessionStateStatus {
	out := v1beta1.BGPSessionStateStatus{
		Node: string(s.node), BGPPeer: string(state.Peer), Peer: state.Interface, VRF: state.VRF,
		BGPStatus: string(state.Status), Since: inSeconds(state.Since), Reason: string(state.Down), Message: state.LastError,
		Problem:            state.Problem,
		PrefixesAdvertised: int32(state.Advertised),
		BFDStatus:          "N/A",
	}
	if out.Peer == "" && state.Address.IsValid() {
		out.Peer = state.Address.String()
	}
	if bfd := state.BFD; bfd != nil {
		out.BFDStatus = string(bfd.Status)
		out.BFDDiagnostic, out.BFDRemoteDiagnostic = bfd.Diagnostic, bfd.RemoteDiagnostic
		if bfd.Problem != "" {
			out.Message = strings.TrimPrefix(out.Message+"; BFD: "+bfd.Problem, "; ")
		}
		out.BFDTransmitInterval, out.BFDDetectionTime = int32(bfd.TransmitInterval.Milliseconds()), int32(bfd.DetectionTime.Milliseconds())
	}
	return out
}

// inSeconds is the time as the API server stores it, without what it would drop.
func inSeconds(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t.Truncate(time.Second)}
}

var notInLabels = regexp.MustCompile(`[^A-Za-z0-9._-]`)

// labelValue is the text as the value of a label can hold it: with dashes for colons and
// whatever else is not allowed there.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
func labelValue(text string) string {
	text = notInLabels.ReplaceAllString(text, "-")
	return strings.Trim(text[:min(len(text), 63)], "._-")
}
