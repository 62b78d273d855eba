package ha

import (
	"net/netip"

	"github.com/wgbgp/wgbgp/bgp"
)

// oldRoute advances to p in the confirmed routes and returns the one that
// carries traffic, with the trouble reported about it, if any.
func (w *walker) oldRoute(p netip.Prefix) (*bgp.Route, *bgp.RouteReport) {
	for len(w.oldRoutes) > 0 && w.oldRoutes[0].Prefix != p && bgp.ComparePrefix(w.oldRoutes[0].Prefix, p) < 0 {
		w.oldRoutes = w.oldRoutes[1:]
	}
	var r *bgp.Route
	for i := range w.oldRoutes {
		if w.oldRoutes[i].Prefix != p {
			break
		}
		if w.oldRoutes[i].Type == bgp.Unicast {
			r = &w.oldRoutes[i]
			break
		}
	}
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

// announced reports whether the speaker still has p out. It may be asked again
// for the same prefix.
func (w *walker) announced(p netip.Prefix) bool {
	for len(w.oldAnn) > 0 && w.oldAnn[0].Prefix != p && bgp.ComparePrefix(w.oldAnn[0].Prefix, p) < 0 {
		w.oldAnn = w.oldAnn[1:]
	}
	return len(w.oldAnn) > 0 && w.oldAnn[0].Prefix == p
}

// coversEndpoint reports whether p holds the outer address of a tunnel.
func (w *walker) coversEndpoint(p netip.Prefix) bool {
	for len(w.endpoints) > 0 && w.endpoints[0].Compare(p.Addr()) < 0 {
		w.endpoints = w.endpoints[1:]
	}
	return len(w.endpoints) > 0 && p.Contains(w.endpoints[0])
}

// builder makes a slice of the plan by comparing it with that of the last plan
// while it grows: what did not change is not even copied.
type builder[T any] struct {
	old   []T
	equal func(a, b *T) bool
	v     T   // under comparison; kept here so that it need not be allocated
	n     int // elements of old confirmed
	out   []T // once something differs
	fresh bool
}

func (b *builder[T]) add(v T) {
	if !b.fresh {
		if b.n < len(b.old) {
			if b.v = v; b.equal(&b.old[b.n], &b.v) {
				b.n++
				return
			}
		}
		b.diverge()
	}
	b.out = append(b.out, v)
}

func (b *builder[T]) diverge() {
	b.fresh = true
	b.out = make([]T, b.n, max(len(b.old), b.n)+16)
	copy(b.out, b.old)
}

// done returns the old slice itself when nothing changed.
func (b *builder[T]) done() []T {
	if !b.fresh {
		if b.n == len(b.old) {
			return b.old
		}
		b.diverge()
	}
	return b.out
}
