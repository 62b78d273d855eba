package ha

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// route decides the kernel's entries: the best claims that are ready, or what
// is there already until they are, and under every prefix of a site a
// blackhole, so that nothing in flight falls through to another route.
func (w *walker) route(e *entry) {
	last := w.lastRoute(e)
	f := &w.c.cfg.FIB
	best := &w.cands[0]
	if best.blocked {
		if last != nil && w.stillOut(e) {
			w.addRoute(*last)
		}
		return
	}
	if best.host && best.site.dev != nil && (len(w.cands) == 1 || w.cands[1].blocked) && connected(best.site.dev.cfg, e.prefix.Addr()) {
		return
	}
	if x := best.wish(); x != nil && x.blackhole && best.usable() {
		w.addRoute(bgp.Route{Prefix: e.prefix, Type: bgp.BlackholeRoute, Metric: f.SinkMetric})
		return
	}
	w.hops = w.hops[:0]
	next := w.gather(e, 0, false)
	if len(w.hops) > 0 && best.usable() {
		w.backup(e, next)
	}
	switch {
	case len(w.hops) > 0:
		r := bgp.Route{Prefix: e.prefix, Metric: f.Metric, NextHops: w.share(best), Takeover: f.Takeover}
		r.Source = f.Source4
		if e.prefix.Addr().Is6() {
			r.Source = f.Source6
		}
		w.addRoute(r)
	case last != nil:
		w.addRoute(*last)
	}
	w.standby(e)
	if best.site != nil && !best.host {
		w.addRoute(bgp.Route{Prefix: e.prefix, Type: bgp.BlackholeRoute, Metric: f.SinkMetric})
	}
}

// gather adds the next hops of the claims from i on that cost the same, as many as
// a route may have, and returns where it stopped.
func (w *walker) gather(e *entry, i int, backup bool) int {
	head, n := &w.cands[i], 0
	for ; i < len(w.cands); i++ {
		k := &w.cands[i]
		if k != head && (k.blocked || k.usable() != head.usable() || n >= max(w.c.cfg.FIB.MaxECMP, 1)) {
			break
		}
		if d, _ := cost(head, k); d != 0 {
			break
		}
		h := k.hop()
		if !k.ready(e) || slices.Contains(w.hops, h) {
			continue
		}
		h.Backup = backup
		if !slices.Contains(w.hops, h) {
			w.hops = append(w.hops, h)
			n++
		}
	}
	return i
}

// backup adds the next hops that take over when all before are lost: those of the
// best claims behind them that lead elsewhere.
func (w *walker) backup(e *entry, i int) {
	for primary := len(w.hops); i < len(w.cands) && len(w.hops) == primary; {
		k := &w.cands[i]
		if k.blocked || !k.usable() {
			return
		}
		if x := k.wish(); k.host || x != nil && x.blackhole {
			i++
			continue
		}
		i = w.gather(e, i, true)
	}
}

// ready reports whether traffic routed to the claim would go on.
func (k *candidate) ready(e *entry) bool {
	if k.site != nil {
		return k.site.ready(e)
	}
	return k.reason != ReasonNoTunnel && k.reason != ReasonBFD && k.reason != ReasonLinkDown
}

func (k *candidate) hop() bgp.NextHop {
	if k.site != nil {
		return k.site.hop[0]
	}
	if k.path.from.cfg.Kind == bgp.KindTGW {
		return k.path.from.hop[0]
	}
	return bgp.NextHop{Gateway: k.path.NextHop, Device: k.path.from.cfg.Device}
}

// share returns w.hops as a slice that routes share, so that a plan of many
// routes holds few of them.
func (w *walker) share(best *candidate) []bgp.NextHop {
	if len(w.hops) == 1 {
		if best.site != nil && best.site.hop[0] == w.hops[0] {
			return best.site.hop
		}
		if best.path != nil {
			n := best.path.from
			switch {
			case n.hop[0] == w.hops[0]:
				return n.hop
			case n.via == nil || n.via[0] != w.hops[0]: // a router nearly always names one gateway
				n.via = slices.Clone(w.hops)
			}
			return n.via
		}
	}
	slices.SortFunc(w.hops, compareHops)
	var many *[]bgp.NextHop
	if best.site != nil {
		many = &best.site.many
	} else {
		many = &best.path.from.many
	}
	if slices.Equal(*many, w.hops) {
		return *many
	}
	for _, h := range w.ecmp {
		if slices.Equal(h, w.hops) {
			*many = h
			return h
		}
	}
	*many = slices.Clone(w.hops)
	w.ecmp = append(w.ecmp, *many)
	return *many
}

func compareHops(a, b bgp.NextHop) int {
	if a.Backup != b.Backup {
		return first(!a.Backup)
	}
	if d := cmp.Compare(a.Device, b.Device); d != 0 {
		return d
	}
	return a.Gateway.Compare(b.Gateway)
}

func throughDevice(r *bgp.Route, dev string) bool { return leadsTo(bgp.Primary(r.NextHops), dev) }

func connected(d *wg.Device, a netip.Addr) bool {
	for _, p := range d.Addresses {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
