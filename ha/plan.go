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
	if !c.dirty && c.plan != nil {
		return c.plan
	}
	c.dirty, c.urgent = false, false
	c.refreshEndpoints()
	c.settle(now)
	w := &c.walk
	w.start(c, now)
	for _, e := range c.rib.sorted() {
		w.place(e)
	}
	c.rib.forget(w.anyDead)
	c.plan = c.assemble(w)
	return c.plan
}

// settle decides whether the facts are complete enough to sweep: every
// neighbor has sent its table, or has been waited for long enough (RFC 4724
// section 4.1 has the same deferral).
func (c *Core) settle(now time.Time) {
	if c.complete {
		return
	}
	deadline := c.started.Add(c.cfg.Gateway.EndOfRIBWait)
	if !now.Before(deadline) {
		c.complete = true
		return
	}
	for _, n := range c.neighbors {
		s := n.seen
		if s.State != bgp.StateEstablished || (n.cfg.IPv4 && !s.EndOfRIB4) || (n.cfg.IPv6 && !s.EndOfRIB6) {
			c.wake(deadline)
			return
		}
	}
	c.complete = true
}

func (c *Core) refreshEndpoints() {
	if !c.endpointsOld {
		return
	}
	c.endpointsOld = false
	eps := c.endpoints[:0]
	for _, d := range c.devices {
		for i := range d.seen.Peers {
			if a := d.seen.Peers[i].Endpoint.Addr(); a.IsValid() {
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
	c.endpoints = slices.Compact(eps)
}

// walker is the state of one pass over the RIB. It walks, in step with the
// entries, what the edges have confirmed, so that nothing is looked up.
type walker struct {
	c         *Core
	now       time.Time
	routes    builder[bgp.Route]
	ann       builder[bgp.Announcement]
	withheld  builder[Withheld]
	held      []Withheld // of the present entry
	sources   map[string][]netip.Prefix
	cands     []candidate
	hops      []bgp.NextHop
	ecmp      [][]bgp.NextHop // distinct multi-hop sets of this pass
	anyDead   bool
	lingering bool

	oldRoutes []bgp.Route
	oldAt     int // those before it are of earlier prefixes
	reports   []bgp.RouteReport
	oldAnn    []bgp.Announcement
	endpoints []netip.Addr
}

func (w *walker) start(c *Core, now time.Time) {
	w.c, w.now = c, now
	var last Plan
	if c.plan != nil {
		last = *c.plan
	}
	w.routes = builder[bgp.Route]{old: last.FIB.Routes, equal: equalRoute, order: orderRoute}
	w.ann = builder[bgp.Announcement]{old: last.Announcements, equal: equalAnnouncement, order: orderAnnouncement}
	w.withheld = builder[Withheld]{old: last.Withheld, equal: equalWithheld, order: orderWithheld}
	w.ecmp = w.ecmp[:0]
	w.sources = map[string][]netip.Prefix{}
	w.anyDead, w.lingering = false, false
	w.oldRoutes, w.oldAt, w.reports, w.oldAnn, w.endpoints = nil, 0, nil, nil, c.endpoints
	if c.routes.plan != nil && c.routes.Err == "" {
		w.oldRoutes, w.reports = c.routes.plan.FIB.Routes, c.routes.Reports
	}
	if c.ann.plan != nil {
		w.oldAnn = c.ann.plan.Announcements
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
func (s *siteState) ready(p netip.Prefix) bool {
	if s.applied == nil {
		return false
	}
	if !s.synced() {
		return true
	}
	a := s.applied.AllowedIPs
	for s.cursor < len(a) && a[s.cursor] != p && bgp.ComparePrefix(a[s.cursor], p) < 0 {
		s.cursor++
	}
	if s.cursor >= len(a) || a[s.cursor] != p {
		return false
	}
	if len(s.dev.applied.Failed) == 0 {
		return true
	}
	_, failed := s.dev.applied.Failed[p]
	return !failed
}

// place decides one prefix: which peers own it, where it is routed, who is
// told.
func (w *walker) place(e *entry) {
	if old, report := w.oldRoute(e.prefix); !w.ordinary(e, old, report) {
		w.think(e, old, report)
	}
}

func (w *walker) think(e *entry, old *bgp.Route, report *bgp.RouteReport) {
	if e.empty() {
		w.leave(e, old, w.announced(e.prefix))
		return
	}
	e.gone = time.Time{}
	covers := len(e.paths) > 0 && w.coversEndpoint(e.prefix)
	w.cands = w.c.candidates(w.cands, e, covers)
	w.own(e, old)
	w.route(e, old)
	w.announce(e, old, report)
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
func (w *walker) leave(e *entry, old *bgp.Route, announced bool) {
	if e.gone.IsZero() {
		e.gone = w.now
	}
	until := e.gone.Add(w.c.cfg.Gateway.Linger)
	lingering := w.now.Before(until)
	if lingering && old != nil {
		w.lingering = true
		w.c.wake(until)
	}
	if old != nil {
		if announced || lingering {
			w.routes.add(*old)
		}
		for _, s := range e.placed {
			w.grant(s, e.prefix)
		}
		return
	}
	e.placed, e.dead, w.anyDead = nil, true, true
}

// own gives the prefix to one peer of each shared interface, and to the source
// check of each open one.
func (w *walker) own(e *entry, old *bgp.Route) {
	if len(w.cands) == 1 && len(e.placed) == 1 && w.cands[0].site == e.placed[0] && !w.cands[0].blocked {
		w.grant(e.placed[0], e.prefix) // the ordinary case, without allocation
		return
	}
	placed := 0
	keep := func(s *siteState) {
		w.grant(s, e.prefix)
		if placed < len(e.placed) {
			e.placed[placed] = s
		} else {
			e.placed = append(e.placed, s)
		}
		placed++
	}
	before := slices.Clone(e.placed)
	for i := range w.cands {
		k := &w.cands[i]
		if k.site == nil || k.blocked || k.site.dev == nil {
			continue
		}
		if slices.ContainsFunc(e.placed[:placed], func(s *siteState) bool {
			return s == k.site || (s.synced() && s.dev == k.site.dev)
		}) {
			continue
		}
		keep(k.site)
	}
	// A prefix that moves to another interface stays with its peer until the
	// route has moved.
	for _, s := range before {
		if old == nil || s.dev == nil || !throughDevice(old, s.cfg.Device) ||
			slices.ContainsFunc(e.placed[:placed], func(o *siteState) bool { return o.dev == s.dev }) {
			continue
		}
		keep(s)
	}
	e.placed = e.placed[:placed]
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

// route decides the kernel's entries: the best claims that are ready, or what
// is there already until they are, and under every prefix of a site a
// blackhole, so that nothing in flight falls through to another route.
func (w *walker) route(e *entry, old *bgp.Route) {
	f := &w.c.cfg.FIB
	best := &w.cands[0]
	if best.blocked {
		if old != nil && w.announced(e.prefix) {
			w.routes.add(*old)
		}
		return
	}
	if best.host && best.site.dev != nil && len(e.sites) == 0 && len(e.paths) == 0 && connected(best.site.dev.cfg, e.prefix.Addr()) {
		return
	}
	w.hops = w.hops[:0]
	for i := range w.cands {
		k := &w.cands[i]
		if i > 0 {
			if k.blocked || k.usable() != best.usable() || len(w.hops) >= max(f.MaxECMP, 1) {
				break
			}
			if d, _ := cost(best, k); d != 0 {
				break
			}
		}
		if !k.ready(w.c, e.prefix) {
			continue
		}
		if h := k.hop(); !slices.Contains(w.hops, h) {
			w.hops = append(w.hops, h)
		}
	}
	switch {
	case len(w.hops) > 0:
		r := bgp.Route{Prefix: e.prefix, Metric: f.Metric, NextHops: w.share(best), Takeover: f.Takeover}
		r.Source = f.Source4
		if e.prefix.Addr().Is6() {
			r.Source = f.Source6
		}
		w.routes.add(r)
	case old != nil:
		w.routes.add(*old)
	}
	w.standby(e)
	if best.site != nil && !best.host {
		w.routes.add(bgp.Route{Prefix: e.prefix, Type: bgp.BlackholeRoute, Metric: f.SinkMetric})
	}
}

// ready reports whether traffic routed to the claim would go on.
func (k *candidate) ready(c *Core, p netip.Prefix) bool {
	if k.site != nil {
		return k.site.ready(p)
	}
	return k.reason != ReasonNoTunnel
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
		if best.path != nil && best.path.from.hop[0] == w.hops[0] {
			return best.path.from.hop
		}
	}
	slices.SortFunc(w.hops, compareHops)
	for _, h := range w.ecmp {
		if slices.Equal(h, w.hops) {
			return h
		}
	}
	h := slices.Clone(w.hops)
	w.ecmp = append(w.ecmp, h)
	return h
}

func compareHops(a, b bgp.NextHop) int {
	if d := cmp.Compare(a.Device, b.Device); d != 0 {
		return d
	}
	return a.Gateway.Compare(b.Gateway)
}

// announce tells the audience about the prefix if it can be forwarded now, and
// notes why not otherwise.
func (w *walker) announce(e *entry, old *bgp.Route, report *bgp.RouteReport) {
	for i := range w.cands {
		if k := &w.cands[i]; k.blocked {
			w.hold(e, k, k.reason, k.detail)
		}
	}
	k := &w.cands[0]
	if k.blocked || k.host {
		return
	}
	if !k.usable() {
		w.hold(e, k, k.reason, k.detail)
		return
	}
	if reason, detail := w.forwarding(e, old, report); reason != ReasonNone {
		w.hold(e, k, reason, detail)
		return
	}
	if w.c.drain == DrainWithdraw {
		w.hold(e, k, ReasonDraining, "")
		return
	}
	if name := notForOthers(k.attrs()); name != "" {
		w.hold(e, k, ReasonCommunity, name)
		return
	}
	to := w.c.exports.get(exportKey{k.kind(), w.c.rank(k)})
	if len(to) == 0 {
		if k.site != nil {
			w.hold(e, k, ReasonNoAudience, "")
		}
		return
	}
	w.ann.add(bgp.Announcement{Prefix: e.prefix, Attrs: k.attrs(), To: to, Except: k.except()})
}

// forwarding says why traffic for the entry would not reach a usable claim.
func (w *walker) forwarding(e *entry, old *bgp.Route, report *bgp.RouteReport) (Reason, string) {
	anyReady := false
	for i := range w.cands {
		k := &w.cands[i]
		if k.blocked || !k.usable() {
			break
		}
		if !k.ready(w.c, e.prefix) {
			continue
		}
		anyReady = true
		if old != nil && throughDevice(old, k.device()) {
			if report == nil {
				return ReasonNone, ""
			}
			return reportReason(report), report.Detail
		}
	}
	switch {
	case !anyReady && w.cands[0].site != nil && w.cands[0].site.applied == nil:
		if d := w.cands[0].site.dev; d != nil && d.applied.Err != "" && d.applied.Index == 0 {
			return ReasonNoDevice, d.applied.Err
		}
		return ReasonNoPeer, deviceDetail(w.cands[0].site.dev)
	case !anyReady:
		return ReasonAllowedIP, ""
	case w.c.routes.Err != "":
		return ReasonRouteFailed, w.c.routes.Err
	}
	return ReasonRoute, ""
}

func deviceDetail(d *deviceState) string {
	switch {
	case d == nil:
		return ""
	case d.applied.Err != "":
		return d.applied.Err
	}
	return d.err
}

func reportReason(r *bgp.RouteReport) Reason {
	switch r.Status {
	case bgp.RouteShadowed:
		return ReasonShadowed
	case bgp.RouteNoDevice:
		return ReasonNoDevice
	default:
		return ReasonRouteFailed
	}
}

// notForOthers names the well-known community that forbids passing a path on
// (RFC 1997, RFC 7999 section 3.2).
func notForOthers(a *bgp.Attrs) string {
	for _, c := range a.Communities {
		switch c {
		case bgp.NoExport:
			return "NO_EXPORT"
		case bgp.NoAdvertise:
			return "NO_ADVERTISE"
		case bgp.Blackhole:
			return "BLACKHOLE"
		}
	}
	return ""
}

func (w *walker) hold(e *entry, k *candidate, r Reason, detail string) {
	h := Withheld{Prefix: e.prefix, From: k.from(), Reason: r, Detail: detail}
	if k.site != nil {
		h.Site = k.site.cfg.Name
	}
	w.held = append(w.held, h)
}

func throughDevice(r *bgp.Route, dev string) bool {
	for i := range r.NextHops {
		if r.NextHops[i].Device == dev {
			return true
		}
	}
	return false
}

func connected(d *wg.Device, a netip.Addr) bool {
	for _, p := range d.Addresses {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
