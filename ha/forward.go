package ha

import (
	"fmt"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// CountSites says which sites must live for this host to count as forwarding.
type CountSites string

// Which sites count. Those that dial in come because a load balancer believes
// this host: if their absence made it unhealthy, a fresh host would never get one.
const (
	CountDialled CountSites = "dialled" // those that this host dials: with an endpoint
	CountAll     CountSites = "all"
	CountNone    CountSites = "none"
)

// Forwarding is whether others should send traffic to this host, for the health
// checks of load balancers and DNS.
type Forwarding struct {
	OK  bool
	Why []NotForwarding // why not, most telling first; empty: OK
}

// NotForwarding is one reason against sending traffic here.
type NotForwarding struct {
	Reason Reason
	Detail string // for logs; it may name sites and neighbors
}

// Forwarding judges this host as a whole. It looks at what was observed and
// applied, not at what is wanted, and takes no longer than finding one good
// example of each kind.
func (c *Core) Forwarding() Forwarding {
	var out Forwarding
	add := func(r Reason, format string, args ...any) {
		out.Why = append(out.Why, NotForwarding{r, fmt.Sprintf(format, args...)})
	}
	if c.drain != DrainNone {
		add(ReasonDraining, "leaving on purpose")
	}
	if !c.host.since.IsZero() {
		add(ReasonUnderlay, "%s", c.host.why)
	}
	c.devicesForward(add)
	switch {
	case c.routes.plan == nil && c.routes.Err == "":
		add(ReasonRoute, "no routes were installed yet")
	case c.routes.Err != "":
		add(ReasonRouteFailed, "%s", c.routes.Err)
	}
	c.uplinksForward(add)
	c.sitesForward(add)
	out.OK = len(out.Why) == 0
	return out
}

// Leave is how far this host has come in leaving, for those who send clients to it.
func (c *Core) Leave() tgwconnect.Leave {
	switch {
	case c.drain == DrainNone:
		return tgwconnect.Staying
	case c.drain < DrainLeft:
		return tgwconnect.Leaving
	}
	return tgwconnect.Left
}

// devicesForward: a shared interface serves everybody behind a load balancer, so
// each of them must work. Of interfaces with one site each, one is enough.
func (c *Core) devicesForward(add func(Reason, string, ...any)) {
	worst, open, ready := NotForwarding{}, 0, 0
	for i := range c.cfg.Devices {
		d := c.devices[c.cfg.Devices[i].Name]
		if d.link() {
			continue
		}
		why := d.broken()
		if d.cfg.Mode != wg.ModeOpen {
			if why.Reason != ReasonNone {
				add(why.Reason, "%s", why.Detail)
			}
			continue
		}
		open++
		if why.Reason == ReasonNone {
			ready++
		} else {
			worst = why
		}
	}
	if open > 0 && ready == 0 {
		add(worst.Reason, "%s", worst.Detail)
	}
}

// link reports whether the interface leads to another gateway.
func (d *deviceState) link() bool { return len(d.sites) == 1 && d.sites[0].cfg.Link }

// broken says why a WireGuard interface can not carry traffic.
func (d *deviceState) broken() NotForwarding {
	switch name := d.cfg.Name; {
	case d.err != "":
		return NotForwarding{ReasonNoDevice, name + ": " + d.err}
	case d.applied.Err != "":
		return NotForwarding{ReasonNoPeer, name + ": " + d.applied.Err}
	case d.plan == nil || d.applied.Index == 0 || !d.once:
		return NotForwarding{ReasonNoPeer, name + " is not set up yet"}
	}
	return NotForwarding{}
}

// uplinksForward: toward the core one session must stand. Without a Transit
// Gateway or router in the configuration there is none to wait for: then routes
// there are set by API or by hand.
func (c *Core) uplinksForward(add func(Reason, string, ...any)) {
	total := 0
	for i := range c.cfg.Neighbors {
		n := &c.cfg.Neighbors[i]
		if n.Kind == bgp.KindSite || n.Kind == bgp.KindFleet || n.Range.IsValid() {
			continue
		}
		total++
		if s := c.neighbors[n.Name]; s != nil && s.seen.State == bgp.StateEstablished {
			return
		}
	}
	if total == 0 && len(c.cfg.Discover)+len(c.cfg.Servers) > 0 {
		add(ReasonBGP, "no Connect peer or Route Server peer of this host has been discovered")
	}
	if total > 0 {
		add(ReasonBGP, "none of %d sessions toward the core is established", total)
	}
}

func (c *Core) sitesForward(add func(Reason, string, ...any)) {
	total, stale := 0, 0
	for _, s := range c.sites {
		if c.cfg.Health.Sites == CountNone || s.disabled || s.cfg.Link {
			continue
		}
		if c.cfg.Health.Sites != CountAll && (s.cfg.Roams || s.cfg.Peer.Endpoint.Host == "") {
			continue
		}
		switch s.judged.Verdict {
		case Up, Suspect:
			return
		case Idle:
			if s.cfg.IdlePolicy == IdleAnnounce {
				return
			}
		}
		total++
		if s.judged.Reason == ReasonStale {
			stale++
		}
	}
	switch {
	case total > 0 && stale == total:
		add(ReasonStale, "none of %d sites can be measured", total)
	case total > 0:
		add(ReasonSiteDown, "none of %d sites is up", total)
	}
}
