package clab

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Graph draws the topology: as text for a terminal, or as Mermaid, Graphviz (dot)
// or SVG. Nodes stand in columns, by how many links they are away from the first
// one of the file.
func (t *Topology) Graph(w io.Writer, form string) error {
	switch form {
	case "text":
		return t.text(w)
	case "mermaid":
		fmt.Fprintln(w, "graph LR")
		for _, l := range t.Links {
			fmt.Fprintf(w, "  %s ---|%s - %s| %s\n", l.A.Node, l.A.Interface, l.B.Interface, l.B.Node)
		}
	case "dot":
		fmt.Fprintf(w, "graph %q {\n  rankdir=LR; node [shape=box];\n", t.Name)
		for _, l := range t.Links {
			fmt.Fprintf(w, "  %q -- %q [taillabel=%q headlabel=%q];\n", l.A.Node, l.B.Node, l.A.Interface, l.B.Interface)
		}
		fmt.Fprintln(w, "}")
	case "svg":
		return t.svg(w)
	default:
		return fmt.Errorf("form %q: want text, mermaid, dot or svg", form)
	}
	return nil
}

// columns are the nodes by their distance from the first one.
func (t *Topology) columns() [][]string {
	distance := map[string]int{}
	var columns [][]string
	for _, n := range t.Nodes { // more than one start if the lab has several parts
		if _, ok := distance[n.Name]; ok {
			continue
		}
		distance[n.Name] = 0
		for queue := []string{n.Name}; len(queue) > 0; queue = queue[1:] {
			at := queue[0]
			d := distance[at]
			if d == len(columns) {
				columns = append(columns, nil)
			}
			columns[d] = append(columns[d], at)
			for _, next := range t.neighbors(at) {
				if _, ok := distance[next]; !ok {
					distance[next] = d + 1
					queue = append(queue, next)
				}
			}
		}
	}
	return columns
}

func (t *Topology) neighbors(node string) []string {
	var found []string
	for _, l := range t.Links {
		switch node {
		case l.A.Node:
			found = append(found, l.B.Node)
		case l.B.Node:
			found = append(found, l.A.Node)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

const (
	boxW, boxH, gapX, gapY, margin = 96, 32, 96, 24, 20
)

func (t *Topology) svg(w io.Writer) error {
	type point struct{ x, y int }
	at := map[string]point{}
	columns := t.columns()
	tallest := 0
	for _, c := range columns {
		tallest = max(tallest, len(c))
	}
	height := tallest*(boxH+gapY) - gapY
	for x, c := range columns {
		top := (height - (len(c)*(boxH+gapY) - gapY)) / 2
		for y, n := range c {
			at[n] = point{margin + x*(boxW+gapX), margin + top + y*(boxH+gapY)}
		}
	}
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n",
		2*margin+len(columns)*(boxW+gapX)-gapX, 2*margin+height)
	for _, l := range t.Links {
		a, b := at[l.A.Node], at[l.B.Node]
		fmt.Fprintf(w, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#667"><title>%s:%s - %s:%s</title></line>`+"\n",
			a.x+boxW/2, a.y+boxH/2, b.x+boxW/2, b.y+boxH/2, l.A.Node, l.A.Interface, l.B.Node, l.B.Interface)
	}
	for _, n := range t.Nodes {
		p := at[n.Name]
		fmt.Fprintf(w, `<rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="#eef" stroke="#446"/><text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n",
			p.x, p.y, boxW, boxH, p.x+boxW/2, p.y+boxH/2+5, n.Name)
	}
	_, err := fmt.Fprintln(w, "</svg>")
	return err
}

// text draws the columns side by side and lists the links under them.
func (t *Topology) text(w io.Writer) error {
	columns := t.columns()
	widths := make([]int, len(columns))
	tallest := 0
	for x, c := range columns {
		tallest = max(tallest, len(c))
		for _, n := range c {
			widths[x] = max(widths[x], len(n))
		}
	}
	for y := range tallest {
		var b strings.Builder
		for x, c := range columns {
			top := (tallest - len(c)) / 2
			cell := ""
			if y >= top && y-top < len(c) {
				cell = "[" + c[y-top] + "]"
			}
			fmt.Fprintf(&b, "%-*s    ", widths[x]+2, cell)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	fmt.Fprintln(w)
	for _, l := range t.Links {
		mtu := l.MTU
		if mtu == 0 {
			mtu = DefaultMTU
		}
		fmt.Fprintf(w, "%s:%s --- %s:%s  mtu %d\n", l.A.Node, l.A.Interface, l.B.Node, l.B.Interface, mtu)
	}
	return nil
}
