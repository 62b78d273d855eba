package ha

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// assemble makes the plan of what a pass found. Parts that did not change are
// taken from the last plan, and if nothing changed it is the last plan: an edge
// sees at once that there is nothing to do.
func (c *Core) assemble(w *walker) *Plan {
	last := c.plan
	if last == nil {
		last = &Plan{}
	}
	f := &c.cfg.FIB
	c.offered = offered{w.ann.done(), w.withheld.done()}
	w.takeChanges()
	ann, held, quotas := c.shareOut(w, c.offered, last)
	p := &Plan{
		Gen:           last.Gen + 1,
		Devices:       c.planDevices(last.Devices),
		Tunnels:       keepTunnels(last.Tunnels, c.tunnelsWant),
		Neighbors:     c.neighborsWant,
		Announcements: ann,
		FIB: bgp.FIB{
			Table: f.Table, VRF: f.VRF, Protocol: f.Protocol, RulePref: f.RulePref, Mark: f.Mark, Complete: c.complete,
			Routes: w.routes.done(), Lost: c.lost,
		},
		Probes:   c.probes,
		BFD:      c.bfdWant,
		Withheld: held,
		Quotas:   quotas,
		Claims:   w.claims(last.Claims),

		Greetings: c.greet(last.Greetings),
	}
	p.Sources = c.planSources(last.Sources)
	if c.plan != nil && same(last.Devices, p.Devices) && same(last.Tunnels, p.Tunnels) && same(last.Neighbors, p.Neighbors) &&
		same(last.Announcements, p.Announcements) && same(last.FIB.Routes, p.FIB.Routes) && same(last.Withheld, p.Withheld) &&
		same(last.Probes, p.Probes) && same(last.BFD, p.BFD) && same(last.Sources, p.Sources) && same(last.Quotas, p.Quotas) && same(last.Claims, p.Claims) && same(last.Greetings, p.Greetings) &&
		same(last.FIB.Lost, p.FIB.Lost) && equalFrame(&last.FIB, &p.FIB) {
		return c.plan
	}
	return p
}

// keepTunnels returns old if the new ones equal it.
func keepTunnels(old, fresh []tgwconnect.Tunnel) []tgwconnect.Tunnel {
	if slices.EqualFunc(old, fresh, equalTunnel) {
		return old
	}
	return fresh
}

// same reports whether two slices are one and the same.
func same[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func (c *Core) planDevices(old []wg.Device) []wg.Device {
	out := make([]wg.Device, len(c.cfg.Devices))
	changed := len(old) != len(out)
	for i := range c.cfg.Devices {
		d := c.devices[c.cfg.Devices[i].Name]
		out[i] = *d.cfg
		var was []wg.Peer
		if i < len(old) && old[i].Name == d.cfg.Name {
			was = old[i].Peers
		}
		if out[i].Peers = was; d.peersOld || c.thorough {
			out[i].Peers, d.peersOld = d.planPeers(was), false
		}
		if !changed && !(same(was, out[i].Peers) && equalDevice(&old[i], &out[i])) {
			changed = true
		}
	}
	if !changed {
		return old
	}
	return out
}

func (d *deviceState) planPeers(was []wg.Peer) []wg.Peer {
	changed := len(was) != len(d.sites)
	for i, s := range d.sites {
		changed = changed || !s.isPeer(&was[i])
	}
	if !changed {
		return was
	}
	out := make([]wg.Peer, len(d.sites))
	for i, s := range d.sites {
		out[i] = s.peer()
	}
	return out
}

func (s *siteState) peer() wg.Peer {
	p := s.cfg.Peer
	p.Name, p.AllowedIPs = s.cfg.Name, s.allowedIPs()
	p.Endpoint, p.Dead = s.endpoint()
	return p
}

func (s *siteState) allowedIPs() []netip.Prefix {
	if s.synced() {
		return s.allowed
	}
	return everything
}

// isPeer reports whether p is what peer returns.
func (s *siteState) isPeer(p *wg.Peer) bool {
	c, ips := &s.cfg.Peer, s.allowedIPs()
	e, dead := s.endpoint()
	return p.Key == c.Key && p.Name == s.cfg.Name && p.PresharedKey == c.PresharedKey && p.Endpoint == e &&
		p.Keepalive == c.Keepalive && p.Dead == dead && (same(p.AllowedIPs, ips) || slices.Equal(p.AllowedIPs, ips))
}

// planSources lists every open device that leads to a site: one whose site owns
// nothing passes nothing. Another gateway may send what comes from anywhere.
func (c *Core) planSources(old []AcceptedSources) []AcceptedSources {
	if !c.sourcesOld && !c.thorough {
		return old
	}
	c.sourcesOld = false
	var out []AcceptedSources
	for i := range c.cfg.Devices {
		if d := c.devices[c.cfg.Devices[i].Name]; d.cfg.Mode == wg.ModeOpen && !d.link() {
			out = append(out, AcceptedSources{Device: d.cfg.Name, Prefixes: d.sources()})
		}
	}
	if slices.EqualFunc(old, out, func(a, b AcceptedSources) bool {
		return a.Device == b.Device && slices.Equal(a.Prefixes, b.Prefixes)
	}) {
		return old
	}
	return out
}

// sources are the prefixes of all sites of the device, less those inside others.
func (d *deviceState) sources() (out []netip.Prefix) {
	for _, s := range d.sites {
		out = append(out, s.allowed...)
	}
	slices.SortFunc(out, bgp.ComparePrefix)
	n := 0
	for _, p := range out { // covering ones come first
		if n == 0 || out[n-1].Bits() > p.Bits() || !out[n-1].Contains(p.Addr()) {
			out[n] = p
			n++
		}
	}
	return out[:n:n]
}

func equalRoute(a, b *bgp.Route) bool {
	return a.Prefix == b.Prefix && a.Type == b.Type && a.Metric == b.Metric && a.Source == b.Source &&
		a.Takeover == b.Takeover && (same(a.NextHops, b.NextHops) || slices.Equal(a.NextHops, b.NextHops))
}

func equalAnnouncement(a, b *bgp.Announcement) bool {
	return a.Prefix == b.Prefix && a.Attrs.Equal(b.Attrs) && (same(a.Except, b.Except) || slices.Equal(a.Except, b.Except)) &&
		(same(a.To, b.To) || slices.EqualFunc(a.To, b.To, equalExport))
}

func equalExport(a, b bgp.Export) bool {
	return a.Group == b.Group && a.MED == b.MED && a.Prepend == b.Prepend && a.LocalPref == b.LocalPref &&
		slices.Equal(a.Communities, b.Communities) && slices.Equal(a.Large, b.Large)
}

func equalDevice(a, b *wg.Device) bool {
	return a.Name == b.Name && a.Backend == b.Backend && a.PrivateKey == b.PrivateKey && a.ListenPort == b.ListenPort &&
		a.FirewallMark == b.FirewallMark && a.MTU == b.MTU && slices.Equal(a.Addresses, b.Addresses) && a.VRF == b.VRF && a.Mode == b.Mode &&
		a.SharedKey == b.SharedKey
}

func equalFrame(a, b *bgp.FIB) bool {
	return a.Table == b.Table && a.VRF == b.VRF && a.Protocol == b.Protocol && a.RulePref == b.RulePref && a.Mark == b.Mark &&
		a.Complete == b.Complete
}

func equalWithheld(a, b *Withheld) bool { return *a == *b }

func orderRoute(a, b *bgp.Route) int {
	if d := bgp.ComparePrefix(a.Prefix, b.Prefix); d != 0 {
		return d
	}
	return cmp.Compare(a.Metric, b.Metric)
}

func orderAnnouncement(a, b *bgp.Announcement) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) }

func orderWithheld(a, b *Withheld) int { return compareWithheld(*a, *b) }

// compareWithheld is the order of Plan.Withheld.
func compareWithheld(a, b Withheld) int {
	if d := bgp.ComparePrefix(a.Prefix, b.Prefix); d != 0 {
		return d
	}
	if d := cmp.Compare(a.Site, b.Site); d != 0 {
		return d
	}
	if d := cmp.Compare(a.From, b.From); d != 0 {
		return d
	}
	return cmp.Compare(a.Group, b.Group)
}

// everything is what an open peer may carry; routes and the source check decide.
var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

func equalTunnel(a, b tgwconnect.Tunnel) bool {
	return a.Name == b.Name && a.Backend == b.Backend && a.Local == b.Local && a.Remote == b.Remote && a.MTU == b.MTU &&
		a.TTL == b.TTL && a.Mark == b.Mark && a.VRF == b.VRF && slices.Equal(a.Addresses, b.Addresses)
}
