package figures

import "testing"

func TestFigures(t *testing.T) {
	for _, c := range []struct {
		name     string
		measured []int
		want     Figures[int]
	}{
		{"none", nil, Figures[int]{}},
		{"one is all of them", []int{7}, Figures[int]{7, 7, 7, 7}},
		{"the order does not matter", []int{3, 1, 2}, Figures[int]{1, 2, 3, 3}},
		{"of an even number, the lower of the two in the middle", []int{1, 2, 3, 4}, Figures[int]{1, 2, 4, 4}},
		{"one in a hundred may exceed the 99th percentile", upTo(200), Figures[int]{1, 100, 198, 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Of(c.measured); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func upTo(n int) (all []int) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}
