package main

import (
	"fmt"
	"strings"

	"github.com/wgbgp/wgbgp/internal/api"
)

func renderStatus(s api.Status) document {
	b := block{pairs: true}
	b.add("Host", s.Host)
	b.add("Version", s.Version)
	b.add("AS", fmt.Sprint(s.ASN))
	b.add("Router ID", dash(addr(s.RouterID)))
	b.add("Region", dash(s.Region))
	b.add("Uptime", ago(s.Started, "-"))
	switch d := s.Drain; {
	case d != nil:
		b.add("Draining", strings.TrimSpace(fmt.Sprintf("%s, begun %s ago by %s", d.Phase, ago(d.Since, "-"), dash(d.By))))
		b.add("Reason", dash(d.Reason))
	case s.Draining:
		b.add("Draining", "yes: the daemon ends")
	}
	c := s.Sites
	b.add("Sites", fmt.Sprintf("%d", c.Total)+counts([]int{c.Up, c.Suspect, c.Down, c.Idle, c.Suppressed, c.Disabled},
		"up", "suspect", "down", "idle", "suppressed", "disabled"))
	b.add("Sessions", fmt.Sprintf("%d", s.Sessions.Total)+counts([]int{
		s.Sessions.Established, s.Sessions.Policy,
		s.Sessions.Total - s.Sessions.Established - s.Sessions.Policy,
	}, "established", "without policy", "not established"))
	p := s.Prefixes
	b.add("Prefixes", fmt.Sprintf("%d learned, %d announced, %d withheld, %d routes installed", p.Learned, p.Announced, p.Withheld, p.Routes))
	for _, q := range s.Quotas {
		b.add("Quota", fmt.Sprintf("group %s: %d of %d prefixes", q.Group, q.Announced, q.Limit)+
			word(q.Wanted > q.Announced, fmt.Sprintf(", %d held back", q.Wanted-q.Announced), ""))
	}
	if r := s.AWS; r.Requests > 0 {
		b.add("AWS", fmt.Sprintf("%d requests", r.Requests)+counts([]int{int(r.Throttled), int(r.Denied), int(r.Failed)}, "throttled", "denied", "failed"))
	}
	cfg := s.Config.File
	if !s.Config.Loaded.IsZero() {
		cfg += ", loaded " + ago(s.Config.Loaded, "") + " ago"
	}
	b.add("Config", dash(cfg))
	if s.Config.Error != "" {
		b.add("Reload", "failed "+ago(s.Config.Attempted, "")+" ago, the old configuration runs: "+s.Config.Error)
	}
	d := document{b}
	if len(s.Tunnels) > 0 {
		t := block{head: []string{"Tunnel", "State", "Backend", "Local", "Remote", "MTU", "Rx/Tx packets", "Dropped", "Error"}}
		for _, x := range s.Tunnels {
			t.add(x.Name, word(x.Up, "up", "down"), x.Backend, addr(x.Local), addr(x.Remote), fmt.Sprint(x.MTU),
				fmt.Sprintf("%d/%d", x.Rx, x.Tx), fmt.Sprint(x.Dropped), x.Error)
		}
		d = append(d, t)
	}
	if t := statusTrouble(s); len(t.rows) > 0 {
		d = append(d, t)
	}
	return d
}

// statusTrouble is everything that needs a person, in one table.
func statusTrouble(s api.Status) block {
	t := block{head: []string{"Alarm", "Since", "What"}}
	for _, e := range s.Edges {
		if !e.OK {
			t.add("edge "+e.Name, "-", e.Error)
		}
	}
	for _, a := range s.Alarms {
		t.add(a.Name, ago(a.Since, "-"), because(a.Object, a.Text))
	}
	for _, y := range s.Sysctls {
		t.add("sysctl "+y.Name, "-", fmt.Sprintf("is %s, want %s: %s", y.Have, y.Want, y.Text))
	}
	return t
}

// counts lists what is not zero: ": 3 up, 1 down".
func counts(n []int, what ...string) string {
	var out []string
	for i, v := range n {
		if v > 0 {
			out = append(out, fmt.Sprintf("%d %s", v, what[i]))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

func word(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func renderCheck(r api.CheckReport) document {
	if len(r.Problems) == 0 {
		return document{text("ok")}
	}
	t := block{head: []string{"Severity", "Object", "Reason", "What", "Cure"}}
	for _, p := range r.Problems {
		t.add(p.Severity, p.Object, dash(p.Reason), p.Text, p.Cure)
	}
	return document{t}
}

func renderDone(d api.Done) document { return document{text(d.Text)} }

// versions is this program and the daemon it talks to.
type versions struct {
	Schema string       `json:"schema"`
	Client api.Version  `json:"client"`
	Daemon *api.Version `json:"daemon"` // null: not reached
}

func renderVersions(v versions) document {
	t := block{pairs: true}
	t.add("wgbgp", versionLine(v.Client))
	if v.Daemon != nil {
		t.add("wgbgpd", versionLine(*v.Daemon))
	}
	return document{t}
}

func versionLine(v api.Version) string {
	s := v.Version
	if len(v.Revision) >= 12 {
		s += " " + v.Revision[:12] + word(v.Modified, "+", "")
	}
	return s + " " + v.Go + " " + v.Platform
}
