package ha

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/wg"
)

// Plan decides everything that should be true now. While nothing that matters
// has changed it returns the very same plan.
func (c *Core) Plan(now time.Time) *Plan {
	c.tick(now)
	c.Lost()
	if !c.dirty && c.plan != nil {
		return c.plan
	}
	c.dirty, c.urgent = false, false
	c.refreshEndpoints()
	c.refreshProbes()
	c.flushBroken()
	c.settle(now)
	w := &c.walk
	w.start(c, now)
	granted := false
	for _, e := range c.rib.sorted() {
		if !granted && e.prefix.Addr().Compare(firstLinkLocal) >= 0 {
			w.grantLinkLocal()
			granted = true
		}
		w.place(e)
	}
	if !granted {
		w.grantLinkLocal()
	}
	c.rib.forget(w.anyDead)
	c.stay()
	c.release(w)
	c.listen(w)
	c.plan = c.assemble(w)
	return c.plan
}

// settle decides whether the facts are complete enough to sweep: it is known what
// is on the interfaces, and every neighbor has sent its table, or has been waited
// for long enough (RFC 4724 section 4.1 has the same deferral).
func (c *Core) settle(now time.Time) {
	if c.complete {
		return
	}
	if c.unconfirmed() {
		return // its report is news
	}
	deadline := c.started.Add(c.cfg.Gateway.EndOfRIBWait)
	if !now.Before(deadline) {
		c.complete = true
		return
	}
	if c.undiscovered() {
		c.wake(deadline)
		return
	}
	for _, n := range c.neighbors {
		if n.cfg.Range.IsValid() || n.cfg.Dynamic != "" {
			continue // nobody knows who will come
		}
		if !n.heardAll() {
			c.wake(deadline)
			return
		}
	}
	c.complete = true
}

// unconfirmed reports whether an interface may be there of which it is not known
// what is on it, because nothing was reported yet or every attempt failed. Routes
// into it may work, and without that report they are in no plan.
func (c *Core) unconfirmed() bool {
	for _, d := range c.devices {
		if there := d.applied.Device == "" || d.applied.Index != 0; there && d.want == nil {
			return true
		}
	}
	return false
}

func (c *Core) refreshEndpoints() {
	if !c.endpointsOld {
		return
	}
	c.endpointsOld = false
	eps := make([]netip.Addr, 0, len(c.endpoints))
	for _, d := range c.devices {
		for i := range d.seen.Peers {
			if a := d.seen.Peers[i].Endpoint.Addr(); a.IsValid() && d.seen.Peers[i].Endpoint != wg.Parked {
				eps = append(eps, a.Unmap().WithZone(""))
			}
		}
	}
	for _, s := range c.sites {
		if a, err := netip.ParseAddr(s.cfg.Peer.Endpoint.Host); err == nil {
			eps = append(eps, a.Unmap().WithZone(""))
		}
	}
	for _, p := range c.cfg.Connect {
		eps = append(eps, p.Remote)
	}
	slices.SortFunc(eps, netip.Addr.Compare)
	if eps = slices.Compact(eps); !slices.Equal(c.endpoints, eps) {
		c.endpoints = eps
		c.epoch++
	}
}

// walker is the state of one pass over the RIB. It walks, in step with the
// entries, what the edges have confirmed, so that nothing is looked up.
type walker struct {
	c          *Core
	now        time.Time
	routes     builder[bgp.Route]
	ann        builder[bgp.Announcement]
	withheld   builder[Withheld]
	held       []Withheld // of the present entry
	sources    map[string][]netip.Prefix
	cands      []candidate
	hops       []bgp.NextHop
	ways       [][]bgp.NextHop // of the routes of the present entry
	ecmp       [][]bgp.NextHop // distinct multi-hop sets of this pass
	anyDead    bool
	lingering  bool
	outbidding bool // a route of a dead host is outbid until a moment
	changed    bool // a route of the present entry is not that of the last plan
	forwarded  bool // traffic for the best claim of the present entry arrives

	gen               uint64 // of the plan in the making
	routesGen, annGen uint64 // of the plans that the edges have finished
	lastAt            int    // like oldAt, in the routes of the last plan

	oldRoutes []bgp.Route
	oldAt     int // those before it are of earlier prefixes
	reports   []bgp.RouteReport
	endpoints []netip.Addr
}

func (w *walker) start(c *Core, now time.Time) {
	w.c, w.now = c, now
	var last Plan
	if c.plan != nil {
		last = *c.plan
	}
	w.routes = builder[bgp.Route]{old: last.FIB.Routes, equal: equalRoute, order: orderRoute, more: len(c.rib.added)}
	w.ann = builder[bgp.Announcement]{old: c.offered.ann, equal: equalAnnouncement, order: orderAnnouncement}
	w.withheld = builder[Withheld]{old: c.offered.withheld, equal: equalWithheld, order: orderWithheld}
	w.ecmp = w.ecmp[:0]
	w.sources = map[string][]netip.Prefix{}
	w.anyDead, w.lingering, w.outbidding = false, false, false
	w.oldRoutes, w.oldAt, w.reports, w.endpoints = nil, 0, nil, c.endpoints
	w.gen, w.routesGen, w.annGen, w.lastAt = last.Gen+1, 0, 0, 0
	if c.routes.plan != nil {
		w.oldRoutes, w.reports, w.routesGen = c.routes.plan.FIB.Routes, c.routes.Reports, c.routes.plan.Gen
	}
	if c.ann.plan != nil {
		w.annGen = c.ann.plan.Gen
	}
	for _, d := range c.devices {
		d.join()
	}
	for _, s := range c.sites {
		s.start(c)
	}
}

// join points every site at its peer in what the device edge confirmed.
func (d *deviceState) join() {
	if d.joined {
		return
	}
	d.joined = true
	i := 0
	for _, s := range d.sites {
		s.applied = nil
		if d.want == nil || d.applied.Index == 0 {
			continue
		}
		for i < len(d.want.Peers) && d.want.Peers[i].Key.Compare(s.cfg.Peer.Key) < 0 {
			i++
		}
		if i < len(d.want.Peers) && d.want.Peers[i].Key == s.cfg.Peer.Key && !s.missing {
			if _, bad := d.applied.PeerErrors[s.cfg.Peer.Key]; !bad {
				s.applied = &d.want.Peers[i]
			}
		}
	}
}

// ready reports whether packets for p reach the site once they are routed into
// its device: the peer is there and, on a shared interface, owns p.
func (s *siteState) ready(e *entry) bool {
	if s.applied == nil {
		return false
	}
	if !s.synced() {
		return true
	}
	if g := e.since(s); g == 0 || g > s.dev.plan.Gen {
		return false
	}
	if len(s.dev.applied.Failed) == 0 {
		return true
	}
	_, failed := s.dev.applied.Failed[e.prefix]
	return !failed
}

// place decides one prefix: which peers own it, where it is routed, who is
// told.
func (w *walker) place(e *entry) {
	if w.settled(e) {
		return
	}
	old, report := w.oldRoute(e.prefix)
	e.recall(w.routesGen)
	if old != nil && !e.routed.certain(w.routesGen) {
		old, report = nil, nil
	}
	if !w.ordinary(e, old, report) {
		w.think(e, old, report)
	}
}

func (w *walker) think(e *entry, old *bgp.Route, report *bgp.RouteReport) {
	e.carried = ""
	if e.empty() {
		w.leave(e)
		w.remember(e, false)
		return
	}
	e.gone = time.Time{}
	e.bury(w.now, w.c.outlived+ghostGrace)
	covers := len(e.paths) > 0 && w.coversEndpoint(e.prefix)
	w.cands = w.c.candidates(w.cands, e, covers)
	w.keepWaiting(e)
	w.changed, w.forwarded = false, false
	if e.agg != nil {
		w.aggregate(e)
	} else {
		e.sunk.set(false, w.gen)
		w.own(e)
		w.route(e)
		w.remember(e, w.announce(e, old, report))
	}
	if len(w.cands) > 0 && w.forwarded && w.cands[0].site != nil {
		e.carried = w.rankAt(e, &w.cands[0])
	}
	w.settle(e, old, report)
	if len(w.held) > 0 {
		slices.SortStableFunc(w.held, compareWithheld)
		for i := range w.held {
			w.withheld.add(w.held[i])
		}
		w.held = w.held[:0]
	}
}

// leave takes a prefix that nobody claims any more out in the order withdraw,
// route, allowed IP, each when the step before is confirmed.
func (w *walker) leave(e *entry) {
	last := w.lastRoute(e)
	if e.gone.IsZero() {
		e.gone = w.now
	}
	until := e.gone.Add(w.c.cfg.Gateway.Linger)
	lingering := w.now.Before(until)
	if lingering && last != nil {
		w.lingering = true
		w.c.wake(until)
	}
	routed := e.routed.possible(w.routesGen)
	if routed && last != nil && (lingering || w.stillOut(e)) {
		w.addRoute(*last)
	}
	w.unsink(e)
	if routed {
		for i := range e.placed {
			w.grant(e.placed[i].site, e.prefix)
		}
		return
	}
	e.placed = nil
	if len(e.hidden) == 0 && !e.sunk.in {
		e.dead, w.anyDead = true, true
	}
}

// own gives the prefix to one peer of each shared interface, and to the source
// check of each open one.
func (w *walker) own(e *entry) {
	if len(w.cands) == 1 && len(e.placed) == 1 && w.cands[0].site == e.placed[0].site && !w.cands[0].blocked {
		w.grant(e.placed[0].site, e.prefix) // the ordinary case, without allocation
		return
	}
	before := slices.Clone(e.placed)
	e.placed = e.placed[:0]
	keep := func(s *siteState) {
		w.grant(s, e.prefix)
		p := placing{site: s, since: w.gen}
		for i := range before {
			switch b := &before[i]; {
			case b.site == s:
				p = *b
			case b.site.dev == s.dev && p.since == w.gen: // the route did not move
				p.via, p.left = b.via, b.left
			}
		}
		e.placed = append(e.placed, p)
	}
	for i := range w.cands {
		k := &w.cands[i]
		if k.site == nil || k.blocked || k.site.dev == nil {
			continue
		}
		if slices.ContainsFunc(e.placed, func(p placing) bool {
			return p.site == k.site || (p.site.synced() && p.site.dev == k.site.dev)
		}) {
			continue
		}
		keep(k.site)
	}
	// A prefix that moves to another interface, or another host, stays with its peer
	// until the route has moved, and longer if its site may come back for it.
	for i := range before {
		s := before[i].site
		if s.dev == nil || slices.ContainsFunc(e.placed, func(p placing) bool { return p.site.dev == s.dev }) || !w.stays(&before[i]) {
			continue
		}
		keep(s)
	}
}

func (w *walker) grant(s *siteState, p netip.Prefix) {
	if s.synced() {
		s.own(p)
		return
	}
	have := w.sources[s.cfg.Device]
	if n := len(have); n > 0 && have[n-1].Bits() <= p.Bits() && have[n-1].Contains(p.Addr()) {
		return // inside the one before: the walk meets covering prefixes first
	}
	w.sources[s.cfg.Device] = append(have, p)
}

var firstLinkLocal = netip.MustParseAddr("fe80::")

func isLinkLocal(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// grantLinkLocal gives every site its link-local inner address. These are no
// prefixes of the RIB: one address may belong to a site on each interface, and
// nothing is ever routed to it. It is called where they stand in the order of
// prefixes.
func (w *walker) grantLinkLocal() {
	for _, s := range w.c.sites {
		if a := s.cfg.Address6; isLinkLocal(a) && s.dev != nil {
			w.grant(s, netip.PrefixFrom(a.WithZone(""), a.BitLen()))
		}
	}
}

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
