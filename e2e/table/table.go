// Package table draws tables for terminals.
package table

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table is a heading and rows of as many cells. The first column is set flush left and all others flush right, as suits
// names and figures.
type Table struct {
	Heading []string
	Rows    [][]string
}

// Add adds a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write draws the table, each line after the indent.
func (t *Table) Write(out io.Writer, indent string) error {
	widths := t.widths()
	lines := []string{rule(widths, "┌┬┐"), line(widths, t.Heading), rule(widths, "├┼┤")}
	for _, row := range t.Rows {
		lines = append(lines, line(widths, row))
	}
	lines = append(lines, rule(widths, "└┴┘"))
	_, err := fmt.Fprintf(out, "%s%s\n", indent, strings.Join(lines, "\n"+indent))
	return err
}

func (t *Table) widths() []int {
	widths := make([]int, len(t.Heading))
	for _, row := range append([][]string{t.Heading}, t.Rows...) {
		for i := range widths {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	return widths
}

func rule(widths []int, corners string) string {
	corner := []rune(corners)
	var dashes []string
	for _, w := range widths {
		dashes = append(dashes, strings.Repeat("─", w+2))
	}
	return string(corner[0]) + strings.Join(dashes, string(corner[1])) + string(corner[2])
}

func line(widths []int, cells []string) string {
	var out strings.Builder
	for i, cell := range cells {
		gap := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i == 0 {
			cell += gap
		} else {
			cell = gap + cell
		}
		out.WriteString("│ " + cell + " ")
	}
	return out.String() + "│"
}
