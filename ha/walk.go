package ha

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// walker is the state of one pass over those entries of the RIB that are not
// settled. It passes, in step with them, over what the last plan has and what the
// edges have confirmed.
type walker struct {
	c          *Core
	now        time.Time
	routes     builder[bgp.Route]
	ann        builder[bgp.Announcement]
	withheld   builder[Withheld]
	held       []Withheld // of the present entry
	cands      []candidate
	hops       []bgp.NextHop
	ways       [][]bgp.NextHop // of the routes of the present entry
	ecmp       [][]bgp.NextHop // distinct multi-hop sets of this pass
	owners     []*siteState    // that the last plan gave the present entry
	moved      []*siteState    // whose allowed IPs are not those of the last plan
	anyDead    bool
	lingering  bool
	outbidding bool // a route of a dead host is outbid until a moment
	forwarded  bool // traffic for the best claim of the present entry arrives

	pass              uint64 // counts passes
	gen               uint64 // of the plan in the making
	routesGen, annGen uint64 // of the plans that the edges have finished
	lastAt            int    // like oldAt, in the routes of the last plan

	oldRoutes []bgp.Route
	oldAt     int // those before it are of earlier prefixes
	reports   []bgp.RouteReport
}

func (w *walker) start(c *Core, now time.Time) {
	w.c, w.now = c, now
	var last Plan
	if c.plan != nil {
		last = *c.plan
	}
	w.routes = builder[bgp.Route]{old: last.FIB.Routes, equal: equalRoute, order: orderRoute, prefix: prefixOfRoute, more: len(c.rib.added)}
	w.ann = builder[bgp.Announcement]{old: c.offered.ann, equal: equalAnnouncement, order: orderAnnouncement, prefix: prefixOfAnnouncement}
	w.withheld = builder[Withheld]{old: c.offered.withheld, equal: equalWithheld, order: orderWithheld, prefix: prefixOfWithheld}
	w.ecmp, w.moved = w.ecmp[:0], w.moved[:0]
	w.anyDead, w.lingering, w.outbidding = false, false, false
	w.oldRoutes, w.oldAt, w.reports = nil, 0, nil
	w.gen, w.routesGen, w.annGen, w.lastAt = last.Gen+1, 0, 0, 0
	if c.routes.plan != nil {
		w.oldRoutes, w.reports, w.routesGen = c.routes.plan.FIB.Routes, c.routes.Reports, c.routes.plan.Gen
	}
	if c.ann.plan != nil {
		w.annGen = c.ann.plan.Gen
	}
	for _, d := range c.devices {
		c.join(d)
	}
	c.passes++
	w.pass = c.passes
}

// finish ends the pass: what the last plan has about entries that were left alone
// stays.
func (w *walker) finish() {
	w.routes.rest()
	w.ann.rest()
	w.withheld.rest()
}

// visit works out one entry, and has the next plan do so again unless it is settled.
func (w *walker) visit(e *entry) {
	e.queued = false
	if w.place(e); e.settled == 0 {
		w.c.rib.touch(e)
	}
}

// place decides one prefix: which peers own it, where it is routed, who is told.
func (w *walker) place(e *entry) {
	p := e.prefix
	w.routes.seek(p)
	w.ann.seek(p)
	w.withheld.seek(p)
	routes, others := w.routes.diffs, w.ann.diffs+w.withheld.diffs
	w.owners = w.owners[:0]
	for i := range e.placed {
		w.owners = append(w.owners, e.placed[i].site)
	}
	timed := w.outbidding
	w.outbidding = false

	old, report := w.oldRoute(p)
	e.recall(w.routesGen)
	if old != nil && !e.routed.certain(w.routesGen) {
		old, report = nil, nil
	}
	if w.c.thorough || !w.ordinary(e, old, report) {
		w.think(e, old, report)
	}

	w.routes.drop(p)
	w.ann.drop(p)
	w.withheld.drop(p)
	if routes != w.routes.diffs {
		e.routedGen = w.gen
	}
	moved := w.reown(e)
	e.settled = 0
	if !moved && routes == w.routes.diffs && others == w.ann.diffs+w.withheld.diffs && !w.outbidding && w.stands(e) {
		w.settle(e)
	}
	w.outbidding = w.outbidding || timed
}

func (w *walker) think(e *entry, old *bgp.Route, report *bgp.RouteReport) {
	e.carried = ""
	w.stopWaiting(e)
	w.forwarded, w.cands = false, w.cands[:0]
	if e.empty() {
		w.leave(e)
		w.remember(e, false)
		return
	}
	e.gone = time.Time{}
	e.bury(w.now, w.c.outlived+ghostGrace)
	covers := len(e.paths) > 0 && w.c.covers(e.prefix)
	w.cands = w.c.candidates(w.cands, e, covers)
	w.keepWaiting(e)
	if e.agg != nil {
		w.aggregate(e)
	} else {
		e.sunk.set(false, w.gen)
		w.own(e)
		w.route(e)
		w.remember(e, w.announce(e, old, report))
	}
	if len(w.cands) > 0 && w.forwarded && w.cands[0].site != nil {
		e.carried = w.rankAt(e, &w.cands[0])
	}
	if len(w.held) > 0 {
		slices.SortStableFunc(w.held, compareWithheld)
		for i := range w.held {
			w.withheld.add(w.held[i])
		}
		w.held = w.held[:0]
	}
}

// leave takes a prefix that nobody claims any more out in the order withdraw,
// route, allowed IP, each when the step before is confirmed.
func (w *walker) leave(e *entry) {
	last := w.lastRoute(e)
	if e.gone.IsZero() {
		e.gone = w.now
	}
	until := e.gone.Add(w.c.cfg.Gateway.Linger)
	lingering := w.now.Before(until)
	if lingering && last != nil {
		w.lingering = true
		w.c.wake(until)
	}
	routed := e.routed.possible(w.routesGen)
	if routed && last != nil && (lingering || w.stillOut(e)) {
		w.addRoute(*last)
	}
	w.unsink(e)
	if routed {
		return
	}
	e.placed = nil
	if len(e.hidden) == 0 && !e.sunk.in {
		e.dead, w.anyDead = true, true
	}
}

// oldRoute advances to p in the confirmed routes and returns the one that carries
// traffic, with the trouble reported about it, if any.
func (w *walker) oldRoute(p netip.Prefix) (*bgp.Route, *bgp.RouteReport) {
	old := w.oldRoutes
	w.oldAt += gallop(old[w.oldAt:], p, prefixOfRoute)
	var r *bgp.Route
	for i := w.oldAt; i < len(old) && old[i].Prefix == p; i++ {
		if old[i].Type == bgp.Unicast {
			r = &old[i]
			break
		}
	}
	if r == nil || !w.reported(p) {
		return r, nil
	}
	for i := range w.reports {
		if w.reports[i].Prefix != p {
			break
		}
		if w.reports[i].Metric == r.Metric {
			return r, &w.reports[i]
		}
	}
	return r, nil
}

// reported advances to p in the reports of trouble and says whether it has one.
func (w *walker) reported(p netip.Prefix) bool {
	for len(w.reports) > 0 && bgp.ComparePrefix(w.reports[0].Prefix, p) < 0 {
		w.reports = w.reports[1:]
	}
	return len(w.reports) > 0 && w.reports[0].Prefix == p
}
