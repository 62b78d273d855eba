package hatest

import (
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/ha"
	"github.com/wgbgp/wgbgp/wg"
)

// inbox: what waits is bounded by the number of things that facts are about.
func (c *checker) inbox(p *process) {
	things, probes, paths := p.inbox.Waiting()
	cfg := p.h.cfg
	// An edge's answer for each interface, and of routes and speaker; one order to
	// drain; two orders for each site.
	most := 2*len(cfg.Devices) + len(cfg.Connect) + 2 + 1 + len(cfg.Neighbors) + len(cfg.BFD) + 2*len(cfg.Sites)
	if things > most || probes > ha.MaxQueued || paths > len(c.w.prefixes)*len(cfg.Neighbors) {
		c.fail(BoundedInbox, "%s: %d facts, %d probe results and %d changes of paths wait, for %d things", neighborName(p.h), things, probes, paths, most)
	}
}

// young reports whether a process began so short ago that all it knows is what
// others have not yet told it.
func (p *process) young() bool { return p.h.w.now-p.born < endOfRIBWait+margin }

// routeLeaves: the kernel is about to lose a route.
func (c *checker) routeLeaves(h *host, p int32) {
	s := c.w.siteOf[p]
	if h.proc == nil || h.proc.born == 0 || !h.proc.young() || s < 0 || h.kernel.routes[p].known {
		return
	}
	if c.w.fromHost(h, p, 0) == arrives && !c.leaving(h, p) {
		c.fail(RestartKeeps, "%s, started at %v, removes its route to %s, which works", neighborName(h), h.proc.born, c.w.prefixes[p])
	}
}

// leaving reports whether the host that a route leads to drains, so that its
// routes go although they work, or an operator took the site out.
func (c *checker) leaving(h *host, p int32) bool {
	for _, hop := range h.kernel.routes[p].hops {
		if !hop.Gateway.IsValid() {
			if l := h.owner(p); l != nil && c.w.now < l.offTill+margin {
				return true
			}
			continue
		}
		o := c.w.hosts[int(hop.Gateway.As4()[3])-1]
		if _, ok := o.alive(); !ok || c.w.now < o.trouble+margin {
			return true
		}
		if l := o.owner(p); l != nil && (c.w.now < l.offTill+margin || l.verdict != string(ha.Up)) {
			return true
		}
	}
	return false
}

// prefixLeaves: a peer is about to lose an allowed IP.
func (c *checker) prefixLeaves(h *host, l *link, p netip.Prefix) {
	at, ok := c.w.index[p]
	if !ok || l == nil || h.proc == nil || h.proc.born == 0 || !h.proc.young() || !l.works || !c.w.serves(l.site, at) {
		return
	}
	q := h.kernel.table.Peer(l.site.key())
	if i := slices.IndexFunc(q.AllowedIPs, func(ip wg.HeldIP) bool { return ip.Prefix == p }); i >= 0 && q.AllowedIPs[i].By == wg.Ours {
		return
	}
	if s := &h.kernel.routes[at]; s.in && slices.ContainsFunc(s.hops, func(n bgp.NextHop) bool { return n.Device == "wg0" }) {
		c.fail(RestartKeeps, "%s, started at %v, takes %s from %s, whose tunnel works", neighborName(h), h.proc.born, p, l.site.name)
	}
}

// sameDecision: a core that was given the same facts in another order has come to
// the same plan.
func (c *checker) sameDecision(p *process, a, b *ha.Plan) {
	if a == p.plan {
		return
	}
	if what := differ(a, b); what != "" {
		c.fail(Commutes, "%s, plan %d: the same facts in another order give other %s", neighborName(p.h), a.Gen, what)
	}
}

func differ(a, b *ha.Plan) string {
	peer := func(x, y wg.Peer) bool {
		return x.Key == y.Key && x.Endpoint == y.Endpoint && x.Dead == y.Dead && slices.Equal(x.AllowedIPs, y.AllowedIPs)
	}
	switch {
	case a.Gen != b.Gen:
		return "generations"
	case !slices.EqualFunc(a.Devices, b.Devices, func(x, y wg.Device) bool { return slices.EqualFunc(x.Peers, y.Peers, peer) }):
		return "peers"
	case !slices.EqualFunc(a.Announcements, b.Announcements, func(x, y bgp.Announcement) bool { return x.Equal(&y) }):
		return "announcements"
	case a.FIB.Complete != b.FIB.Complete || !slices.EqualFunc(a.FIB.Routes, b.FIB.Routes, func(x, y bgp.Route) bool {
		return x.Prefix == y.Prefix && x.Type == y.Type && slices.Equal(x.NextHops, y.NextHops)
	}):
		return "routes"
	case !slices.Equal(a.Withheld, b.Withheld):
		return "reasons"
	case !slices.Equal(a.Probes, b.Probes) || !slices.Equal(a.Claims, b.Claims):
		return "probes or claims"
	case !slices.EqualFunc(a.Neighbors, b.Neighbors, func(x, y bgp.Neighbor) bool { return x.Compare(&y) == 0 }):
		return "neighbors"
	}
	return ""
}
