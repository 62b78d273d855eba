package ha

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// An aggregate is announced in place of, or beside, the more specific prefixes
// that this host announces: its contributors. Under it stands a blackhole as
// long as it is configured, so that a packet for a part that nobody has is
// dropped here and neither follows a default route nor comes back from a
// neighbor that has only the aggregate.
//
// It speaks with the rank of its strongest contributor. With the weakest one, a
// single site that names this host its backup would move the traffic of all
// others; and a rank that changes only when the last strong contributor comes or
// goes keeps AS_PATH and MED of several hosts identical, which ECMP of a Transit
// Gateway needs. A drain weakens all contributors at once, hence the aggregate
// too.

// aggregateState is one configured aggregate.
type aggregateState struct {
	cfg    *Aggregate
	entry  *entry
	to     map[Rank][]bgp.Export
	within string // detail of contributors that it stands for
	count  int    // contributors in the last plan
	rank   Rank   // of the strongest
}

// prepareAggregates gives every aggregate its entry in the RIB. A prefix that a
// site has configured stays the site's.
func (c *Core) prepareAggregates() {
	c.aggregates = nil
	for i := range c.cfg.Aggregates {
		a := &c.cfg.Aggregates[i]
		e := c.rib.get(a.Prefix)
		if len(e.sites) > 0 || e.host != nil {
			continue
		}
		s := &aggregateState{cfg: a, entry: e, to: map[Rank][]bgp.Export{}, within: "in " + a.Prefix.String()}
		for rank := range c.cfg.Ranks {
			for _, x := range c.exports.get(exportKey{bgp.KindSite, false, rank}) {
				if slices.Contains(a.To, x.Group) {
					s.to[rank] = append(s.to[rank], x)
				}
			}
		}
		e.agg = s
		c.aggregates = append(c.aggregates, s)
	}
}

// aggregate plans the blackhole. Who is told is worked out when it is known what
// else could be announced, see share.go.
func (w *walker) aggregate(e *entry) {
	w.own(e)
	w.sink(e)
	for i := range w.cands {
		k := &w.cands[i]
		w.hold(e, k, k.reason, k.detail)
	}
	w.remember(e, e.out.in)
}

// sink adds the blackhole of an aggregate.
func (w *walker) sink(e *entry) {
	w.addRoute(bgp.Route{Prefix: e.prefix, Type: bgp.BlackholeRoute, Metric: w.c.cfg.FIB.SinkMetric})
	e.sunk.set(true, w.gen)
}

// unsink ends the blackhole of what is no aggregate any more, once nobody is told
// of it.
func (w *walker) unsink(e *entry) {
	if e.sunk.in && w.stillOut(e) {
		w.sink(e)
		return
	}
	e.sunk.set(false, w.gen)
}

// shadow blocks what neighbors offer for an aggregate of our own: it would lead
// packets for a hole back to where they come from.
func (e *entry) shadow(cands []candidate) {
	for i := range cands {
		cands[i].blocked, cands[i].reason, cands[i].detail = true, ReasonOverlap, "an aggregate of our own"
	}
}

// unready says why the aggregate may not be announced whatever its contributors.
func (w *walker) unready(e *entry) (Reason, string) {
	c := w.c
	if reason, detail := c.silenced(); reason != ReasonNone {
		return reason, detail
	}
	if !e.sunk.certain(w.routesGen) {
		if c.routes.Err != "" {
			return ReasonRouteFailed, c.routes.Err
		}
		return ReasonRoute, ""
	}
	want := bgp.Route{Prefix: e.prefix, Metric: c.cfg.FIB.SinkMetric}
	if i, ok := slices.BinarySearchFunc(c.routes.Reports, &want, func(r bgp.RouteReport, w *bgp.Route) int {
		return cmp.Or(bgp.ComparePrefix(r.Prefix, w.Prefix), cmp.Compare(r.Metric, w.Metric))
	}); ok {
		return reportReason(&c.routes.Reports[i]), c.routes.Reports[i].Detail
	}
	return ReasonNone, ""
}

// standsFor reports whether neighbors are known to have the aggregate: only then
// its contributors may be taken back.
func (w *walker) standsFor(e *entry) bool {
	_, failed := w.c.ann.Failed[e.prefix]
	return e.out.certain(w.annGen) && !failed
}

// gather decides one aggregate from the offers inside it and returns who is told
// of it.
func (s *sharing) gather(a *aggregateState, inside []offer) []bgp.Export {
	w, e := s.w, a.entry
	a.count, a.rank = 0, ""
	for i := range inside {
		o := &inside[i]
		if o.ann == nil || !anyGroup(o.ann.To, a.cfg.To) {
			continue
		}
		a.count++
		if r := w.c.rank(w.c.claim(&s.cands, o.e)); a.rank == "" || stronger(r, a.rank) {
			a.rank = r
		}
	}
	reason, detail := w.unready(e)
	to := a.to[a.rank]
	switch {
	case reason != ReasonNone:
	case a.count < max(a.cfg.Min, 1):
		reason, detail = ReasonAggregateEmpty, fmt.Sprintf("%d of %d contributors", a.count, max(a.cfg.Min, 1))
	case len(to) == 0:
		reason = ReasonNoAudience
	}
	if reason != ReasonNone {
		s.held = append(s.held, Withheld{Prefix: e.prefix, Reason: reason, Detail: detail})
		return nil
	}
	if a.cfg.Suppress && w.standsFor(e) {
		for i := range inside {
			if o := &inside[i]; o.ann != nil {
				for _, g := range a.cfg.To {
					s.cut(o, g, ReasonAggregated, a.within)
				}
			}
		}
	}
	return to
}

// view is the aggregate among the claims on its prefix.
func (a *aggregateState) view() PathView {
	noun := "contributors"
	if a.count == 1 {
		noun = "contributor"
	}
	return PathView{Aggregate: true, Best: true, Usable: true, Detail: fmt.Sprintf("%d %s", a.count, noun)}
}

func anyGroup(to []bgp.Export, groups []string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return told(to, g) })
}

// told reports whether a group is among the exports.
func told(to []bgp.Export, group string) bool {
	for i := range to {
		if to[i].Group == group {
			return true
		}
	}
	return false
}

// ranks lists all ranks, strongest first.
var ranks = []Rank{RankTakeover, RankDirect, RankBackup, RankIndirect, RankRemote, RankDrain}

func stronger(a, b Rank) bool { return slices.Index(ranks, a) < slices.Index(ranks, b) }
