package ha

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/wgbgp/wgbgp/bgp"
	"github.com/wgbgp/wgbgp/tgwconnect"
	"github.com/wgbgp/wgbgp/wg"
)

// SiteView is what an operator may ask about a site.
type SiteView struct {
	Config   *Site
	Judged   Judgement
	Checks   []CheckState
	Disabled bool
	HoldLeft time.Duration // of the hold-down, 0: trusted
	Peer     *wg.PeerState // nil: not on the device
	Prefixes []PrefixView
}

// PrefixView is one prefix that a site owns or claims.
type PrefixView struct {
	Prefix    netip.Prefix
	Learned   bool
	InPlace   bool // allowed IP and route are applied
	Announced bool
	Reason    Reason // why not announced
	Detail    string
}

// DeviceView is what is known of a WireGuard interface.
type DeviceView struct {
	Config  *wg.Device
	Seen    wg.DeviceState
	Applied wg.Applied
	Err     string
}

// PathView is one claim on a prefix in the order of preference.
type PathView struct {
	Site    string
	From    string // neighbor; empty: configured
	Path    *bgp.Path
	Best    bool // the best one, or equal in cost to it
	Usable  bool
	Reason  Reason // why it can not be used
	Detail  string
	Decided string // the step of path selection that put it behind the best
}

// EntryView is one prefix of the RIB with all claims, best first.
type EntryView struct {
	Prefix    netip.Prefix
	Paths     []PathView
	Announced *bgp.Announcement
	Withheld  []Withheld
}

// Config is the configuration in force.
func (c *Core) Config() *Config { return c.cfg }

// Drain is how far an orderly leave has come.
func (c *Core) Drain() DrainPhase { return c.drain }

// Complete reports whether sweeping is permitted yet.
func (c *Core) Complete() bool { return c.complete }

// Sites lists all sites by name, or the one named.
func (c *Core) Sites(now time.Time, name string) []SiteView {
	var out []SiteView
	for _, s := range c.sites {
		if name == "" || name == s.cfg.Name {
			out = append(out, c.siteView(now, s))
		}
	}
	return out
}

func (c *Core) siteView(now time.Time, s *siteState) SiteView {
	v := SiteView{Config: s.cfg, Judged: s.health.judge(now), Checks: s.health.checks(now), Disabled: s.disabled}
	if v.Judged.Reason == ReasonHoldDown {
		v.HoldLeft = max(0, s.health.hold.Sub(now))
	}
	if s.dev != nil {
		if i, ok := slices.BinarySearchFunc(s.dev.seen.Peers, s.cfg.Peer.Key, func(p wg.PeerState, k wg.Key) int {
			return p.Key.Compare(k)
		}); ok {
			v.Peer = &s.dev.seen.Peers[i]
		}
	}
	for _, p := range s.cfg.Prefixes {
		v.Prefixes = append(v.Prefixes, c.prefixView(s, p, false))
	}
	for _, p := range s.lastAllowed {
		e := c.rib.byPrefix[p]
		if e == nil || slices.Contains(s.cfg.Prefixes, p) || (e.host == s && len(e.paths) == 0) {
			continue
		}
		v.Prefixes = append(v.Prefixes, c.prefixView(s, p, true))
	}
	for _, h := range c.withheld() {
		if h.Site == s.cfg.Name && !slices.ContainsFunc(v.Prefixes, func(p PrefixView) bool { return p.Prefix == h.Prefix }) {
			v.Prefixes = append(v.Prefixes, PrefixView{Prefix: h.Prefix, Learned: h.From != "", Reason: h.Reason, Detail: h.Detail})
		}
	}
	slices.SortFunc(v.Prefixes, func(a, b PrefixView) int { return bgp.ComparePrefix(a.Prefix, b.Prefix) })
	return v
}

func (c *Core) withheld() []Withheld {
	if c.plan == nil {
		return nil
	}
	return c.plan.Withheld
}

func (c *Core) prefixView(s *siteState, p netip.Prefix, isLearned bool) PrefixView {
	v := PrefixView{Prefix: p, Learned: isLearned, InPlace: s.inPlace(p)}
	if c.plan == nil {
		return v
	}
	a := c.announcement(p)
	v.Announced = a != nil
	for _, h := range c.plan.Withheld {
		if h.Prefix == p && h.Site == s.cfg.Name {
			v.Announced, v.Reason, v.Detail = false, h.Reason, h.Detail
		}
	}
	return v
}

// inPlace is ready without the planner's cursor.
func (s *siteState) inPlace(p netip.Prefix) bool {
	if s.applied == nil || s.dev == nil {
		return false
	}
	if !s.synced() {
		return true
	}
	_, failed := s.dev.applied.Failed[p]
	_, ok := slices.BinarySearchFunc(s.applied.AllowedIPs, p, bgp.ComparePrefix)
	return ok && !failed
}

func (c *Core) announcement(p netip.Prefix) *bgp.Announcement {
	if c.plan == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(c.plan.Announcements, p, func(a bgp.Announcement, p netip.Prefix) int {
		return bgp.ComparePrefix(a.Prefix, p)
	})
	if !ok {
		return nil
	}
	return &c.plan.Announcements[i]
}

// Devices lists the WireGuard interfaces by name.
func (c *Core) Devices() []DeviceView {
	var out []DeviceView
	for i := range c.cfg.Devices {
		d := c.devices[c.cfg.Devices[i].Name]
		out = append(out, DeviceView{Config: d.cfg, Seen: d.seen, Applied: d.applied, Err: d.err})
	}
	return out
}

// Tunnel is the last known state of a GRE tunnel.
func (c *Core) Tunnel(name string) (tgwconnect.TunnelState, bool) {
	t, ok := c.tunnels[name]
	return t, ok
}

// Neighbor is the last known state of a session and its configuration.
func (c *Core) Neighbor(name string) (*bgp.Neighbor, bgp.NeighborState, bool) {
	n := c.neighbors[name]
	if n == nil {
		return nil, bgp.NeighborState{}, false
	}
	return n.cfg, n.seen, true
}

// Entries lists the RIB entries whose prefix is wanted, in prefix order.
func (c *Core) Entries(wanted func(netip.Prefix) bool) []EntryView {
	var out []EntryView
	for _, e := range c.rib.sorted() {
		if !e.empty() && wanted(e.prefix) {
			out = append(out, c.entryView(e))
		}
	}
	return out
}

// RouteView is one route of the plan with what the kernel made of it.
type RouteView struct {
	bgp.Route
	Pending bool // wanted, not yet confirmed
	Report  *bgp.RouteReport
}

// Routes lists the routes of the plan whose prefix is wanted, in plan order,
// and the foreign routes that were found on the same prefixes.
func (c *Core) Routes(wanted func(netip.Prefix) bool) ([]RouteView, []bgp.ForeignRoute) {
	if c.plan == nil {
		return nil, nil
	}
	var out []RouteView
	for _, r := range c.plan.FIB.Routes {
		if wanted(r.Prefix) {
			out = append(out, c.routeView(r))
		}
	}
	var foreign []bgp.ForeignRoute
	for _, f := range c.routes.Foreign {
		if wanted(f.Prefix) {
			foreign = append(foreign, f)
		}
	}
	return out, foreign
}

func (c *Core) routeView(r bgp.Route) RouteView {
	v := RouteView{Route: r, Pending: true}
	if c.routes.plan == nil {
		return v
	}
	order := func(a, b *bgp.Route) int {
		if d := bgp.ComparePrefix(a.Prefix, b.Prefix); d != 0 {
			return d
		}
		return cmp.Compare(a.Metric, b.Metric)
	}
	have := c.routes.plan.FIB.Routes
	i, ok := slices.BinarySearchFunc(have, &r, func(a bgp.Route, b *bgp.Route) int { return order(&a, b) })
	v.Pending = !ok || !equalRoute(&have[i], &r)
	for i := range c.routes.Reports {
		if p := &c.routes.Reports[i]; p.Prefix == r.Prefix && p.Metric == r.Metric {
			v.Report = p
		}
	}
	return v
}

func (c *Core) entryView(e *entry) EntryView {
	v := EntryView{Prefix: e.prefix, Announced: c.announcement(e.prefix)}
	cands := c.candidates(nil, e, c.covers(e.prefix))
	for i := range cands {
		k := &cands[i]
		p := PathView{From: k.from(), Usable: k.usable(), Reason: k.reason, Detail: k.detail}
		if k.site != nil {
			p.Site = k.site.cfg.Name
		}
		if k.path != nil {
			p.Path = &k.path.Path
		}
		if i == 0 {
			p.Best = !k.blocked
		} else {
			_, p.Decided = prefer(&cands[0], k)
			p.Best = p.Decided == stepName && !k.blocked && k.usable()
		}
		v.Paths = append(v.Paths, p)
	}
	for _, h := range c.withheld() {
		if h.Prefix == e.prefix {
			v.Withheld = append(v.Withheld, h)
		}
	}
	return v
}

func (c *Core) covers(p netip.Prefix) bool {
	return slices.ContainsFunc(c.endpoints, p.Contains)
}
