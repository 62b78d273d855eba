package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/internal/api"
)

// journal turns what changed into log lines and events, each with a
// machine-readable reason.
type journal struct {
	log *slog.Logger
	out *api.EventLog
}

// plan reports every prefix that is announced now and was not, and the reverse.
// Both lists are sorted by prefix.
func (j *journal) plan(old, p *ha.Plan) {
	var was []bgp.Announcement
	if old != nil {
		was = old.Announcements
	}
	j.quotas(old, p)
	now := p.Announcements
	for len(was) > 0 || len(now) > 0 {
		var d int
		switch {
		case len(was) == 0:
			d = 1
		case len(now) == 0:
			d = -1
		default:
			d = bgp.ComparePrefix(was[0].Prefix, now[0].Prefix)
		}
		switch {
		case d < 0:
			j.withdraw(p, was[0].Prefix, "no-path", "", nil)
			was = was[1:]
		case d > 0:
			j.announce(p, now[0].Prefix, "")
			now = now[1:]
		default:
			j.audience(p, &was[0], &now[0])
			was, now = was[1:], now[1:]
		}
	}
}

// audience reports a prefix that goes on being announced, but to others: when a
// site fails and the TGW has another way to its prefix, the TGW is told of a
// withdrawal and the other sites are not.
func (j *journal) audience(p *ha.Plan, was, now *bgp.Announcement) {
	if len(was.To) == len(now.To) && (len(was.To) == 0 || &was.To[0] == &now.To[0]) {
		return
	}
	if lost := groupsMissing(was.To, now.To); len(lost) > 0 {
		j.withdraw(p, now.Prefix, string(ha.ReasonNoAudience), "from group "+strings.Join(lost, ", "), lost)
	}
	if gained := groupsMissing(now.To, was.To); len(gained) > 0 {
		j.announce(p, now.Prefix, "also to group "+strings.Join(gained, ", "))
	}
}

// groupsMissing lists the groups of a that are not in b.
func groupsMissing(a, b []bgp.Export) []string {
	var out []string
	for _, x := range a {
		if !slices.ContainsFunc(b, func(y bgp.Export) bool { return x.Group == y.Group }) {
			out = append(out, x.Group)
		}
	}
	return out
}

func (j *journal) announce(p *ha.Plan, prefix netip.Prefix, detail string) {
	j.event(slog.LevelInfo, api.Event{Kind: api.EventAnnounce, Prefix: prefix, Reason: "forwarding", Detail: detail, Gen: p.Gen})
}

// withdraw gives the reason that the plan has: one about a group that lost it
// before those about all. The claim of a site that never held the prefix explains
// nothing while there is another one.
func (j *journal) withdraw(p *ha.Plan, prefix netip.Prefix, otherwise, detail string, lost []string) {
	e := api.Event{Kind: api.EventWithdraw, Prefix: prefix, Reason: otherwise, Detail: detail, Gen: p.Gen}
	level := slog.LevelWarn
	if h := because(p, prefix, lost); h != nil {
		e.Reason, e.Site, e.Neighbor = string(h.Reason), h.Site, h.From
		if h.Detail != "" {
			e.Detail = strings.TrimPrefix(detail+": "+h.Detail, ": ")
		}
		if h.Reason == ha.ReasonAggregated {
			level = slog.LevelInfo // its packets come by the aggregate
		}
	}
	j.event(level, e)
}

func because(p *ha.Plan, prefix netip.Prefix, lost []string) *ha.Withheld {
	i, ok := slices.BinarySearchFunc(p.Withheld, prefix, func(h ha.Withheld, q netip.Prefix) int { return bgp.ComparePrefix(h.Prefix, q) })
	if !ok {
		return nil
	}
	best := &p.Withheld[i]
	rated := -1
	for ; i < len(p.Withheld) && p.Withheld[i].Prefix == prefix; i++ {
		h, rate := &p.Withheld[i], 1
		switch {
		case slices.Contains(lost, h.Group):
			rate = 2
		case h.Reason == ha.ReasonOverlap || h.Reason == ha.ReasonNotBest:
			rate = 0
		}
		if rate > rated {
			best, rated = h, rate
		}
	}
	return best
}

func (j *journal) transitions(ts []ha.Transition) {
	for _, t := range ts {
		e := api.Event{Site: t.Site, Neighbor: t.Neighbor, Reason: t.Reason, Detail: t.Detail}
		level := slog.LevelInfo
		switch {
		case t.BFD:
			e.Kind, e.Detail = api.EventBFD, t.From+" -> "+t.To
			if t.From == string(bgp.BFDUp) {
				level = slog.LevelWarn
			} else if t.To != string(bgp.BFDUp) {
				level = slog.LevelDebug // the way there is no news
			}
		case t.Underlay:
			e.Kind = api.EventSystem
			if e.Reason == "" {
				e.Reason, e.Detail = "underlay-up", "announcing again"
			} else {
				level = slog.LevelError
			}
		case t.Neighbor != "":
			e.Kind = api.EventSession
			if e.Detail == "" {
				e.Detail = t.From + " -> " + t.To
			}
			if t.To != string(bgp.StateEstablished) && t.From != string(bgp.StateEstablished) {
				level = slog.LevelDebug // the way there is no news
			}
		case t.To == string(ha.Up):
			e.Kind, e.Reason = api.EventUp, "up"
		case t.To == string(ha.Down):
			e.Kind = api.EventDown
			if t.From != "" { // else it was never up: every site begins so
				level = slog.LevelWarn
			}
		default:
			e.Kind = api.EventVerdict
			e.Detail = t.To + " " + t.Detail
		}
		j.event(level, e)
	}
}

func (j *journal) edge(edge, err string) {
	if err == "" {
		j.event(slog.LevelInfo, api.Event{Kind: api.EventEdge, Edge: edge, Reason: "recovered"})
		return
	}
	j.event(slog.LevelError, api.Event{Kind: api.EventEdge, Edge: edge, Reason: "failed", Detail: err})
}

func (j *journal) system(reason, detail string) {
	j.event(slog.LevelInfo, api.Event{Kind: api.EventSystem, Reason: reason, Detail: detail})
}

// forwarding reports a change of what the health endpoint says.
func (j *journal) forwarding(f ha.Forwarding) {
	if f.OK {
		j.event(slog.LevelInfo, api.Event{Kind: api.EventSystem, Reason: "healthy", Detail: "this host forwards"})
		return
	}
	var why []string
	for _, w := range f.Why {
		why = append(why, string(w.Reason)+": "+w.Detail)
	}
	j.event(slog.LevelWarn, api.Event{Kind: api.EventSystem, Reason: "unhealthy", Detail: strings.Join(why, "; ")})
}

func (j *journal) rejected(r bgp.Rejected) {
	j.event(slog.LevelWarn, api.Event{Kind: api.EventReject, Prefix: r.Prefix, Neighbor: r.Neighbor, Reason: r.Reason})
}

func (j *journal) event(level slog.Level, e api.Event) {
	e = j.out.Publish(e)
	var attrs []any
	add := func(k, v string) {
		if v != "" {
			attrs = append(attrs, k, v)
		}
	}
	if e.Prefix.IsValid() {
		add("prefix", e.Prefix.String())
	}
	add("site", e.Site)
	add("neighbor", e.Neighbor)
	add("edge", e.Edge)
	add("reason", e.Reason)
	add("detail", e.Detail)
	if e.Gen != 0 {
		attrs = append(attrs, "gen", e.Gen)
	}
	j.log.Log(context.Background(), level, e.Kind, attrs...)
}
