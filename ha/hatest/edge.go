package hatest

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

// The edges that matter to the core. Tunnels, probes and BFD follow at once.
const (
	edgeWireGuard = iota
	edgeRoutes
	edgeBGP
)

// auditEvery is how often an edge compares everything with the kernel.
const auditEvery = 30 * time.Second

// edge is one edge of a daemon. The latest plan wins; it works on one at a time,
// which takes a while, may fail, and may be done half when the process dies.
type edge struct {
	p      *process
	kind   int
	latest *ha.Plan
	busy   bool
	done   *ha.Plan // what it has made true, as far as nothing failed
	dirty  bool     // something failed, or may have changed outside
	failed map[routeKey]bool
}

type routeKey struct {
	at   int32
	sink bool
}

func newEdge(p *process, kind int) *edge {
	e := &edge{p: p, kind: kind, dirty: true}
	e.audit()
	return e
}

// audit has the edge look again even if no plan comes.
func (e *edge) audit() {
	e.p.h.w.after(auditEvery, func() {
		if e.p.h.proc != e.p {
			return
		}
		e.dirty = true
		e.kick()
		e.audit()
	})
}

func (e *edge) offer(p *ha.Plan) {
	e.latest = p
	e.kick()
}

func (e *edge) kick() {
	if e.busy || e.latest == nil {
		return
	}
	e.busy = true
	h := e.p.h
	d := h.luck.between(200*time.Microsecond, 5*time.Millisecond)
	if h.w.now < h.faults[e.kind].slow {
		d = h.luck.between(time.Second, 6*time.Second)
	}
	h.w.after(d, e.work)
}

// work makes the latest plan true.
func (e *edge) work() {
	h := e.p.h
	if h.proc != e.p {
		return
	}
	p := e.latest
	if h.w.now < h.faults[e.kind].fail {
		e.finish(p, e.failure(p))
		h.w.after(h.luck.between(time.Second, 2*time.Second), func() {
			if h.proc == e.p {
				e.kick()
			}
		})
		return
	}
	switch e.kind {
	case edgeWireGuard:
		e.wireguard(p)
	case edgeRoutes:
		e.routes(p)
	case edgeBGP:
		e.bgp(p)
	}
}

// failure is the report of an attempt that failed as a whole.
func (e *edge) failure(p *ha.Plan) ha.Fact {
	e.dirty = true
	switch e.kind {
	case edgeWireGuard:
		return ha.WireGuardApplied{Plan: p, Applied: wg.Applied{Device: "wg0", Gen: p.Gen, Index: e.p.h.kernel.index, Err: "operation not permitted"}}
	case edgeRoutes:
		return ha.RoutesApplied{Plan: p, RoutesApplied: bgp.RoutesApplied{Gen: p.Gen, Err: "netlink: timeout"}}
	}
	return nil // GoBGP does not answer: nothing is said
}

// finish reports, unless the report is lost, and goes on with a plan that came
// meanwhile.
func (e *edge) finish(p *ha.Plan, report ha.Fact) {
	h, w := e.p.h, e.p.h.w
	e.busy = false
	if report != nil && w.now >= h.loses {
		late := time.Duration(0)
		if !w.s.Large && h.luck.oneIn(8) {
			late = h.luck.between(0, 3*time.Second) // others overtake it
		}
		w.after(late, func() {
			if h.proc == e.p {
				h.put(report)
			}
		})
	}
	if e.latest != p {
		e.kick()
	}
}

// halves does a list of changes, now and then in two parts with a pause.
func halves[T any](e *edge, ops []T, do func(T), then func()) {
	h := e.p.h
	if n := len(ops); !h.w.s.Large && n > 1 && h.luck.oneIn(4) {
		for _, op := range ops[:n/2] {
			do(op)
		}
		h.w.after(h.luck.between(time.Millisecond, 400*time.Millisecond), func() {
			if h.proc == e.p {
				for _, op := range ops[n/2:] {
					do(op)
				}
				then()
			}
		})
		return
	}
	for _, op := range ops {
		do(op)
	}
	then()
}

// misses says whether one change fails.
func (e *edge) misses() bool {
	h := e.p.h
	return h.w.now < h.faults[e.kind].part && h.luck.oneIn(3)
}

func (e *edge) wireguard(p *ha.Plan) {
	h := e.p.h
	k := &h.kernel
	if k.index == 0 {
		h.boots++
		k.index, e.dirty = 6+h.boots, true
	}
	a := wg.Applied{Device: "wg0", Gen: p.Gen, Index: k.index}
	want := p.Devices[0].Peers
	var d wg.Delta
	looked := e.dirty || e.done == nil || !sameSlice(e.done.Devices, p.Devices) || e.done.FIB.Complete != p.FIB.Complete
	if looked {
		d = wg.Diff(want, k.table, wg.DiffOptions{Sweep: p.FIB.Complete, Resolve: resolve})
	}
	e.dirty = false
	for _, b := range d.Blocked {
		h.w.check.blocked(h, b)
		a.Failed = with(a.Failed, b.Prefix, "held by another peer")
	}
	halves(e, d.Ops, func(op wg.Op) {
		if e.misses() {
			e.dirty = true
			switch op.Kind {
			case wg.OpMovePrefix:
				a.Failed = with(a.Failed, op.Prefix, "no buffer space")
			case wg.OpAddPeer:
				a.PeerErrors = with(a.PeerErrors, op.Peer, "no buffer space")
			}
			return
		}
		if op.Kind == wg.OpAddPeer {
			a.Added = append(a.Added, op.Peer)
		}
		if op.Kind == wg.OpMovePrefix && k.table.Peer(op.Peer) == nil {
			a.Failed = with(a.Failed, op.Prefix, "no such peer")
		}
		k.do(op)
	}, func() {
		e.done = p
		if looked && !e.dirty {
			h.w.check.again(h, len(wg.Diff(want, k.table, wg.DiffOptions{Sweep: p.FIB.Complete, Resolve: resolve}).Ops)-len(d.Blocked), p)
		}
		e.finish(p, ha.WireGuardApplied{Plan: p, Applied: a})
	})
}

func with[K comparable](m map[K]string, k K, text string) map[K]string {
	if m == nil {
		m = map[K]string{}
	}
	m[k] = text
	return m
}

func sameSlice[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

func (e *edge) routes(p *ha.Plan) {
	h := e.p.h
	k := &h.kernel
	want := p.FIB.Routes
	var ops []routeOp
	switch {
	case e.dirty || e.done == nil || e.done.FIB.Complete != p.FIB.Complete:
		ops = k.compare(want, p.FIB.Complete)
	case !sameSlice(e.done.FIB.Routes, want):
		ops = k.difference(e.done.FIB.Routes, want)
	}
	e.dirty = false
	clear(e.failed)
	halves(e, ops, func(op routeOp) {
		if e.misses() {
			e.dirty = true
			if e.failed == nil {
				e.failed = map[routeKey]bool{}
			}
			e.failed[routeKey{op.at, op.sink}] = true
			return
		}
		k.route(op)
	}, func() {
		e.done = p
		if !e.dirty {
			h.w.check.routesAgain(h, p)
		}
		r := bgp.RoutesApplied{Gen: p.Gen}
		for i := range want {
			if len(e.failed) == 0 {
				break
			}
			at, ok := h.w.index[want[i].Prefix]
			if ok && e.failed[routeKey{at, want[i].Type == bgp.BlackholeRoute}] {
				r.Reports = append(r.Reports, bgp.RouteReport{Prefix: want[i].Prefix, Metric: want[i].Metric, Status: bgp.RouteFailed, Detail: "no buffer space"})
			}
		}
		e.finish(p, ha.RoutesApplied{Plan: p, RoutesApplied: r})
	})
}

// bgp is the speaker: it sends what changed to every session that is up.
func (e *edge) bgp(p *ha.Plan) {
	h := e.p.h
	var have []bgp.Announcement
	var were []bgp.Neighbor
	if e.done != nil {
		have, were = e.done.Announcements, e.done.Neighbors
	}
	e.dirty = false
	a := bgp.AnnounceApplied{Gen: p.Gen}
	if !sameSlice(have, p.Announcements) {
		set, gone := bgp.DiffAnnouncements(have, p.Announcements)
		var changed []int32
		for _, i := range gone {
			changed = append(changed, h.say(have[i].Prefix, nil))
		}
		for _, i := range set {
			a := p.Announcements[i] // a copy: a pointer would keep every old plan
			changed = append(changed, h.say(a.Prefix, &a))
		}
		slices.Sort(changed)
		for _, s := range h.speaking() {
			i := s.endOf(h)
			if s.up[i] {
				s.send(i, h.told(s, i, changed), false)
			}
		}
	}
	if len(were) > 0 && !sameSlice(were, p.Neighbors) {
		for _, d := range bgp.DiffNeighbors(were, p.Neighbors) {
			if d.Change&bgp.ChangeFlush != 0 {
				h.flush(d.Want)
			}
		}
	}
	e.done = p
	e.finish(p, ha.AnnounceApplied{Plan: p, AnnounceApplied: a})
}

// say notes what the speaker says about a prefix from now on.
func (h *host) say(p netip.Prefix, a *bgp.Announcement) int32 {
	at := h.w.index[p]
	h.proc.said[at] = a
	h.w.check.announced(h, at)
	return at
}

// speaking lists the sessions that announcements go to and that lead anywhere.
func (h *host) speaking() []*session {
	out := make([]*session, 0, len(h.wires)+1)
	out = append(out, h.tgw[:]...)
	for _, x := range h.wires {
		if x != nil {
			out = append(out, x.bgp)
		}
	}
	return out
}

func (s *session) endOf(h *host) int {
	if s.ends[0].host == h {
		return 0
	}
	return 1
}

// told is what the other end of a session is told about prefixes.
func (h *host) told(s *session, i int, prefixes []int32) []change {
	out := make([]change, 0, len(prefixes))
	group, name := "fleet", s.name(i)
	if s.ends[1-i].host == nil {
		group = "tgw"
	}
	for _, p := range prefixes {
		c := change{prefix: p}
		if a := h.proc.said[p]; a != nil && !slices.Contains(a.Except, name) {
			c.attrs = h.w.onWire(a, group)
		}
		out = append(out, c)
	}
	return out
}

// onWire are the attributes of an announcement as a group of neighbors gets them.
func (w *world) onWire(a *bgp.Announcement, group string) *bgp.Attrs {
	at := slices.IndexFunc(a.To, func(e bgp.Export) bool { return e.Group == group })
	if at < 0 {
		return nil
	}
	e := &a.To[at]
	k := wireKey{e, a.Attrs}
	if got := w.wireAttrs[k]; got != nil {
		return got
	}
	out := &bgp.Attrs{ASPath: a.Attrs.ASPath, MED: e.MED, HasMED: true, LocalPref: 100, Communities: e.Communities, Large: e.Large}
	if group == "tgw" {
		path := make([]bgp.ASN, 0, len(a.Attrs.ASPath)+1+int(e.Prepend))
		for range 1 + e.Prepend {
			path = append(path, ourASN)
		}
		out.ASPath = append(path, a.Attrs.ASPath...)
	}
	w.wireAttrs[k] = out
	return out
}

type wireKey struct {
	e *bgp.Export
	a *bgp.Attrs
}

// greet sends the whole table to a session that came up.
func (h *host) greet(s *session, i int) {
	var all []int32
	for p, a := range h.proc.said {
		if a != nil {
			all = append(all, int32(p))
		}
	}
	s.send(i, h.told(s, i, all), true)
}

// flush starts a session over.
func (h *host) flush(n *bgp.Neighbor) {
	switch n.Kind {
	case bgp.KindSite:
		if l := h.proc.linkNamed(n.Name); l != nil {
			l.flush()
		}
	case bgp.KindFleet:
		for _, x := range h.wires {
			if x != nil && neighborName(x.other(h)) == n.Name {
				x.bgp.close(x.of(h), "flush", "notification-received cease/6/10")
			}
		}
	}
}
