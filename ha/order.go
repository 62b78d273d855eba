package ha

import (
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// The order between edges rests on what is certain. An edge reports the plan it
// has finished; meanwhile it may be at work on a later one, and plans in
// between it may never have seen. So a thing is certainly there only if it was
// in the finished plan and in every plan since, and certainly gone only if it
// was in none of them. Entries keep the generations that tell.

// placing is a peer that was given a prefix.
type placing struct {
	site  *siteState
	since uint64 // first plan that gave it, without a plan in between that did not
	// via says that a route of the last plan leads out of the site's interface;
	// left is the first plan without such a route after that.
	via  bool
	left uint64
	// from are those that may have it until the interface is as the plan wants it, see
	// handover.go; that they can carry it as well counts until a moment.
	from  []*siteState
	until time.Time
}

// span is whether something is in the last plan, and the first plan from which
// on that holds. Zero: never was.
type span struct {
	in   bool
	from uint64
}

func (s *span) set(in bool, gen uint64) {
	if s.in != in {
		s.in, s.from = in, gen
	}
}

// certain reports whether it is there once done is the finished plan.
func (s *span) certain(done uint64) bool { return s.in && s.from <= done }

// possible reports whether it may be there.
func (s *span) possible(done uint64) bool { return s.in || s.from > done }

// formerWay is how the route of an entry went until a plan that leads it
// elsewhere.
type formerWay struct {
	hops  []bgp.NextHop
	until uint64
}

// recall forgets former ways that the finished plan has behind it.
func (e *entry) recall(done uint64) {
	if len(e.former) > 0 {
		e.former = slices.DeleteFunc(e.former, func(f formerWay) bool { return f.until <= done })
	}
}

// everyWayWorks reports whether traffic arrives by whichever of the plans since
// the finished one the routes edge is at.
func (w *walker) everyWayWorks(e *entry) bool {
	works := func(hops []bgp.NextHop) bool {
		for i := range w.cands {
			if k := &w.cands[i]; !k.blocked && k.usable() && k.ready(e) && leadsTo(hops, k.device()) {
				return true
			}
		}
		return false
	}
	if last := w.lastRoute(e); last != nil && !works(last.NextHops) {
		return false
	}
	for i := range e.former {
		if f := &e.former[i]; f.until > w.routesGen && !works(f.hops) {
			return false
		}
	}
	return true
}

// placing is that of the site, nil: it has not got the prefix.
func (e *entry) placing(s *siteState) *placing {
	for i := range e.placed {
		if e.placed[i].site == s {
			return &e.placed[i]
		}
	}
	return nil
}

// stillOut reports whether some neighbor may still be told the prefix.
func (w *walker) stillOut(e *entry) bool {
	if e.out.possible(w.annGen) {
		return true
	}
	_, failed := w.c.ann.Failed[e.prefix]
	return failed && e.out.from != 0
}

// lastRoute is the entry's route in the last plan, nil if none.
func (w *walker) lastRoute(e *entry) *bgp.Route {
	last := w.routes.old
	w.lastAt += gallop(last[w.lastAt:], e.prefix, prefixOfRoute)
	for i := w.lastAt; i < len(last) && last[i].Prefix == e.prefix; i++ {
		if last[i].Type == bgp.Unicast {
			return &last[i]
		}
	}
	return nil
}

// addRoute adds a route of the present entry to the plan.
func (w *walker) addRoute(r bgp.Route) {
	w.routes.add(r)
	if r.Type == bgp.Unicast {
		w.ways = append(w.ways, r.NextHops)
	}
}

// remember notes what this plan did with the entry.
func (w *walker) remember(e *entry, announced bool) {
	if last := w.lastRoute(e); last != nil {
		for _, hop := range last.NextHops {
			if !slices.ContainsFunc(w.ways, func(hops []bgp.NextHop) bool { return leadsTo(hops, hop.Device) }) {
				e.former = append(e.former, formerWay{last.NextHops, w.gen})
				break
			}
		}
	}
	e.routed.set(len(w.ways) > 0, w.gen)
	e.out.set(announced, w.gen)
	for i := range e.placed {
		p := &e.placed[i]
		via := slices.ContainsFunc(w.ways, func(hops []bgp.NextHop) bool { return leadsTo(hops, p.site.cfg.Device) })
		if p.via && !via {
			p.left = w.gen
		}
		p.via = via
	}
	w.ways = w.ways[:0]
}

// needed reports whether a route into the site's interface may still stand, so
// that the prefix must stay with its peer.
func (p *placing) needed(routesDone uint64) bool { return p.via || p.left > routesDone }

func leadsTo(hops []bgp.NextHop, dev string) bool {
	return slices.ContainsFunc(hops, func(h bgp.NextHop) bool { return h.Device == dev })
}
