package interop

import (
	"fmt"
	"strings"
)

// result is a column that was run.
type result struct {
	column
	version string
	cells   map[Row]Cell
}

const versionsHead, quirksHead = "\n## Versions\n\n", "\n## Quirks\n\n"

// page writes labs/INTEROP.md.
func page(results []result) string {
	var b strings.Builder
	b.WriteString(`# Interoperation

What wgbgpd and other BGP daemons do together, found out by running them: each cell is a check of what both programs say, in
network namespaces. Written by ` + "`make interop`" + `; a test fails when a cell changes. A router or site speaks directly with the
gateway; a TGW speaks through GRE with eBGP multihop 2 and IPv6 over its IPv4 session, as AWS does.

|`)
	for _, r := range results {
		fmt.Fprintf(&b, " | %s", strings.ReplaceAll(r.title(), " as router", ""))
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---", len(results)) + "|\n")
	var reasons []string
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s", row)
		for _, r := range results {
			c := r.cells[row]
			text := string(c.Verdict)
			switch {
			case c.Verdict == Absent:
				text = fmt.Sprintf("no [%d]", number(&reasons, c.Note))
			case c.Note != "":
				text = fmt.Sprintf("fails [%d]", number(&reasons, c.Note))
			}
			fmt.Fprintf(&b, " | %s", text)
		}
		b.WriteString(" |\n")
	}
	b.WriteString("\n\"no\" is what the partner does not have; \"n/a\" what its role does not know (TGW Connect has no IPv6 sessions, MD5, TTL security or BFD).\n\n")
	for i, r := range reasons {
		fmt.Fprintf(&b, "%d. %s.\n", i+1, r)
	}
	b.WriteString(versionsHead)
	for _, r := range results {
		if r.role == roleRouter {
			fmt.Fprintf(&b, "- %s: %s\n", r.name, r.version)
		}
	}
	b.WriteString(quirksHead)
	for _, r := range results {
		for _, n := range r.notes {
			fmt.Fprintf(&b, "- **%s**: %s\n", r.title(), n)
		}
	}
	b.WriteString(bullet(ourNotes))
	return b.String()
}

// number finds a reason or adds it, and counts from 1.
func number(reasons *[]string, reason string) int {
	for i, r := range *reasons {
		if r == reason {
			return i + 1
		}
	}
	*reasons = append(*reasons, reason)
	return len(*reasons)
}

// withoutVersions is the page with the section that a machine with other
// packages would write differently taken out.
func withoutVersions(page string) string {
	before, rest, _ := strings.Cut(page, versionsHead)
	_, after, _ := strings.Cut(rest, quirksHead)
	return before + quirksHead + after
}
