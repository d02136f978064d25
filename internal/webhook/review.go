package webhook

import (
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/herald-lb/herald/internal/config"
	"github.com/herald-lb/herald/internal/lb"
)

// change is what somebody asks for: one object of a kind as it is to be, or nil where it
// is to go.
type change struct {
	kind   kind
	name   string
	object client.Object
}

// review is what a change would bring about.
type review struct {
	change
	// world is the configuration with the change in it.
	world config.Objects
	// before and after are what is in force without the change and with it.
	before, after lb.Config
	// problems are those that are there with the change alone.
	problems []lb.Problem
}

// reviewed parses the world without the change and with it, as the programs would one
// after the other. What had a problem before has it still, and is not held against the
// change. References to what does not exist yet are no problem here: the
// order in which objects are applied does not matter.
func reviewed(world config.Objects, c change) review {
	r := review{change: c, world: c.kind.replace(world, c.name, c.object)}
	var keeper config.Keeper
	var known, now []lb.Problem
	r.before, known = keeper.Parse(completed(world))
	r.after, now = keeper.Parse(completed(r.world))
	for _, p := range now {
		if !slices.ContainsFunc(known, func(k lb.Problem) bool { return k.Object == p.Object && k.Message == p.Message }) {
			r.problems = append(r.problems, p)
		}
	}
	return r
}

// denials are the reasons to refuse the change; with none it is accepted. A removal makes
// nothing wrong: a problem that comes with it is another's, which had one like it before.
func (r review) denials() []string {
	if r.object == nil {
		return r.danglingProfile()
	}
	var out []string
	for _, p := range r.problems {
		out = append(out, p.String())
	}
	return out
}

// danglingProfile is the one reference that is guarded against a removal: a peer whose BFDProfile goes
// would lose its BFD session with the next speaker that starts.
func (r review) danglingProfile() []string {
	if r.kind.name != "BFDProfile" {
		return nil
	}
	for i := range r.world.Peers {
		if r.world.Peers[i].Spec.BFDProfile == r.name {
			return []string{fmt.Sprintf("failed to delete BFDProfile %s, used by BGPPeer %s", r.name, r.world.Peers[i].Name)}
		}
	}
	return nil
}
