package hatest

import (
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// reach is what becomes of a packet to a prefix.
type reach uint8

const (
	arrives reach = iota
	dropped
	loops
)

// fromVPC follows packets from the VPC of a region: by the Transit Gateway to
// each host that it spreads them over, and on by their kernels. The worst counts.
func (w *world) fromVPC(r *region, p int32) reach {
	var buf [32]*host
	hosts := r.best(p, buf[:0])
	if len(hosts) == 0 {
		return dropped
	}
	worst := arrives
	for _, h := range hosts {
		if !h.up || h.cutTGW > 0 {
			return dropped
		}
		worst = max(worst, w.fromHost(h, p, 0))
	}
	return worst
}

// fromHost follows a packet that a host has; been are the hosts that had it.
func (w *world) fromHost(h *host, p int32, been uint32) reach {
	if been&(1<<h.id) != 0 {
		return loops
	}
	e := &h.kernel.routes[p]
	if !h.up || !e.in {
		return dropped
	}
	worst := arrives
	for _, hop := range e.hops {
		worst = max(worst, w.alongHop(h, hop, p, been|1<<h.id))
	}
	return worst
}

func (w *world) alongHop(h *host, hop bgp.NextHop, p int32, been uint32) reach {
	if hop.Device == "wg0" {
		if l := h.owner(p); l != nil && l.works && w.serves(l.site, p) {
			return arrives
		}
		return dropped
	}
	if !hop.Gateway.IsValid() {
		return dropped // into the tunnel to the Transit Gateway
	}
	o := w.hosts[int(hop.Gateway.As4()[3])-1]
	if o == h || !h.wires[o.id].works {
		return dropped
	}
	return w.fromHost(o, p, been)
}

// owner is the link whose peer has the prefix among its allowed IPs.
func (h *host) owner(p int32) *link {
	k, ok := h.kernel.table.Holder(h.w.prefixes[p])
	if !ok {
		return nil
	}
	return h.linkOf[siteOfKey(k)]
}

// well is since when the host does what it should: the process runs, nothing
// holds it up, it does not leave. ok false: it does not.
func (h *host) well() (since time.Duration, ok bool) {
	if h.proc == nil || h.drains > 0 || h.cutTGW > 0 {
		return 0, false
	}
	return max(h.proc.born, h.upFrom, h.trouble), true
}

// direct is since when the host could bring packets to the site by its own
// tunnel.
func (h *host) direct(s *site) (since time.Duration, ok bool) {
	l := h.linkOf[s.id]
	since, ok = h.alive()
	if !ok || l == nil || !l.works || l.verdict == "suppressed" || h.w.now < l.offTill || s.kind == kindBGP && !l.bgpUp {
		return 0, false
	}
	return max(since, l.since, l.offTill, l.freed), true
}

// alive is well, without the way to the Transit Gateway.
func (h *host) alive() (since time.Duration, ok bool) {
	if h.proc == nil || h.drains > 0 {
		return 0, false
	}
	return max(h.proc.born, h.upFrom, h.trouble), true
}

// could is since when packets from the region could reach the site without a
// pause: by a host of the region with a tunnel, or by one that knows another such
// host. ok false: they can not.
func (w *world) could(r *region, p int32) (since time.Duration, ok bool) {
	since, ok = w.couldBy(r, w.sites[w.siteOf[p]])
	if s := w.twinOf[p]; s != nil {
		if t, can := w.couldBy(r, s); can && (!ok || t < since) {
			return t, true
		}
	}
	return since, ok
}

func (w *world) couldBy(r *region, s *site) (since time.Duration, ok bool) {
	for _, h := range w.hosts {
		if h.region != r || !slices.ContainsFunc(h.tgw[:], func(c *session) bool { return c.up[0] && c.up[1] }) {
			continue
		}
		own, well := h.well()
		if !well {
			continue
		}
		up := w.now
		for _, c := range h.tgw {
			if c.up[0] && c.up[1] {
				up = min(up, c.since)
			}
		}
		own = max(own, up, h.tgwFrom)
		consider := func(t time.Duration, can bool) {
			if t = max(t, own); can && (!ok || t < since) {
				since, ok = t, true
			}
		}
		consider(h.direct(s))
		for _, l := range s.links {
			if x := h.wires[l.host.id]; x != nil && x.works && x.bgp.up[0] && x.bgp.up[1] {
				t, can := l.host.direct(s)
				consider(max(t, x.since, x.bgp.since), can)
			}
		}
	}
	return since, ok
}
