package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Table writes one line per promise and returns how many were missed and how
// many could not be measured.
func Table(out io.Writer, r Results) (missed, absent int, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "MEASURE\tFIGURE\tTARGET\tBESIDE\tRESULT")
	for i := range Promises {
		p := &Promises[i]
		v, ok := r.Get(p.Bench, p.Unit)
		if !ok {
			absent++
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
			}
		}
		beside := ""
		if b, ok := r.Get(p.Bench, p.Peer); ok {
			beside = fmt.Sprintf(p.PeerFmt, b)
		}
		_, _ = fmt.Fprintf(w, "%s\t%.2f %s\t%s\t%s\t%s\n", p.Measure, v, p.Show, p.target(), beside, result)
	}
	return missed, absent, w.Flush()
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
