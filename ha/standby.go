package ha

import (
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
)

// standby keeps a way open for the probes of sites that lost a prefix to
// somebody else. A probe's socket is bound to its site's interface, and IPv6
// refuses to send by an interface that no route of the target uses (strict
// lookup, fib6_table_lookup in net/ipv6/route.c), so that the site could never
// show that it has recovered. IPv4 takes the target to be on the link then
// (ip_route_output_key_hash_rcu in net/ipv4/route.c).
//
// The route has the worst metric above the blackhole: whatever is not bound to
// the interface takes the prefix's proper route. On a shared interface there is
// nothing to keep open, the prefix belongs to one peer.
func (w *walker) standby(e *entry) {
	f := &w.c.cfg.FIB
	if len(w.cands) < 2 || len(w.hops) == 0 || !e.prefix.Addr().Is6() || f.SinkMetric <= f.Metric+1 {
		return
	}
	var hops []bgp.NextHop
	for i := range w.cands {
		k := &w.cands[i]
		if k.site == nil || k.blocked || !k.site.asksIn(e.prefix) || !k.ready(e) {
			continue
		}
		if h := k.site.hop[0]; !slices.Contains(w.hops, h) && !slices.Contains(hops, h) && len(hops) < max(f.MaxECMP, 1) {
			hops = append(hops, h)
		}
	}
	if len(hops) == 0 {
		return
	}
	slices.SortFunc(hops, compareHops)
	w.addRoute(bgp.Route{Prefix: e.prefix, Metric: f.SinkMetric - 1, NextHops: hops, Source: f.Source6})
}

// asksIn reports whether a probe of the site asks something inside p.
func (s *siteState) asksIn(p netip.Prefix) bool {
	for i := range s.cfg.Checks {
		if k := &s.cfg.Checks[i]; k.Kind == CheckProbe && p.Contains(k.Probe.Target) {
			return true
		}
	}
	return false
}
