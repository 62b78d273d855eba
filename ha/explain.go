package ha

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// Link is one link of the chain that carries a prefix: rib, route, allowed-ip
// (or tunnel), session, health, announcement.
type Link struct {
	Name   string
	OK     bool
	Text   string
	Reason Reason
}

// Explanation is the chain for one destination. Broken is the index of the
// first broken link, -1 if the chain holds.
type Explanation struct {
	Prefix netip.Prefix // the RIB entry that decides; invalid: none
	Links  []Link
	Broken int
}

// Explain walks from what is known about a destination to the probe at its
// end. For a whole prefix it asks about the entry that holds it.
func (c *Core) Explain(now time.Time, q netip.Prefix) Explanation {
	x := Explanation{Broken: -1}
	e := c.lookup(q.Addr(), q.Bits())
	if e == nil {
		x.add(Link{Name: "rib", Text: fmt.Sprintf("no site and no neighbor offers %s", short(q))})
		return x
	}
	x.Prefix = e.prefix
	cands := c.candidates(nil, e, c.covers(e.prefix))
	best := &cands[0]
	x.add(ribLink(e, cands))
	x.add(c.routeLink(e, best))
	if best.site != nil {
		x.add(allowedLink(best.site, e.prefix))
		x.add(c.sessionLink(now, best.site))
		for _, k := range best.site.health.checks(now) {
			x.add(Link{Name: "probe", OK: k.OK, Text: checkText(k), Reason: k.Reason})
		}
		x.add(healthLink(now, best, e.prefix))
	} else {
		x.add(c.neighborLink(best))
	}
	x.add(c.announceLink(e))
	return x
}

func (x *Explanation) add(l Link) {
	x.Links = append(x.Links, l)
	if !l.OK && x.Broken < 0 {
		x.Broken = len(x.Links) - 1
	}
}

func short(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func ribLink(e *entry, cands []candidate) Link {
	k := &cands[0]
	l := Link{Name: "rib", OK: !k.blocked, Reason: k.reason}
	switch {
	case k.host:
		l.Text = fmt.Sprintf("%s is the inner address of site %s", e.prefix, k.site.cfg.Name)
	case k.path == nil:
		l.Text = fmt.Sprintf("%s is configured for site %s", e.prefix, k.site.cfg.Name)
	default:
		l.Text = fmt.Sprintf("%s learned from %s, AS_PATH %s", e.prefix, k.path.Neighbor, asPath(k.path.Attrs))
	}
	if k.blocked {
		l.Text += fmt.Sprintf(", not accepted: %s %s", k.reason, k.detail)
	}
	if len(cands) > 1 {
		_, step := prefer(k, &cands[1])
		l.Text += fmt.Sprintf("; best of %d, decided by %s", len(cands), step)
	}
	return l
}

func asPath(a *bgp.Attrs) string {
	if len(a.ASPath) == 0 {
		return "(empty)"
	}
	var b strings.Builder
	for i, n := range a.ASPath {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d", n)
	}
	return b.String()
}

func (c *Core) routeLink(e *entry, best *candidate) Link {
	l := Link{Name: "route", Reason: ReasonRoute, Text: "not in the kernel yet"}
	if c.routes.plan == nil {
		return l
	}
	w := walker{c: c, oldRoutes: c.routes.plan.FIB.Routes, reports: c.routes.Reports}
	r, report := w.oldRoute(e.prefix)
	switch {
	case r == nil && best.host && best.site.dev != nil && connected(best.site.dev.cfg, e.prefix.Addr()):
		return Link{Name: "route", OK: true, Text: "connected on " + best.site.cfg.Device}
	case r == nil:
		return l
	case report != nil:
		l.Reason = reportReason(report)
		l.Text = fmt.Sprintf("%s: %s", l.Reason, report.Detail)
		return l
	}
	var hops []string
	for _, h := range r.NextHops {
		t := "dev " + h.Device
		if h.Gateway.IsValid() {
			t = "via " + h.Gateway.String() + " " + t
		}
		hops = append(hops, t)
	}
	l.OK, l.Reason = true, ReasonNone
	l.Text = fmt.Sprintf("%s %s table %d metric %d", e.prefix, strings.Join(hops, ", "), c.routes.plan.FIB.Table, r.Metric)
	if best.usable() && !throughDevice(r, best.device()) {
		l.OK, l.Reason = false, ReasonRoute
		l.Text += fmt.Sprintf("; should leave through %s", best.device())
	}
	return l
}

func allowedLink(s *siteState, p netip.Prefix) Link {
	l := Link{Name: "allowed-ip", OK: s.inPlace(p)}
	switch {
	case s.applied == nil:
		l.Reason = ReasonNoPeer
		l.Text = fmt.Sprintf("the peer of site %s is not on %s: %s", s.cfg.Name, s.cfg.Device, deviceDetail(s.dev))
	case l.OK && s.synced():
		l.Text = fmt.Sprintf("%s belongs to peer %s (%s) on %s", p, s.cfg.Name, s.cfg.Peer.Key, s.cfg.Device)
	case l.OK:
		l.Text = fmt.Sprintf("%s is open: its peer %s carries everything", s.cfg.Device, s.cfg.Name)
	default:
		l.Reason = ReasonAllowedIP
		l.Text = fmt.Sprintf("%s is not an allowed IP of peer %s yet", p, s.cfg.Name)
		if why := s.dev.applied.Failed[p]; why != "" {
			l.Text += ": " + why
		}
	}
	return l
}

func (c *Core) sessionLink(now time.Time, s *siteState) Link {
	v := c.siteView(now, s)
	l := Link{Name: "session"}
	switch {
	case v.Peer == nil && s.dev != nil && s.dev.err != "":
		l.Reason, l.Text = ReasonNoDevice, s.dev.err
	case v.Peer == nil:
		l.Reason, l.Text = ReasonNoPeer, "the peer has not been seen on the interface"
	case v.Peer.Handshake == 0:
		l.Reason, l.Text = ReasonHandshake, "no handshake since the peer was created"
	default:
		l.OK = true
		l.Text = fmt.Sprintf("WireGuard endpoint %s, received %d B, sent %d B", v.Peer.Endpoint, v.Peer.Rx, v.Peer.Tx)
	}
	return l
}

func checkText(k CheckState) string {
	t := fmt.Sprintf("%s %s", k.Name, k.Kind)
	if k.Target != "" {
		t += " to " + k.Target
	}
	if k.OK {
		if k.RTT > 0 {
			return fmt.Sprintf("%s passes, round trip %s", t, k.RTT.Round(10*time.Microsecond))
		}
		return t + " passes"
	}
	return fmt.Sprintf("%s fails: %s", t, strings.TrimSpace(string(k.Reason)+" "+k.Detail+" "+k.Note))
}

func healthLink(now time.Time, k *candidate, p netip.Prefix) Link {
	s := k.site
	reason, detail := s.usable(now, p)
	return Link{
		Name: "health", OK: reason == ReasonNone, Reason: reason,
		Text: strings.TrimSpace(fmt.Sprintf("site %s is %s %s %s", s.cfg.Name, s.judged.Verdict, reason, detail)),
	}
}

func (c *Core) neighborLink(k *candidate) Link {
	n := k.path.from
	l := Link{
		Name: "session", OK: n.seen.State == bgp.StateEstablished && k.usable(), Reason: k.reason,
		Text: fmt.Sprintf("neighbor %s (%s) is %s", n.cfg.Name, n.cfg.Address, n.seen.State),
	}
	if n.cfg.Kind == bgp.KindTGW {
		t := c.tunnels[n.cfg.Device]
		state := "down"
		if t.Up {
			state = "up"
		}
		l.Text += fmt.Sprintf(", tunnel %s is %s", n.cfg.Device, state)
		if t.Err != "" {
			l.Text += ": " + t.Err
		}
	}
	return l
}

func (c *Core) announceLink(e *entry) Link {
	if a := c.announcement(e.prefix); a != nil {
		var to []string
		for _, x := range a.To {
			to = append(to, fmt.Sprintf("%s (MED %d)", x.Group, x.MED))
		}
		return Link{Name: "announcement", OK: true, Text: "announced to " + strings.Join(to, ", ")}
	}
	for _, h := range c.withheld() {
		if h.Prefix == e.prefix {
			return Link{Name: "announcement", Reason: h.Reason, Text: strings.TrimSpace(fmt.Sprintf("withheld: %s %s", h.Reason, h.Detail))}
		}
	}
	return Link{Name: "announcement", OK: true, Text: "nobody is to be told"}
}
