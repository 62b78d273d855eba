package ha

import (
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
)

// Lost lists the next hops that lead nowhere now, sorted: devices whose sites are
// all out of use, tunnels and neighbors that are gone. news says that one has
// become so since it was last asked. It costs nothing for each prefix, so the
// routes edge can be told at once, long before the plan that moves every route
// (prefix-independent convergence). It never goes further than that plan: without
// another next hop a route stays as it is.
func (c *Core) Lost() (lost []bgp.NextHop, news bool) {
	if !c.lostOld {
		return c.lost, false
	}
	c.lostOld = false
	found := append(c.lostDevices(), c.lostGateways()...)
	slices.SortFunc(found, compareHops)
	found = slices.Compact(found)
	if slices.Equal(found, c.lost) {
		return c.lost, false
	}
	was := c.lost
	c.lost, c.dirty = found, true
	return c.lost, slices.ContainsFunc(found, func(h bgp.NextHop) bool {
		_, known := slices.BinarySearchFunc(was, h, compareHops)
		return !known
	})
}

func (c *Core) lostDevices() (lost []bgp.NextHop) {
	for _, d := range c.devices {
		if len(d.sites) > 0 && !slices.ContainsFunc(d.sites, (*siteState).alive) {
			lost = append(lost, bgp.NextHop{Device: d.cfg.Name})
		}
	}
	tunnels := map[string]bool{} // whether a neighbor behind it lives
	for _, n := range c.neighbors {
		if n.cfg.Kind == bgp.KindTGW {
			t := c.tunnels[n.cfg.Device]
			tunnels[n.cfg.Device] = tunnels[n.cfg.Device] || t.Up && !c.going(n)
		}
	}
	for device, alive := range tunnels {
		if !alive {
			lost = append(lost, bgp.NextHop{Device: device})
		}
	}
	return lost
}

// alive reports whether some traffic may go to the site.
func (s *siteState) alive() bool {
	if r, _ := s.usable(time.Time{}, netip.Prefix{}); r != ReasonNone {
		return false
	}
	return len(s.cfg.Prefixes) > 0 || s.neighbor == nil || !s.neighbor.losesSession()
}

// lostGateways are those that dead neighbors named and no living one did.
func (c *Core) lostGateways() (lost []bgp.NextHop) {
	var living []bgp.NextHop
	for _, n := range c.neighbors {
		if n.cfg.Kind == bgp.KindTGW || n.site != nil {
			continue // their paths lead into a device
		}
		to := &living
		if c.going(n) {
			to = &lost
		}
		for _, g := range n.gateways {
			*to = append(*to, bgp.NextHop{Gateway: g, Device: n.cfg.Device})
		}
	}
	return slices.DeleteFunc(lost, func(h bgp.NextHop) bool { return slices.Contains(living, h) })
}

// going reports whether the paths of a neighbor can not be used, or are about to
// be taken back.
func (c *Core) going(n *neighborState) bool {
	r, _ := c.neighborDead(n)
	return r != ReasonNone || n.losesSession()
}

// losesSession: the end of the session was announced and is not complete.
func (n *neighborState) losesSession() bool {
	return n.seen.State == bgp.StateEstablished && !n.losing.IsZero() && n.losing.Equal(n.seen.Since)
}

// maxGateways bounds what is remembered of a neighbor that names many gateways, as
// a route server does; the routes by those beyond wait for the plan.
const maxGateways = 256

// note remembers the gateway of a path.
func (n *neighborState) note(gateway netip.Addr) {
	if k := len(n.gateways); k > 0 && n.gateways[k-1] == gateway || k >= maxGateways || slices.Contains(n.gateways, gateway) {
		return
	}
	n.gateways = append(n.gateways, gateway)
}
