package main

import (
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// leaving is which services hold an address no more that their status may still show,
// and which others wait for it to vanish there. An address is written to the status of
// its next holder only then, so that nobody ever sees two services with an address that
// they may not share, however the writes overtake each other.
type leaving struct {
	leavers map[netip.Addr][]lb.ServiceKey
	of      map[lb.ServiceKey][]netip.Addr
	waiting map[netip.Addr][]lb.ServiceKey
}

func newLeaving() leaving {
	return leaving{
		leavers: map[netip.Addr][]lb.ServiceKey{},
		of:      map[lb.ServiceKey][]netip.Addr{},
		waiting: map[netip.Addr][]lb.ServiceKey{},
	}
}

// set says what the service leaves from now on, and returns who waited for what it does
// not leave any more.
func (l leaving) set(key lb.ServiceKey, addrs []netip.Addr) []lb.ServiceKey {
	before := l.of[key]
	for _, a := range addrs {
		if !slices.Contains(before, a) {
			l.leavers[a] = append(l.leavers[a], key)
		}
	}
	l.of[key] = addrs
	if len(addrs) == 0 {
		delete(l.of, key)
	}
	var woken []lb.ServiceKey
	for _, a := range minus(before, addrs) {
		l.leavers[a] = slices.DeleteFunc(l.leavers[a], func(k lb.ServiceKey) bool { return k == key })
		if len(l.leavers[a]) == 0 {
			woken = append(woken, l.waiting[a]...)
			delete(l.leavers, a)
			delete(l.waiting, a)
		}
	}
	return woken
}

// presentable is that much of a decision as may be written now, given what the status
// shows already. The service waits for the rest.
func (l leaving) presentable(key lb.ServiceKey, shown []netip.Addr, d lb.Decision) lb.Decision {
	var vacant []netip.Addr
	for _, a := range d.Addresses {
		if slices.Contains(shown, a) || len(l.leavers[a]) == 0 {
			vacant = append(vacant, a)
		} else if !slices.Contains(l.waiting[a], key) {
			l.waiting[a] = append(l.waiting[a], key)
		}
	}
	if len(vacant) == len(d.Addresses) {
		return d
	}
	part := lb.Decision{Addresses: vacant, Reason: lb.IPKept, Cleared: d.Cleared}
	if len(vacant) > 0 {
		part.Pool = d.Pool
	}
	return part
}

func minus(addrs, others []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return slices.Contains(others, a) })
}
