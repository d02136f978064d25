package plan

import (
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// table is what services contribute, merged by key and sorted. It is kept service by
// service, so that the change of one costs the work of one, and a copy.
type table[K comparable, V any] struct {
	key     func(V) K
	compare func(a, b K) int
	// merge must not depend on the order, nor change its arguments.
	merge func(a, b V) V

	contributions map[K][]contribution[V]
	changed       map[K]struct{}
	// rows are never changed: who has them may keep them.
	rows []V
}

type contribution[V any] struct {
	service lb.ServiceKey
	value   V
}

func newTable[K comparable, V any](key func(V) K, compare func(a, b K) int, merge func(a, b V) V) *table[K, V] {
	return &table[K, V]{
		key: key, compare: compare, merge: merge,
		contributions: map[K][]contribution[V]{}, changed: map[K]struct{}{}, rows: []V{},
	}
}

func (t *table[K, V]) add(service lb.ServiceKey, v V) {
	k := t.key(v)
	t.contributions[k] = append(t.contributions[k], contribution[V]{service, v})
	t.changed[k] = struct{}{}
}

// remove takes back all that the service contributes to the key.
func (t *table[K, V]) remove(service lb.ServiceKey, k K) {
	left := slices.DeleteFunc(t.contributions[k], func(c contribution[V]) bool { return c.service == service })
	t.contributions[k] = left
	if len(left) == 0 {
		delete(t.contributions, k)
	}
	t.changed[k] = struct{}{}
}

// sorted returns what all contribute now. It is a new slice whenever something changed.
func (t *table[K, V]) sorted() []V {
	if len(t.changed) == 0 {
		return t.rows
	}
	changed := make([]K, 0, len(t.changed))
	for k := range t.changed {
		changed = append(changed, k)
	}
	slices.SortFunc(changed, t.compare)
	rows := make([]V, 0, len(t.rows)+len(changed))
	rest := t.rows
	for _, k := range changed {
		i, found := slices.BinarySearchFunc(rest, k, func(v V, k K) int { return t.compare(t.key(v), k) })
		rows = append(rows, rest[:i]...)
		if found {
			i++
		}
		rest = rest[i:]
		if all := t.contributions[k]; len(all) > 0 {
			rows = append(rows, t.merged(all))
		}
	}
	t.rows = append(rows, rest...)
	clear(t.changed)
	return t.rows
}

func (t *table[K, V]) merged(all []contribution[V]) V {
	out := all[0].value
	for _, c := range all[1:] {
		out = t.merge(out, c.value)
	}
	return out
}
