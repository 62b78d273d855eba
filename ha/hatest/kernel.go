package hatest

import (
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// kernel is what a machine forwards by. It outlives the daemon, not the power.
type kernel struct {
	h      *host
	index  int // of the WireGuard interface; 0: there is none
	table  *wg.Table
	routes []kroute // by prefix index
}

// kroute is what the kernel has for one prefix: a route that carries traffic, and
// the blackhole under it.
type kroute struct {
	hops            []bgp.NextHop
	in, sink        bool
	known, sinkKnow bool // wanted by this process before
}

func (k *kernel) reset(h *host) {
	*k = kernel{h: h, table: wg.NewTable(nil), routes: make([]kroute, len(h.w.prefixes))}
}

// adopted makes all that is there that of an earlier process.
func (k *kernel) adopted() {
	var peers []wg.Held
	for _, p := range k.table.Peers() {
		q := *p
		q.By = wg.OursBefore
		q.AllowedIPs = slices.Clone(p.AllowedIPs)
		for i := range q.AllowedIPs {
			q.AllowedIPs[i].By = wg.OursBefore
		}
		peers = append(peers, q)
	}
	k.table = wg.NewTable(peers)
	for i := range k.routes {
		k.routes[i].known, k.routes[i].sinkKnow = false, false
	}
}

// learnEndpoint is WireGuard following an authenticated packet.
func (h *host) learnEndpoint(l *link) {
	if p := h.kernel.table.Peer(l.site.key()); p != nil {
		p.Endpoint = l.site.outer()
	}
}

// do changes the WireGuard interface.
func (k *kernel) do(op wg.Op) {
	w := k.h.w
	var l *link
	if p := siteOfKey(op.Peer); p >= 0 {
		l = k.h.linkOf[p]
	}
	if op.Kind == wg.OpDelPeer {
		if p := k.table.Peer(op.Peer); p != nil {
			for _, ip := range p.AllowedIPs {
				w.check.prefixLeaves(k.h, l, ip.Prefix)
			}
		}
	}
	if op.Kind == wg.OpDelPrefix {
		w.check.prefixLeaves(k.h, l, op.Prefix)
	}
	k.table.Do(op)
	if at, ok := w.index[op.Prefix]; ok {
		w.check.touch(at)
	}
	if l == nil {
		return
	}
	switch op.Kind {
	case wg.OpAddPeer:
		l.present, l.heard = true, op.Endpoint.IsValid()
		l.update()
	case wg.OpDelPeer:
		l.erase()
	case wg.OpSetEndpoint:
		l.parked, l.heard = op.Endpoint == wg.Parked, true
		l.update()
	}
}

func siteOfKey(k wg.Key) int { return int(k[0])<<16 | int(k[1])<<8 | int(k[2]) - 1 }

// resolve gives the address that an endpoint stands for.
func resolve(e wg.Endpoint, _ bool) []netip.AddrPort {
	a, err := netip.ParseAddr(e.Host)
	if err != nil {
		return nil
	}
	return []netip.AddrPort{netip.AddrPortFrom(a, e.Port)}
}

// routeOp is one change of the routing table. r nil: take it out.
type routeOp struct {
	at   int32
	sink bool
	r    *bgp.Route
}

// route changes the routing table.
func (k *kernel) route(op routeOp) {
	e := &k.routes[op.at]
	w := k.h.w
	switch {
	case op.sink:
		e.sink, e.sinkKnow = op.r != nil, op.r != nil
	case op.r != nil:
		e.hops, e.in, e.known = bgp.Primary(op.r.NextHops), true, true
	case e.in:
		w.check.routeLeaves(k.h, op.at)
		e.hops, e.in, e.known = nil, false, false
	}
	w.note(traceRoute, uint64(k.h.id), uint64(op.at), b2u(op.r != nil), b2u(op.sink))
	w.check.touch(op.at)
}

// compare lists what makes the whole table as wanted.
func (k *kernel) compare(want []bgp.Route, sweep bool) []routeOp {
	type pair struct{ carries, sink *bgp.Route }
	wanted := make([]pair, len(k.routes))
	for i := range want {
		at, ok := k.h.w.index[want[i].Prefix]
		switch {
		case !ok:
		case want[i].Type == bgp.BlackholeRoute:
			wanted[at].sink = &want[i]
		default:
			wanted[at].carries = &want[i]
		}
	}
	var ops []routeOp
	for i := range k.routes {
		e, at := &k.routes[i], int32(i)
		switch r := wanted[i].carries; {
		case r != nil && (!e.in || !slices.Equal(e.hops, bgp.Primary(r.NextHops))):
			ops = append(ops, routeOp{at, false, r})
		case r != nil:
			e.known = true
		case e.in && (e.known || sweep):
			ops = append(ops, routeOp{at, false, nil})
		}
		switch r := wanted[i].sink; {
		case r != nil && !e.sink:
			ops = append(ops, routeOp{at, true, r})
		case r != nil:
			e.sinkKnow = true
		case e.sink && (e.sinkKnow || sweep):
			ops = append(ops, routeOp{at, true, nil})
		}
	}
	return ops
}

// difference lists what makes a table that is as the first set like the second.
func (k *kernel) difference(have, want []bgp.Route) []routeOp {
	var ops []routeOp
	add := func(r *bgp.Route, set *bgp.Route) {
		if at, ok := k.h.w.index[r.Prefix]; ok {
			ops = append(ops, routeOp{at, r.Type == bgp.BlackholeRoute, set})
		}
	}
	i, j := 0, 0
	for i < len(have) || j < len(want) {
		d := 0
		switch {
		case i == len(have):
			d = 1
		case j == len(want):
			d = -1
		case have[i].Prefix == want[j].Prefix:
			d = int(have[i].Type) - int(want[j].Type)
		default:
			d = bgp.ComparePrefix(have[i].Prefix, want[j].Prefix)
		}
		switch {
		case d < 0:
			add(&have[i], nil)
			i++
		case d > 0:
			add(&want[j], &want[j])
			j++
		default:
			if a, b := have[i].NextHops, want[j].NextHops; len(a) != len(b) || len(a) > 0 && &a[0] != &b[0] && !slices.Equal(a, b) {
				add(&want[j], &want[j])
			}
			i++
			j++
		}
	}
	return ops
}
