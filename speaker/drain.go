package main

import (
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"github.com/herald-lb/herald/internal/lb"
)

// drain times how long a node offers its routes still, as ways to leave, after it got
// the label that excludes it. One that has it from the start offers none.
type drain struct {
	time     time.Duration
	seen     bool
	excluded bool
	until    time.Time
}

// see notes whether the node is excluded now, and reports whether it drains and whether
// that has just begun.
func (d *drain) see(excluded bool, now time.Time) (draining, begun bool) {
	begun = d.seen && excluded && !d.excluded && d.time > 0
	if begun {
		d.until = now.Add(d.time)
	}
	d.seen, d.excluded = true, excluded
	return excluded && now.Before(d.until), begun
}

// draining reports whether this node drains, and has it looked again when that is over.
func (s *speaker) draining(nodes []lb.Node) bool {
	excluded := slices.ContainsFunc(nodes, func(n lb.Node) bool { return n.Name == s.options.node && n.Excluded })
	draining, begun := s.drain.see(excluded && !s.options.ignoreExcludeLabel, time.Now())
	if begun {
		level.Info(s.logger).Log("msg", "node is excluded: draining its BGP routes", "for", s.drain.time)
		time.AfterFunc(s.drain.time, s.inbox.addEverything)
	}
	return draining
}
