package main

import (
	"fmt"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
)

func renderExplain(e api.Explain) document {
	t := block{head: []string{"Link", "State", "What"}}
	for _, s := range e.Steps {
		state := word(s.OK, "ok", "broken")
		switch {
		case s.Skipped:
			state = "-"
		case !s.OK && s.CausedBy != "":
			state = "held" // a consequence of another link
		}
		t.add(s.Name, state, s.Text)
		for _, ev := range s.Evidence {
			t.add("", "", "  "+ev)
		}
	}
	end := e.Verdict
	if !e.OK {
		end = "first broken link: " + e.Broken + ": " + e.Verdict
	}
	title := e.Query
	if e.Prefix.IsValid() && e.Prefix.String() != e.Query {
		title += " is in " + e.Prefix.String()
	}
	if e.Site != "" {
		title += ", site " + e.Site
	}
	return document{text(title), t, text(end)}
}

func renderConfig(c api.Config) document { return document{text(strings.TrimRight(c.Text, "\n"))} }

func renderReport(r api.ConfigReport) document {
	var d document
	if len(r.Changes) > 0 {
		t := block{head: []string{"Class", "Object", "Action", "Keys"}}
		for _, c := range r.Changes {
			t.add(c.Class, c.Object, c.Action, strings.Join(c.Keys, " "))
		}
		d = append(d, t)
	}
	switch {
	case !r.OK:
	case r.Applied && len(r.Changes) == 0:
		d = append(d, text(r.File+": taken over, nothing changed"))
	case r.Applied:
		d = append(d, text(r.File+": taken over"))
	case len(r.Changes) > 0:
	default:
		d = append(d, text(r.File+": ok"))
	}
	return d
}

// renderDiff says so when there is no difference.
func renderDiff(r api.ConfigReport) document {
	if r.OK && len(r.Changes) == 0 {
		return document{text("no changes")}
	}
	return renderReport(r)
}

// problemLine is the form compilers use, so that editors find the place.
func problemLine(p api.ConfigProblem) string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d", p.Line)
	}
	for _, part := range []string{p.Code, p.Key, p.Problem} {
		if part != "" {
			s += ": " + part
		}
	}
	if p.Cure != "" {
		s += "; " + p.Cure
	}
	return s
}

// eventLine is time, kind and then key=value, as logs are.
func eventLine(e api.Event, dump bool) string {
	prefix := ""
	if e.Prefix.IsValid() {
		prefix = e.Prefix.String()
	}
	t := e.Time.Format("2006-01-02T15:04:05.000Z07:00")
	if dump {
		return strings.Join(oneLine([]string{t, fmt.Sprint(e.Seq), e.Kind, prefix, e.Site, e.Neighbor, e.Edge, e.Reason, e.Detail}), "\t")
	}
	s := fmt.Sprintf("%s %-8s", t, e.Kind)
	for _, kv := range [][2]string{
		{"prefix", prefix}, {"site", e.Site}, {"neighbor", e.Neighbor}, {"edge", e.Edge}, {"reason", e.Reason}, {"detail", e.Detail},
	} {
		switch {
		case kv[1] == "":
		case strings.ContainsAny(kv[1], " \t\n\"="):
			s += fmt.Sprintf(" %s=%q", kv[0], kv[1])
		default:
			s += " " + kv[0] + "=" + kv[1]
		}
	}
	return s
}
