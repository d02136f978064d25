// Package figures sums measurements up.
package figures

import (
	"cmp"
	"slices"
)

// Figures sum measurements up.
type Figures[T cmp.Ordered] struct {
	Minimum, Median, P99, Maximum T
}

// Of sums up what was measured; zeros if nothing was.
func Of[T cmp.Ordered](measured []T) Figures[T] {
	if len(measured) == 0 {
		return Figures[T]{}
	}
	sorted := slices.Sorted(slices.Values(measured))
	return Figures[T]{
		Minimum: sorted[0], Median: percentile(sorted, 50), P99: percentile(sorted, 99), Maximum: sorted[len(sorted)-1],
	}
}

// percentile is the lowest value that is not exceeded by p of 100 (the nearest rank).
func percentile[T any](sorted []T, p int) T {
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}
