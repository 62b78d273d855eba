package ha

import (
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// start begins a pass for one site, when it comes to it: what holds for all of its
// prefixes is worked out once.
func (s *siteState) start(c *Core, pass uint64) {
	if s.pass == pass {
		return
	}
	s.pass = pass
	s.plain = !s.disabled && s.dev != nil && s.judged.announceable(s.cfg.IdlePolicy) && len(s.judged.FailedPrefixes) == 0 &&
		c.drain < DrainWithdraw && c.host.since.IsZero()
	if s.plain {
		s.to = c.exports.get(exportKey{bgp.KindSite, false, c.rank(&candidate{site: s})})
		s.plain = len(s.to) > 0
	}
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
	if s.start(w.c, w.pass); !s.plain || e.placed[0].site != s || !(same(old.NextHops, s.hop) || throughDevice(old, s.cfg.Device)) || !s.ready(e) {
		return false
	}
	w.stopWaiting(e)
	w.cands, w.forwarded = append(w.cands[:0], candidate{site: s}), true
	e.gone = time.Time{}
	e.placed[0].via = true
	e.carried = w.c.rank(&w.cands[0])
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
