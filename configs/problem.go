package configs

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wgbgp/wgbgp/wg"
)

// Problem is one mistake or one warning, with its place and its cure.
type Problem struct {
	Code string // of a warning, such as "W-IDLE"; empty: an error
	File string
	Line int    // from 1
	Key  string // path such as "site[paris].endpoint"; empty when the text is not TOML
	Text string // what is wrong
	Cure string // what to do about it
	// Temporary: another try may succeed, since somebody else did not answer.
	Temporary bool
}

// String is the one line that an operator sees:
//
//	file:line: key: problem; cure
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	if p.Code != "" {
		fmt.Fprintf(&b, "%s: ", p.Code)
	}
	if p.Key != "" {
		fmt.Fprintf(&b, "%s: ", p.Key)
	}
	b.WriteString(p.Text)
	if p.Cure != "" {
		fmt.Fprintf(&b, "; %s", p.Cure)
	}
	return b.String()
}

// Problems is a list of problems in the order of file and line. As an error it
// prints one per line.
type Problems []Problem

// Error joins the problems, one per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Temporary reports whether another try may succeed: nothing is wrong but that
// somebody else did not answer.
func (ps Problems) Temporary() bool {
	return len(ps) > 0 && !slices.ContainsFunc(ps, func(p Problem) bool { return !p.Temporary })
}

// sorted orders by place and drops repetitions. The order of files is the order
// in which they were read.
func (ps Problems) sorted(files []string) Problems {
	rank := func(p Problem) int { return slices.Index(files, p.File) }
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Key, b.Key), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(ps)
}

// quote repeats a value of the configuration in a message, unless it looks like
// a key: a private key pasted into the wrong place must not reach a log.
func quote(s string) string {
	if looksSecret(s) {
		return "(text that looks like a key)"
	}
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return strconv.Quote(s)
}

// looksSecret finds base64 of a WireGuard key's length anywhere in s.
func looksSecret(s string) bool {
	for _, f := range strings.FieldsFunc(s, func(r rune) bool { return !isBase64(r) }) {
		if b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(f, "=")); len(f) >= 40 || err == nil && len(b) == wg.KeyLen {
			return true
		}
	}
	return false
}

func isBase64(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '='
}
