package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table writes one line per promise, then why those were missed of which it is
// known, and returns how many were missed and how many could not be measured. Those
// are left out unless all is set.
func Table(out io.Writer, r Results, all bool) (missed, absent int, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "MEASURE\tFIGURE\tTARGET\tBESIDE\tRESULT")
	var why []string
	for i := range Promises {
		p := &Promises[i]
		v, ok := r.Get(p.Bench, p.Unit)
		if !ok {
			absent++
			if !all {
				continue
			}
			_, _ = fmt.Fprintf(w, "%s\t-\t%s\t\tnot measured\n", p.Measure, p.target())
			continue
		}
		if p.Scale != 0 {
			v *= p.Scale
		}
		result := ""
		if p.Limit != 0 {
			result = "pass"
			if !p.kept(v) {
				result = "MISS"
				missed++
				if p.Why != "" {
					why = append(why, p.Measure+": "+p.Why)
				}
			}
		}
		beside := p.beside(r)
		_, _ = fmt.Fprintf(w, "%s\t%.2f %s\t%s\t%s\t%s\n", p.Measure, v, p.Show, p.target(), beside, result)
	}
	err = w.Flush()
	for _, line := range why {
		_, _ = fmt.Fprintf(out, "\n%s\n", line)
	}
	return missed, absent, err
}

// beside prints the figures that explain the line, if all are there.
func (p *Promise) beside(r Results) string {
	var v []any
	for _, unit := range strings.Split(p.Peer, ",") {
		f, ok := r.Get(p.Bench, unit)
		if !ok {
			return ""
		}
		v = append(v, f)
	}
	return fmt.Sprintf(p.PeerFmt, v...)
}

func (p *Promise) kept(v float64) bool {
	if p.AtLeast {
		return v >= p.Limit
	}
	return v <= p.Limit
}

func (p *Promise) target() string {
	switch {
	case p.Limit == 0:
		return ""
	case p.AtLeast:
		return fmt.Sprintf(">= %g %s", p.Limit, p.Show)
	}
	return fmt.Sprintf("<= %g %s", p.Limit, p.Show)
}
