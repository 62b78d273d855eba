package ha

import (
	"net/netip"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// start begins a pass for one site: what holds for all of its prefixes is
// worked out once.
func (s *siteState) start(c *Core) {
	s.kept, s.moved, s.held = 0, false, false
	s.plain = !s.disabled && s.dev != nil && s.judged.announceable(s.cfg.IdlePolicy) && len(s.judged.FailedPrefixes) == 0 &&
		c.drain < DrainWithdraw && c.host.since.IsZero()
	if s.plain {
		s.to = c.exports.get(exportKey{bgp.KindSite, false, c.rank(&candidate{site: s})})
		s.plain = len(s.to) > 0
	}
}

// own adds an allowed IP to those of this plan. As long as they are those of
// the last one, nothing is copied.
func (s *siteState) own(p netip.Prefix) {
	if !s.moved {
		if s.kept < len(s.lastAllowed) && s.lastAllowed[s.kept] == p {
			s.kept++
			return
		}
		s.moved = true
		s.allowed = append(s.allowed[:0], s.lastAllowed[:s.kept]...)
	}
	s.allowed = append(s.allowed, p)
}

// ordinary plans a prefix that nothing is the matter with: one site alone has
// it, owns it already, is up, and its route is confirmed. That is most prefixes
// most of the time. Of every other it returns false, having done nothing, and
// think works it out; what it does plan is what think would.
func (w *walker) ordinary(e *entry, old *bgp.Route, report *bgp.RouteReport) bool {
	if len(e.sites) != 1 || len(e.placed) != 1 || len(e.paths)+len(e.ghosts)+len(e.former) > 0 || e.host != nil || old == nil || report != nil {
		return false
	}
	s := e.sites[0]
	if !s.plain || e.placed[0].site != s || !(same(old.NextHops, s.hop) || throughDevice(old, s.cfg.Device)) || !s.ready(e) {
		return false
	}
	e.gone = time.Time{}
	w.grant(s, e.prefix)
	e.placed[0].via = true
	e.carried = w.c.rank(&candidate{site: s})
	e.out.set(true, w.gen)
	f := &w.c.cfg.FIB
	src := f.Source4
	if e.prefix.Addr().Is6() {
		src = f.Source6
	}
	if r := w.routes.next(); r != nil && r.Prefix == e.prefix && r.Type == bgp.Unicast && r.Metric == f.Metric && same(r.NextHops, s.hop) &&
		r.Source == src && r.Takeover == f.Takeover {
		w.routes.keep()
	} else {
		w.routes.add(bgp.Route{Prefix: e.prefix, Metric: f.Metric, NextHops: s.hop, Source: src, Takeover: f.Takeover})
	}
	if r := w.routes.next(); r != nil && r.Prefix == e.prefix && r.Type == bgp.BlackholeRoute && r.Metric == f.SinkMetric &&
		len(r.NextHops) == 0 && !r.Source.IsValid() && !r.Takeover {
		w.routes.keep()
	} else {
		w.routes.add(bgp.Route{Prefix: e.prefix, Type: bgp.BlackholeRoute, Metric: f.SinkMetric})
	}
	if a := w.ann.next(); a != nil && a.Prefix == e.prefix && a.Attrs == noAttrs && same(a.To, s.to) && same(a.Except, s.except) {
		w.ann.keep()
	} else {
		w.ann.add(bgp.Announcement{Prefix: e.prefix, Attrs: noAttrs, To: s.to, Except: s.except})
	}
	return true
}
