package ha

import (
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// Steer is an operator's word on which host speaks for a site.
type Steer string

// Orders. Failover: the other host that holds the site speaks for it, as long as
// there is one. Takeover: this host outbids every other. Failback ends both, and
// the waiting of a site that does not preempt.
const (
	SteerNone     Steer = ""
	SteerFailover Steer = "failover"
	SteerTakeover Steer = "takeover"
	SteerFailback Steer = "failback"
)

// SiteSteered is such an order about one site, or about all (Site empty).
type SiteSteered struct {
	Site  string
	Order Steer
}

func (SiteSteered) fact() {}

func (c *Core) steer(f SiteSteered) {
	for _, s := range c.sites {
		if f.Site != "" && f.Site != s.cfg.Name {
			continue
		}
		s.steer = f.Order
		if f.Order == SteerFailback {
			s.steer, s.returned = SteerNone, false
		}
		c.touchSite(s)
		c.dirty, c.urgent = true, true
	}
}

// holder is the host of the fleet that speaks for the prefix, the nearest of
// several, nil: none. One that yields itself, drains or is dead does not count.
// Hosts of a fleet tell each other their rank by its MED; the local preference is
// each host's own.
func (c *Core) holder(e *entry) (host *neighborState, med uint32) {
	for i := range e.paths {
		l := &e.paths[i]
		n := l.from
		if n.cfg.Kind != bgp.KindFleet || !n.died.IsZero() || l.Attrs == nil || !l.Attrs.HasMED || host != nil && host.far <= n.far {
			continue
		}
		if l.Attrs.MED < c.cfg.rankAttrs(n.cfg.Group, RankIndirect).MED {
			if r, _ := c.neighborDead(n); r == ReasonNone {
				host, med = n, l.Attrs.MED
			}
		}
	}
	return host, med
}

// yieldsTo is the host that the site lets go on speaking for the prefix, nil: none.
// It came back and does not preempt (AC-15), or an operator wants it so.
func (c *Core) yieldsTo(e *entry, s *siteState) *neighborState {
	if s.steer != SteerFailover && (s.cfg.Preempt || !s.returned) {
		return nil
	}
	n, _ := c.holder(e)
	return n
}

// keepWaiting notes which sites of the present entry wait for another host.
func (w *walker) keepWaiting(e *entry) {
	for i := range w.cands {
		if s := w.cands[i].site; s != nil && len(e.paths) > 0 && w.c.yieldsTo(e, s) != nil {
			e.waiters = append(e.waiters, s)
			s.waits++
		}
	}
}

// stopWaiting forgets it.
func (w *walker) stopWaiting(e *entry) {
	for _, s := range e.waiters {
		s.waits--
	}
	e.waiters = e.waiters[:0]
}

// came notes that the site can be announced again, or for the first time since
// the start.
func (c *Core) came(s *siteState, was, is Judgement) {
	if p := s.cfg.IdlePolicy; is.announceable(p) && !was.announceable(p) && !s.returned {
		s.returned, c.returned = true, append(c.returned, s)
	}
}

// stay ends the waiting of sites for which nobody else speaks any more: they do
// now, and go on when the other one is back.
func (c *Core) stay() {
	c.returned = slices.DeleteFunc(c.returned, func(s *siteState) bool {
		if s.returned && s.waits == 0 && c.complete && s.judged.announceable(s.cfg.IdlePolicy) {
			s.returned = false
		}
		return !s.returned
	})
}

// Speech is who speaks for a site and why, as an operator sees it.
type Speech struct {
	Site   string
	Rank   Rank      // of the announcement, the strongest of its prefixes; empty: none is announced
	Holder string    // the host of the fleet that speaks for a prefix of it too
	Others []Telling // hosts that tell a prefix of it, the nearest first
	Steer  Steer
	Waits  bool      // it came back and does not preempt
	Until  time.Time // when it ends to outbid a dead host; zero: it does not
}

// join adds who tells one more prefix: of each host the strongest and the oldest.
func (v *Speech) join(told []Telling) {
	for _, t := range told {
		i := slices.IndexFunc(v.Others, func(o Telling) bool { return o.Host == t.Host })
		if i < 0 {
			v.Others = append(v.Others, t)
			continue
		}
		o := &v.Others[i]
		if t.Rank != "" && (o.Rank == "" || stronger(t.Rank, o.Rank)) {
			o.Rank = t.Rank
		}
		if t.Since.Before(o.Since) {
			o.Since = t.Since
		}
	}
}

// Speeches lists all sites by name.
func (c *Core) Speeches(now time.Time) []Speech {
	w := &walker{c: c, now: now}
	at := map[*siteState]int{}
	out := make([]Speech, len(c.sites))
	for i, s := range c.sites {
		at[s], out[i] = i, Speech{Site: s.cfg.Name, Steer: s.steer, Waits: s.returned && !s.cfg.Preempt}
	}
	for _, e := range c.rib.sorted() {
		sites := e.sites
		for i := range e.paths {
			if s := e.paths[i].from.site; s != nil {
				sites = append(sites[:len(sites):len(sites)], s)
			}
		}
		for _, s := range sites {
			v := &out[at[s]]
			if n, _ := c.holder(e); n != nil {
				v.Holder = n.cfg.Name
			}
			v.join(c.toldBy(e))
			if c.announcement(e.prefix) == nil {
				continue
			}
			if r := w.rankAt(e, &candidate{site: s}); v.Rank == "" || stronger(r, v.Rank) {
				v.Rank = r
			}
			if r := v.Rank; r == RankTakeover {
				v.Until = later(v.Until, w.outbid(e, s))
			}
		}
	}
	return out
}
