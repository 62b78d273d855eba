package hatest

import (
	"time"

	"github.com/wgbgp/wgbgp/ha"
)

// inject begins a fault and plans its end.
func (w *world) inject(f Fault) {
	h, s := w.hosts[f.Host], w.sites[f.Site]
	w.note(traceFault, uint64(f.Host), uint64(f.Site), uint64(f.For))
	end := w.now + f.For
	switch f.Kind {
	case CutSite:
		if l := h.linkOf[f.Site]; l != nil {
			w.span(f.For, func(n int) {
				if f.Way != WayIn {
					l.cutOut += n
				}
				if f.Way != WayOut {
					l.cutIn += n
				}
				l.update()
			})
		}
	case CutFleet:
		if x := h.wires[f.Peer]; x != nil {
			i := x.of(h)
			w.span(f.For, func(n int) {
				if f.Way != WayIn {
					x.cut[i] += n
				}
				if f.Way != WayOut {
					x.cut[1-i] += n
				}
				x.update()
			})
		}
	case CutTGW:
		w.span(f.For, func(n int) { h.cutTGW += n; h.underlay() })
	case Power:
		h.powerOff()
		w.after(f.For, func() { h.powerOn(end) })
	case Kill:
		h.kill()
		h.offTill = max(h.offTill, end)
		w.after(f.For, h.revive)
	case Stall:
		h.stalled = max(h.stalled, end)
		h.unwell(end)
	case EdgeFail, EdgePart, EdgeSlow:
		h.edgeFault(f, end)
	case Lose:
		h.loses = max(h.loses, end)
		h.unwell(end + auditEvery)
	case Clock:
		h.wall += f.For
	case Unreadable:
		h.unreadable = max(h.unreadable, end)
		h.unwell(end + 6*w.s.Poll)
	case SiteDown:
		s.up = false
		for _, l := range s.links {
			l.session = false
			l.update()
		}
		w.after(f.For, func() {
			s.up = true
			for _, l := range s.links {
				l.update()
			}
		})
	case Roam:
		w.roam(s, h)
	case Reset:
		for _, c := range h.tgw {
			c.close(0, "notification-sent cease/6/4", "notification-received cease/6/4")
		}
	case ResetFleet:
		if x := h.wires[f.Peer]; x != nil {
			x.bgp.close(x.of(h), "notification-sent cease/6/4", "notification-received cease/6/4")
		}
	case Drain:
		h.drain(f.For)
	case Disable:
		if l := h.linkOf[f.Site]; l != nil {
			l.offTill = max(l.offTill, end)
			h.put(ha.SiteSet{Site: s.name, Disabled: true})
			w.after(f.For, func() {
				if w.now >= l.offTill {
					h.put(ha.SiteSet{Site: s.name})
				}
			})
		}
	}
}

// span does something now and undoes it later.
func (w *world) span(d time.Duration, do func(n int)) {
	do(1)
	w.after(d, func() { do(-1) })
}

// unwell notes that what the host does may take until then, and a while after.
func (h *host) unwell(until time.Duration) { h.trouble = max(h.trouble, until) }

func (h *host) edgeFault(f Fault, end time.Duration) {
	e := &h.faults[map[string]int{PartWireGuard: edgeWireGuard, PartRoutes: edgeRoutes, PartBGP: edgeBGP}[f.Part]]
	switch f.Kind {
	case EdgeFail:
		e.fail = max(e.fail, end)
	case EdgePart:
		e.part = max(e.part, end)
	case EdgeSlow:
		e.slow = max(e.slow, end)
	}
	h.unwell(end + auditEvery)
}

// underlay lets follow what depends on the host's way to its Transit Gateway.
func (h *host) underlay() {
	h.tgwFrom = h.w.now
	for _, s := range h.tgw {
		s.pathChanged()
	}
	h.w.check.all()
}

// changed lets everything follow that depends on the host's power.
func (h *host) changed() {
	h.underlay()
	for _, l := range h.links {
		l.update()
	}
	for _, x := range h.wires {
		if x != nil {
			x.update()
		}
	}
}

func (h *host) powerOff() {
	if h.up {
		h.up = false
		h.changed()
	}
	h.kill()
	h.kernel.reset(h)
	for _, l := range h.links {
		l.erase()
	}
}

func (h *host) powerOn(end time.Duration) {
	h.offTill = max(h.offTill, end)
	if h.up || h.w.now < h.offTill {
		return
	}
	h.up, h.upFrom = true, h.w.now
	h.changed()
	h.w.after(h.luck.between(time.Second, 5*time.Second), h.revive)
}

// revive starts the daemon unless something else keeps it from running.
func (h *host) revive() {
	if h.up && h.proc == nil && h.w.now >= h.offTill {
		h.stalled = 0
		h.start()
	}
}

// roam lets a site that roams dial another host. Its packets of the old session
// mean nothing there.
func (w *world) roam(s *site, to *host) {
	if s.kind != kindRoam || to.linkOf[s.id] == nil || s.at == to.id {
		return
	}
	s.at = to.id
	for _, l := range s.links {
		l.session = false
		l.update()
	}
}

// drain is an orderly leave and the return from it.
func (h *host) drain(d time.Duration) {
	h.drains++
	p := h.proc
	phase := func(after time.Duration, to ha.DrainPhase) {
		h.w.after(after, func() {
			if h.proc == p {
				h.put(ha.Draining{Phase: to})
			}
		})
	}
	phase(0, ha.DrainHealth)
	phase(d/4, ha.DrainPrefer)
	phase(d/2, ha.DrainWithdraw)
	h.w.after(d, func() {
		if h.drains--; h.drains == 0 {
			h.put(ha.Draining{Phase: ha.DrainNone})
		}
		h.unwell(h.w.now)
	})
}
