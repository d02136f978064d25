package main

import (
	"slices"
	"strings"

	"github.com/go-kit/log/level"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// telling is what the user of a service was last told, so that nothing is said twice.
type telling struct {
	uid        types.UID
	reason     lb.Reason
	message    string
	deprecated string
}

// tellingOf is what there is to tell about a decision. That a service keeps what it
// has is nothing to tell: of most services nothing needs to be remembered.
func tellingOf(d lb.Decision, svc *corev1.Service) telling {
	t := telling{deprecated: strings.Join(kube.Service(svc).Request.Deprecated, ", ")}
	if d.Reason != lb.IPKept && d.Reason != lb.IPAllocated {
		t.reason, t.message = d.Reason, d.Message
	}
	if t != (telling{}) {
		t.uid = svc.UID
	}
	return t
}

// tell records events on the service about what changed for it.
func (a *allocator) tell(svc *corev1.Service, d lb.Decision) {
	if d.Cleared != "" {
		a.events.Normal(svc, lb.ClearAssignment, d.Cleared)
		level.Info(a.logger).Log("msg", "addresses cleared", "service", kube.Key(svc), "reason", lb.ClearAssignment, "why", d.Cleared)
	}
	if d.Reason == lb.IPAllocated {
		a.events.Normal(svc, lb.IPAllocated, d.Message)
	}
	now := tellingOf(d, svc)
	before := a.swapTold(svc, now)
	if before.uid != now.uid {
		before = telling{}
	}
	if now.deprecated != "" && now.deprecated != before.deprecated {
		a.events.Warning(svc, lb.DeprecatedAnnotation, "deprecated annotations in use, write them with the prefix metallb.io/: "+now.deprecated)
	}
	if now.reason == "" || now.reason == before.reason && now.message == before.message {
		return
	}
	if now.reason == lb.AdditionalAssignFailed {
		a.events.Normal(svc, now.reason, now.message)
	} else {
		a.events.Warning(svc, now.reason, now.message)
	}
	level.Info(a.logger).Log("msg", "no address assigned", "service", kube.Key(svc), "reason", now.reason, "why", now.message)
}

func (a *allocator) swapTold(svc *corev1.Service, now telling) telling {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.told[kube.Key(svc)]
	a.told[kube.Key(svc)] = now
	if now == (telling{}) {
		delete(a.told, kube.Key(svc))
	}
	delete(a.cleared, kube.Key(svc))
	return before
}

// report tells of the problems of the configuration, each once while it lasts.
func (a *allocator) report(o config.Objects, problems []lb.Problem) {
	for _, p := range problems {
		if slices.Contains(a.problems, p) {
			continue
		}
		level.Error(a.logger).Log("msg", "configuration problem", "object", p.Object, "field", p.Field, "error", p.Message)
		if obj := object(o, p.Object); obj != nil {
			a.events.Warning(obj, lb.ConfigurationError, p.Field+": "+p.Message)
		}
	}
	a.problems = problems
	a.state.Report(problems)
}

// object finds what a problem is about, or nil if it is gone.
func object(o config.Objects, ref lb.ObjectRef) runtime.Object {
	for i := range o.Pools {
		if ref.Kind == "IPAddressPool" && ref.Name == o.Pools[i].Name {
			return &o.Pools[i]
		}
	}
	for i := range o.L2Advertisements {
		if ref.Kind == "L2Advertisement" && ref.Name == o.L2Advertisements[i].Name {
			return &o.L2Advertisements[i]
		}
	}
	return nil
}
