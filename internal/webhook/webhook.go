// Package webhook reviews changes of the configuration before the API server stores
// them: it refuses what would have a problem once it is there, and warns of what is
// legal and surely not meant. It knows no rules of its own: the check is that of package
// config, on the whole configuration with the change in it.
//
// It is no gate that anything relies on. What it does not see, or is not asked about, is
// reported per object by the programs, so that whenever it cannot tell, it accepts.
//
// # Certificates
//
// They are made by client-go's util/cert, with which the API server makes its own; what is
// here keeps them in a Secret, serves them, and has them trusted. Libraries that do all of
// that were not fit. The rotator of open-policy-agent/cert-controller (v0.16.0) serves from a
// mounted Secret, which the kubelet takes up to a minute to bring up to date, while the API
// server trusts the new authority alone at once; it watches all Secrets of the namespace,
// and makes none that is missing. The authority of cert-manager (v1.21.2) replaces one by the
// next without an overlap too, leaves the caBundle to another program, and brings a dozen
// modules along.
package webhook

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// World is what a change is held against. It is asked from many goroutines.
type World interface {
	// Objects reads the configuration as it is stored now.
	Objects(context.Context) (config.Objects, error)
	// Losing names the Services that would lose an address under a configuration, sorted.
	Losing(context.Context, lb.Config) []lb.ServiceKey
}

// Register has the server review all kinds of the configuration.
func Register(server webhook.Server, l log.Logger, namespace string, world World) {
	for _, k := range kinds {
		server.Register(k.path(), &admission.Webhook{
			Handler: reviewer{logger: l, namespace: namespace, kind: k, world: world},
			// A panic would be answered with a refusal; without an answer, failurePolicy decides.
			RecoverPanic: new(false),
		})
	}
}

// reviewer answers the API server about one kind.
type reviewer struct {
	logger    log.Logger
	namespace string
	kind      kind
	world     World
}

// Handle answers one question.
func (r reviewer) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.Namespace != r.namespace {
		return r.elsewhere(req)
	}
	reviewed, err := r.review(ctx, req)
	if err != nil {
		level.Error(r.logger).Log("msg", "change of the configuration not checked", "kind", r.kind.name, "name", req.Name, "error", err)
		return admission.Allowed("").WithWarnings("accepted without a check of the configuration as a whole: see ConfigurationStates for what may be wrong")
	}
	if denials := reviewed.denials(); len(denials) > 0 {
		why := strings.Join(denials, "\n")
		level.Info(r.logger).Log("msg", "change of the configuration refused", "kind", r.kind.name, "name", req.Name, "user", req.UserInfo.Username, "why", why)
		return admission.Denied(why)
	}
	return admission.Allowed("").WithWarnings(append(reviewed.warnings(), reviewed.losses(ctx, r.world)...)...)
}

// elsewhere answers about an object that no part of Herald will ever look at.
func (r reviewer) elsewhere(req admission.Request) admission.Response {
	if req.Operation == admissionv1.Create {
		return admission.Denied(fmt.Sprintf("resource must be created in %s namespace", r.namespace))
	}
	return admission.Allowed("")
}

func (r reviewer) review(ctx context.Context, req admission.Request) (review, error) {
	c := change{kind: r.kind, name: req.Name}
	if req.Operation != admissionv1.Delete {
		obj, err := r.kind.decode(req.Object.Raw)
		if err != nil {
			return review{}, fmt.Errorf("decode: %w", err)
		}
		c.name, c.object = obj.GetName(), obj // of one with generateName the request has no name
	}
	world, err := r.world.Objects(ctx)
	if err != nil {
		return review{}, err
	}
	return reviewed(world, c), nil
}
