package ha

import (
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// Tables are large and at rest nearly always. An entry is settled once a pass has
// found that the plan says the same about it as the last one, that the edges have
// finished all that was ever changed about it, and that nothing in it waits for time
// to pass. Then it is left alone, and the plan goes on saying what it said, until
// something changes that it depends on. That is
//
//   - its own paths;
//   - a site with a claim on it: its verdict, an operator's word, its peer on the
//     interface. A settled entry is watched by its sites, so that the change of a
//     site costs what the site has;
//   - trouble that an edge reports, or does not report any more, about its prefix;
//   - what many entries depend on: configuration, tunnels, routers and hosts of the
//     fleet, the drain. These begin a new epoch, in which no entry is settled.
//
// Whoever adds something to the state that a plan depends on must say touch,
// touchSite or begin an epoch where it changes. Core.thorough shows if one was
// forgotten.

// touch has the next plan work out the entry.
func (r *rib) touch(e *entry) {
	e.settled = 0
	if !e.queued && !e.dead {
		e.queued = true
		r.queue = append(r.queue, e)
	}
}

// touchPrefix does so for the entry of a prefix, if there is one.
func (r *rib) touchPrefix(p netip.Prefix) {
	if e := r.byPrefix[p]; e != nil {
		r.touch(e)
	}
}

// touchAbove does so for the entries that cover an address.
func (r *rib) touchAbove(a netip.Addr) {
	for bits := range a.BitLen() + 1 {
		p, err := a.Prefix(bits)
		if err == nil {
			r.touchPrefix(p)
		}
	}
}

// touchSite does so for every settled entry that the site has a claim on.
func (c *Core) touchSite(s *siteState) {
	for _, e := range s.watched {
		c.rib.touch(e)
		e.watchers = slices.DeleteFunc(e.watchers, func(x *siteState) bool { return x == s })
	}
	clear(s.watched)
	s.watched = s.watched[:0]
}

// touchNeighbor does so for what a neighbor has told us: of a site by its site, of
// all others, which may have told much, by a new epoch.
func (c *Core) touchNeighbor(n *neighborState) {
	if n.site != nil {
		c.touchSite(n.site)
	} else {
		c.epoch++
	}
}

// unsettled lists the entries that a plan must work out, in prefix order.
func (c *Core) unsettled() []*entry {
	r := &c.rib
	all, todo := r.sorted(), r.queue
	r.queue, r.spare = r.spare[:0], todo
	if c.thorough || c.planned != c.epoch {
		c.planned = c.epoch
		return all
	}
	byPrefix := func(a, b *entry) int { return bgp.ComparePrefix(a.prefix, b.prefix) }
	switch {
	case slices.IsSortedFunc(todo, byPrefix):
	case len(todo) > len(all)/16: // cheaper than sorting them
		todo = todo[:0]
		for _, e := range all {
			if e.queued {
				todo = append(todo, e)
			}
		}
	default:
		slices.SortFunc(todo, byPrefix)
	}
	return todo
}

// stands reports whether the next plan will say the same about the entry, if
// nothing changes that it depends on.
func (w *walker) stands(e *entry) bool {
	if len(w.cands) == 0 || e.agg != nil || e.routedGen > w.routesGen {
		return false
	}
	if best := &w.cands[0]; best.blocked || !w.forwarded && best.usable() && !best.host && !best.hushed() {
		return false // it waits for an edge
	}
	for i := range e.placed {
		p := &e.placed[i]
		claims := func(k candidate) bool { return k.site == p.site && !k.blocked }
		if p.site.dev == nil || p.site.dev.plan == nil || p.since > p.site.dev.plan.Gen || !slices.ContainsFunc(w.cands, claims) {
			return false
		}
	}
	for i := range w.cands { // the reason of such a prefix is looked up anew each time
		if s := w.cands[i].site; s != nil && len(s.judged.FailedPrefixes) > 0 {
			return false
		}
	}
	return true
}

// hushed reports whether nobody is told of the claim because its neighbor asks so.
func (k *candidate) hushed() bool {
	x := k.wish()
	return x != nil && x.nobody != ""
}

// settle leaves the entry alone from now on.
func (w *walker) settle(e *entry) {
	e.settled = w.c.epoch
	for i := range w.cands {
		if s := w.cands[i].site; s != nil && !slices.Contains(e.watchers, s) {
			e.watchers, s.watched = append(e.watchers, s), append(s.watched, e)
		}
	}
}

// forget drops entries marked dead, and lets their sites forget them.
func (r *rib) forget() {
	var sites []*siteState
	r.order = slices.DeleteFunc(r.order, func(e *entry) bool {
		if !e.dead {
			return false
		}
		delete(r.byPrefix, e.prefix)
		for _, s := range e.watchers {
			if !s.forgets {
				s.forgets, sites = true, append(sites, s)
			}
		}
		return true
	})
	for _, s := range sites {
		s.forgets = false
		s.watched = slices.DeleteFunc(s.watched, func(e *entry) bool { return e.dead })
	}
}
