package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/wgbgp/wgbgp/internal/api"
)

// style is how a document becomes text.
type style struct {
	Dump  bool // rows only, tab-separated, no headers, full values
	Color bool
}

// document is an answer as blocks of text, before alignment.
type document []block

// block is one table, or lines of text that a dump leaves out.
type block struct {
	title string // above it, left out of a dump
	lines []string
	head  []string
	right string // one letter per column: r is right-aligned
	rows  [][]string
	pairs bool // a table of names and values without a header
	// dumpOnly leaves the rows to a dump; lines say the same as text.
	dumpOnly bool
}

func text(lines ...string) block { return block{lines: lines} }

// add appends one row.
func (b *block) add(cells ...string) { b.rows = append(b.rows, cells) }

func (d document) render(st style) string {
	var out strings.Builder
	for i, b := range d {
		if st.Dump {
			for _, r := range b.rows {
				out.WriteString(dumpLine(r))
			}
			continue
		}
		if i > 0 {
			out.WriteString("\n")
		}
		if b.title != "" {
			out.WriteString(b.title + "\n")
		}
		for _, l := range b.lines {
			out.WriteString(l + "\n")
		}
		if !b.dumpOnly {
			b.table(&out, st)
		}
	}
	return out.String()
}

// dumpLine drops the bar that gobgp draws in front of counters.
func dumpLine(r []string) string {
	out := oneLine(r)
	for i, c := range out {
		out[i] = strings.TrimSpace(strings.TrimPrefix(c, "|"))
	}
	return strings.Join(out, "\t") + "\n"
}

// cellText keeps what others wrote (reasons, details) from breaking the table
// or the terminal.
var cellText = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ", "\x1b", "?")

func oneLine(r []string) []string {
	out := make([]string, len(r))
	for i, c := range r {
		out[i] = cellText.Replace(c)
	}
	return out
}

// table aligns the columns. text/tabwriter can neither align one column to the
// right nor ignore color codes, so the few lines are here.
func (b block) table(out *strings.Builder, st style) {
	rows := b.rows
	if b.head != nil {
		rows = append([][]string{b.head}, rows...)
	}
	var width []int
	for _, r := range rows {
		for i, c := range r {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	for n, r := range rows {
		var line strings.Builder
		for i, c := range oneLine(r) {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i > 0 {
				line.WriteString("  ")
			}
			shown := c
			if st.Color && (n > 0 || b.head == nil) {
				shown = paint(c)
			}
			if i < len(b.right) && b.right[i] == 'r' {
				line.WriteString(pad + shown)
			} else {
				line.WriteString(shown + pad)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// paint colors the fixed words of states; the word itself stays, so that
// nothing is told by color alone.
func paint(c string) string {
	code := ""
	switch c {
	case "Up", "up", "installed", "Established", "ok", "announced", "announce":
		code = "32"
	case "Down", "down", "failed", "broken", "error", "withdraw", "shadowed":
		code = "31"
	case "suspect", "stalled", "idle", "withheld", "pending", "warning", "draining", "suppressed", api.StatePolicy,
		"Init", "AdminDown", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm":
		code = "33"
	case "disabled", "foreign":
		code = "2"
	default:
		return c
	}
	return "\x1b[" + code + "m" + c + "\x1b[0m"
}

// ago is the age of a stamp, or never.
func ago(s api.Stamp, never string) string {
	if s.IsZero() {
		return never
	}
	return api.FormatAge(s.Age())
}

// size is a number of bytes in three digits, with powers of 1024.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	v, units := float64(n), "KMGTPE"
	i := -1
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if v < 10 {
		return fmt.Sprintf("%.1f%c", v, units[i])
	}
	return fmt.Sprintf("%.0f%c", v, units[i])
}

func millis(v float64) string {
	switch {
	case v <= 0:
		return "-"
	case v < 10:
		return fmt.Sprintf("%.1fms", v)
	default:
		return fmt.Sprintf("%.0fms", v)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// dash stands for an empty cell in the middle of a table.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// because joins a reason word and its detail.
func because(reason, detail string) string {
	switch {
	case reason == "":
		return detail
	case detail == "":
		return reason
	default:
		return reason + ": " + detail
	}
}
