package api

import (
	"fmt"
	"net/http"
	"strings"
)

// View is one look at everything, for conclusions that need more than one
// kind of answer.
type View struct {
	Status    Status
	Peers     []Peer
	Sites     []Site
	Neighbors []Neighbor
	RIB       []RIBEntry
	Routes    []Route
	Health    []Health
	Refused   []RefusedPath // paths that import policy refused, near the question
}

// getCheck answers what is wrong as seen by the daemon; with kernel=true only
// what a comparison with the kernel finds.
func getCheck(s *Server, r *http.Request, _ order) (any, error) {
	var v View
	var err error
	ctx := r.Context()
	if r.URL.Query().Get("kernel") == "true" {
		p, err := s.backend.CheckKernel(ctx)
		return checkReport(p), err
	}
	if v.Status, err = s.backend.Status(ctx); err != nil {
		return nil, err
	}
	if v.Peers, err = s.backend.Peers(ctx); err != nil {
		return nil, err
	}
	if v.Sites, err = s.backend.Sites(ctx); err != nil {
		return nil, err
	}
	if v.Neighbors, err = s.backend.Neighbors(ctx); err != nil {
		return nil, err
	}
	if v.Routes, err = s.backend.Routes(ctx, PrefixQuery{}); err != nil {
		return nil, err
	}
	return checkReport(Problems(v)), nil
}

func checkReport(p []Problem) CheckReport {
	rep := CheckReport{Schema: Schema, OK: true, Problems: p}
	for _, x := range p {
		rep.OK = rep.OK && x.Severity != SeverityError
	}
	return rep
}

// Problems lists what a monitoring system should wake somebody for (errors)
// and what an operator should know (warnings). What the operator ordered
// (disabled, draining) is never an error.
func Problems(v View) []Problem {
	var c problems
	c.status(v.Status)
	for _, s := range v.Sites {
		c.site(s)
	}
	for _, n := range v.Neighbors {
		c.neighbor(n, v.Sites)
	}
	for _, p := range v.Peers {
		c.peer(p)
	}
	for _, r := range v.Routes {
		c.route(r)
	}
	return c.list
}

type problems struct{ list []Problem }

func (c *problems) err(object, reason, text, cure string) {
	c.list = append(c.list, Problem{SeverityError, object, reason, text, cure})
}

func (c *problems) warn(object, reason, text, cure string) {
	c.list = append(c.list, Problem{SeverityWarning, object, reason, text, cure})
}

func (c *problems) status(s Status) {
	if s.Draining {
		c.warn("gateway", "draining", "the gateway is draining: nothing is announced", "")
	}
	if s.Config.Error != "" {
		c.err("config", "reload-failed", "the latest reload failed and the old configuration runs: "+s.Config.Error,
			"wgbgp config check "+s.Config.File)
	}
	for _, e := range s.Edges {
		if !e.OK {
			c.err("edge "+e.Name, "edge-failed", e.Error, "see the log of wgbgpd")
		}
	}
	for _, t := range s.Tunnels {
		if !t.Up {
			c.err("tunnel "+t.Name, "tunnel-down", first(t.Error, "the tunnel is not up"), "")
		}
	}
	for _, y := range s.Sysctls {
		c.err("sysctl "+y.Name, "sysctl", fmt.Sprintf("is %s: %s", y.Have, y.Text), fmt.Sprintf("sysctl -w %s=%s", y.Name, y.Want))
	}
	for _, a := range s.Alarms {
		c.list = append(c.list, Problem{first(a.Severity, SeverityError), first(a.Object, "alarm "+a.Name), a.Name, a.Text, a.Cure})
	}
}

func (c *problems) site(s Site) {
	switch {
	case s.Disabled:
		c.warn("site "+s.Name, "disabled", "disabled by the operator", "wgbgp site "+s.Name+" enable")
		return
	case s.Verdict == "down" || s.Verdict == "suppressed":
		c.err("site "+s.Name, s.Reason, join(s.Verdict, s.Detail), "wgbgp health "+s.Name)
		return // Its withheld prefixes have the same cause.
	case s.Verdict == "suspect":
		c.warn("site "+s.Name, s.Reason, join(s.Verdict, s.Detail), "wgbgp health "+s.Name)
	}
	for _, p := range s.Prefixes {
		if !p.Announced && p.Reason == "overlap" {
			c.err("site "+s.Name, p.Reason, join(p.Prefix.String()+" is withheld", p.Detail), "wgbgp explain "+p.Prefix.String())
		}
	}
}

func (c *problems) neighbor(n Neighbor, sites []Site) {
	object := "neighbor " + n.Name
	switch {
	case n.Error != "":
		c.err(object, "not-configured", n.Error, "")
	case n.State == StatePolicy:
		c.err(object, "policy", "the session is up and exchanges nothing, because it has no policy (RFC 8212)", n.Hint)
	case n.Range.IsValid() && n.LossReason == "max-sessions":
		c.warn(object, "max-sessions", fmt.Sprintf("all %d sessions are taken, others are refused", n.MaxSessions), "raise max-sessions")
	case n.Range.IsValid() || n.Dynamic != "" && n.State != "Established":
		// Nobody has to come, and who comes may leave.
	case n.State != "Established":
		if n.Site != "" && disabled(sites, n.Site) {
			return
		}
		c.err(object, first(n.LossReason, "session-down"), "the session is in state "+n.State, n.Hint)
	case n.BFD != "" && n.BFD != "Up" && n.BFD != "AdminDown":
		c.warn(object, "bfd-"+strings.ToLower(n.BFD), "the session is up, and its BFD session is "+n.BFD, "wgbgp bfd "+n.Name)
	case n.MaxPrefixes > 0 && uint64(n.Counted)*10 >= uint64(n.MaxPrefixes)*8:
		c.warn(object, "max-prefix", fmt.Sprintf("%d of %d prefixes received", n.Counted, n.MaxPrefixes), "raise max-prefixes or ask the neighbor to aggregate")
	}
}

func disabled(sites []Site, name string) bool {
	for _, s := range sites {
		if s.Name == name {
			return s.Disabled
		}
	}
	return false
}

func (c *problems) peer(p Peer) {
	object := "peer " + first(p.Name, p.PublicKey)
	if p.State == PeerForeign {
		c.warn(object, "foreign", "is on "+p.Interface+" and not in the configuration; left alone", "")
		return
	}
	if p.Error != "" {
		c.err(object, "peer-failed", p.Error, "")
	}
	for _, a := range p.AllowedIPs {
		switch {
		case a.Source == SourceForeign:
			c.warn(object, "foreign", "allowed IP "+a.Prefix.String()+" was put there by somebody else; left alone", "")
		case !a.InPlace && a.Reason != "site-down" && a.Reason != "disabled":
			c.warn(object, first(a.Reason, "allowed-ip-pending"), join("allowed IP "+a.Prefix.String()+" is not in place", a.Detail), "")
		}
	}
}

func (c *problems) route(r Route) {
	object := "route " + r.Prefix.String()
	switch {
	case r.Foreign:
		return // The shadowed route beside it says the same.
	case r.Status == RouteFailed:
		c.err(object, "route-failed", first(r.Detail, "the kernel refused it"), "")
	case r.Status == RouteShadowed:
		c.err(object, "shadowed", join("a foreign route wins", r.Detail), "remove that route, or set takeover = true under [fib]")
	}
}

func first(s ...string) string {
	for _, v := range s {
		if v != "" {
			return v
		}
	}
	return ""
}

func join(parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, ": ")
}
