package main

import (
	"context"
	"fmt"
	"time"

	"github.com/wgbgp/wgbgp/internal/api"
)

// renderBFD shows intervals as sent/expected: each end sends as seldom as the
// slower one wants.
func renderBFD(l api.BFDList) document {
	t := block{
		head:  []string{"Neighbor", "Local", "Remote", "Interface", "State", "Since", "Interval", "Mult", "Detect", "Flaps", "Diagnostic"},
		right: "......rrrr.",
	}
	for _, s := range l.Sessions {
		interval, mult := "-", fmt.Sprint(s.Multiplier)
		if s.DetectMS > 0 {
			interval = span(s.IntervalMS) + "/" + span(s.RemoteIntervalMS)
			mult = fmt.Sprintf("%d/%d", s.Multiplier, s.RemoteMultiplier)
		}
		why := s.Diagnostic
		switch {
		case s.Note != "":
			why = s.Note
		case s.RemoteState == "AdminDown":
			why = "held down by the other end"
		case s.State == "Up":
			why = ""
		case why == "none":
			why = "not heard yet"
		}
		t.add(s.Name, dash(addr(s.LocalAddress)), addr(s.Address), dash(s.Interface), s.State, ago(s.Since, "-"),
			interval, mult, word(s.DetectMS > 0, span(s.DetectMS), "-"), fmt.Sprint(s.Flaps), dash(why))
	}
	return document{t}
}

func span(ms float64) string { return time.Duration(ms * float64(time.Millisecond)).String() }

func completeBFD(ctx context.Context, a *app, _ []string) []string {
	var out []string
	_ = a.ask(ctx, func(ctx context.Context, c *api.Client) error {
		l, err := c.BFD(ctx, "")
		for _, s := range l.Sessions {
			out = append(out, s.Name)
		}
		return err
	})
	return out
}
