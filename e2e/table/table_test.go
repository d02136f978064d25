package table

import (
	"strings"
	"testing"
)

func TestColumnsAlignWhateverTheirCellsHold(t *testing.T) {
	table := Table{Heading: []string{"what", "ms"}}
	table.Add("outage … IPv4", "312")
	table.Add("none", "0")
	var out strings.Builder
	if err := table.Write(&out, "  "); err != nil {
		t.Fatal(err)
	}
	want := `
  ┌───────────────┬─────┐
  │ what          │  ms │
  ├───────────────┼─────┤
  │ outage … IPv4 │ 312 │
  │ none          │   0 │
  └───────────────┴─────┘
`
	if got := "\n" + out.String(); got != want {
		t.Errorf("drew%s, want%s", got, want)
	}
}
