package ha

import (
	"net/netip"

	"github.com/wgbgp/wgbgp/bgp"
)

// oldRoute advances beyond p in the confirmed routes and returns the one that
// carries traffic, with the trouble reported about it, if any.
func (w *walker) oldRoute(p netip.Prefix) (*bgp.Route, *bgp.RouteReport) {
	old, i := w.oldRoutes, w.oldAt
	for i < len(old) && old[i].Prefix != p && bgp.ComparePrefix(old[i].Prefix, p) < 0 {
		i++
	}
	var r *bgp.Route
	for ; i < len(old) && old[i].Prefix == p; i++ {
		if r == nil && old[i].Type == bgp.Unicast {
			r = &old[i]
		}
	}
	w.oldAt = i
	if r == nil {
		return nil, nil
	}
	for len(w.reports) > 0 && bgp.ComparePrefix(w.reports[0].Prefix, p) < 0 {
		w.reports = w.reports[1:]
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

// coversEndpoint reports whether p holds the outer address of a tunnel.
func (w *walker) coversEndpoint(p netip.Prefix) bool {
	for len(w.endpoints) > 0 && w.endpoints[0].Compare(p.Addr()) < 0 {
		w.endpoints = w.endpoints[1:]
	}
	return len(w.endpoints) > 0 && p.Contains(w.endpoints[0])
}
