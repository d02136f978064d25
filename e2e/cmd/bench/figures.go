package main

import (
	"cmp"
	"slices"
)

// figures sum measurements up.
type figures[T cmp.Ordered] struct {
	minimum, median, p99, maximum T
}

func figuresOf[T cmp.Ordered](measured []T) figures[T] {
	if len(measured) == 0 {
		return figures[T]{}
	}
	sorted := slices.Sorted(slices.Values(measured))
	return figures[T]{
		minimum: sorted[0], median: percentile(sorted, 50), p99: percentile(sorted, 99), maximum: sorted[len(sorted)-1],
	}
}

// percentile is the lowest value that is not exceeded by p of 100 (the nearest rank).
func percentile[T any](sorted []T, p int) T {
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}
