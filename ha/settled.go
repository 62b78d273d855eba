package ha

import (
	"net/netip"

	"github.com/wgbgp/wgbgp/bgp"
)

// Tables of neighbors are large and at rest nearly always. An entry whose paths
// come from such neighbors alone is settled once its route is confirmed and
// traffic arrives: what it contributes to the plan follows from its paths and
// from things whose changes begin a new epoch (configuration, tunnels, the outer
// addresses, the drain). Until one of these changes, or trouble is reported about
// its route, the plan goes on saying what it said last, and nothing is worked out
// again. Prefixes of sites are not settled but ordinary: their health and their
// allowed IPs change by other ways.

// settle notes whether the entry that was just planned is settled.
func (w *walker) settle(e *entry, old *bgp.Route, report *bgp.RouteReport) {
	if w.changed {
		e.routedGen = w.gen
	}
	e.settled = 0
	if !w.forwarded || old == nil || report != nil || e.routedGen > w.routesGen || len(e.sites)+len(e.placed) > 0 || e.host != nil {
		return
	}
	for i := range w.cands {
		if w.cands[i].site != nil {
			return
		}
	}
	e.settled = w.c.epoch
}

// settled plans a settled entry by keeping what the last plan has about it. Of
// every other it returns false, having done nothing.
func (w *walker) settled(e *entry) bool {
	if e.settled != w.c.epoch || w.c.thorough || w.reported(e.prefix) {
		return false
	}
	keepPrefix(&w.routes, e.prefix, func(r *bgp.Route) netip.Prefix { return r.Prefix })
	keepPrefix(&w.ann, e.prefix, func(a *bgp.Announcement) netip.Prefix { return a.Prefix })
	keepPrefix(&w.withheld, e.prefix, func(h *Withheld) netip.Prefix { return h.Prefix })
	return true
}

// keepPrefix keeps what the last plan has about the prefix; what comes before it
// and was not asked for is gone.
func keepPrefix[T any](b *builder[T], p netip.Prefix, of func(*T) netip.Prefix) {
	for v := b.next(); v != nil; v = b.next() {
		switch q := of(v); {
		case q == p:
			b.keep()
		case bgp.ComparePrefix(q, p) > 0:
			return
		default:
			b.skip()
		}
	}
}

// reported reports whether the routes edge has trouble with the prefix.
func (w *walker) reported(p netip.Prefix) bool {
	for len(w.reports) > 0 && bgp.ComparePrefix(w.reports[0].Prefix, p) < 0 {
		w.reports = w.reports[1:]
	}
	return len(w.reports) > 0 && w.reports[0].Prefix == p
}
