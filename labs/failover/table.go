package failover

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Case is one failure with one subject, and what was measured.
type Case struct {
	Failure Failure
	Subject Subject
	Times   []Times
}

// Promise is what the middle and the 99th percentile of both times must not exceed;
// zero: not judged.
type Promise struct{ Median, P99 time.Duration }

// Promises are those of the issue that this package was made for.
var Promises = map[Failure]Promise{
	SiteTunnel: {500 * time.Millisecond, 800 * time.Millisecond},
	Host:       {Median: time.Second},
}

// figures are the values of one column, sorted.
type figures []time.Duration

func (c *Case) column(of func(Times) time.Duration) figures {
	var f figures
	for _, t := range c.Times {
		f = append(f, of(t))
	}
	slices.Sort(f)
	return f
}

func (c *Case) route() figures   { return c.column(func(t Times) time.Duration { return t.Route }) }
func (c *Case) traffic() figures { return c.column(func(t Times) time.Duration { return t.Traffic }) }

// at is the value that a share of all does not exceed (nearest rank).
func (f figures) at(percent int) time.Duration {
	if len(f) == 0 {
		return 0
	}
	return f[max((len(f)*percent+99)/100-1, 0)]
}

func (f figures) String() string {
	return fmt.Sprintf("%d / %d / %d", f.at(50).Milliseconds(), f.at(99).Milliseconds(), f.at(100).Milliseconds())
}

// Table prints one line for each case and reports how many of our promises were
// missed. A case without figures is left out.
func Table(out io.Writer, cases []Case) (missed int, err error) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "FAILURE\tGATEWAYS\tRUNS\tOLD WAY GONE AT TGW\tTRAFFIC BACK\tBESIDE WGBGPD\tRESULT")
	_, _ = fmt.Fprintln(w, "\t\t\tms: median / p99 / longest\tms: median / p99 / longest\t\t")
	ours := map[Failure]time.Duration{}
	for i := range cases {
		c := &cases[i]
		if len(c.Times) == 0 {
			continue
		}
		beside, result := "", ""
		switch base := ours[c.Failure]; {
		case c.Subject == Ours:
			ours[c.Failure], result = c.traffic().at(50), "kept"
			if !c.kept() {
				result = "MISSED"
				missed++
			}
		case base > 0:
			beside = fmt.Sprintf("%.1f x", float64(c.traffic().at(50))/float64(base))
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", c.Failure, c.Subject, len(c.Times), c.route(), c.traffic(), beside, result)
	}
	return missed, w.Flush()
}

func (c *Case) kept() bool {
	p := Promises[c.Failure]
	for _, f := range []figures{c.route(), c.traffic()} {
		if p.Median > 0 && f.at(50) > p.Median || p.P99 > 0 && f.at(99) > p.P99 {
			return false
		}
	}
	return true
}
