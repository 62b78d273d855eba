package ha

import (
	"cmp"
	"maps"
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
	Damping  DampingState
	Peer     *wg.PeerState // nil: not on the device
	Prefixes []PrefixView
	// Elsewhere is where another host of the fleet heard the site, the one that did
	// last; without an endpoint none has.
	Elsewhere wg.Whereabouts
	By        string // that host
	Greeting  string // why this host greets the site now; empty: it does not
}

// PrefixView is one prefix that a site owns or claims.
type PrefixView struct {
	Prefix    netip.Prefix
	Learned   bool
	InPlace   bool // allowed IP and route are applied
	Announced bool
	Rank      Rank   // when announced
	Reason    Reason // why not announced, or why not to all
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
	Site string
	From string // neighbor; empty: configured
	// Aggregate is set for the aggregate itself, which has neither; Detail counts
	// its contributors.
	Aggregate bool
	Path      *bgp.Path
	Best      bool // the best one, or equal in cost to it
	Usable    bool
	Reason    Reason // why it can not be used
	Detail    string
	Asked     string // what the communities of the path ask for and get
	Blackhole bool   // packets for it are dropped on the neighbor's request
	Decided   Step   // what put it behind the best, also between equals in cost
}

// EntryView is one prefix of the RIB with all claims, best first.
type EntryView struct {
	Prefix    netip.Prefix
	Paths     []PathView
	Announced *bgp.Announcement
	Rank      Rank // when announced
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
	prefixes := c.prefixViews(name)
	var out []SiteView
	for _, s := range c.sites {
		if name == "" || name == s.cfg.Name {
			v := c.siteView(now, s)
			v.Prefixes = prefixes[s.cfg.Name]
			out = append(out, v)
		}
	}
	return out
}

// Verdicts calls fn for every site that is no link, by name, at a fraction of the price of Sites.
func (c *Core) Verdicts(fn func(s *Site, disabled bool, v Verdict)) {
	for _, s := range c.sites {
		if !s.cfg.Link {
			fn(s.cfg, s.disabled, s.judged.Verdict)
		}
	}
}

func (c *Core) siteView(now time.Time, s *siteState) SiteView {
	v := SiteView{Config: s.cfg, Judged: s.health.judge(now), Checks: s.health.checks(now), Disabled: s.disabled}
	v.Damping = s.health.damping(now)
	if v.Judged.Reason == ReasonHoldDown {
		v.HoldLeft = max(0, s.health.hold.Sub(now))
	}
	if r, at := c.lastKnown(s); r != nil {
		v.Elsewhere, v.By = at, r.Host
	}
	v.Greeting = s.greeting.why
	if s.dev != nil {
		if i, ok := slices.BinarySearchFunc(s.dev.seen.Peers, s.cfg.Peer.Key, func(p wg.PeerState, k wg.Key) int {
			return p.Key.Compare(k)
		}); ok {
			v.Peer = &s.dev.seen.Peers[i]
		}
	}
	return v
}

// prefixViews lists what every site, or the one named, owns or claims. It walks
// RIB, announcements and withheld prefixes in step: questions come when much is
// withheld, and the loop that answers them must go on deciding.
func (c *Core) prefixViews(name string) map[string][]PrefixView {
	out := map[string][]PrefixView{}
	held := c.withheld()
	w := &walker{c: c, now: c.now}
	for _, e := range c.rib.sorted() {
		for len(held) > 0 && bgp.ComparePrefix(held[0].Prefix, e.prefix) < 0 {
			held = held[1:]
		}
		n := 0
		for n < len(held) && held[n].Prefix == e.prefix {
			n++
		}
		announced := c.announcement(e.prefix) != nil
		view := func(site string, isLearned bool) {
			vs := out[site]
			if name != "" && name != site || len(vs) > 0 && vs[len(vs)-1].Prefix == e.prefix {
				return
			}
			v := PrefixView{Prefix: e.prefix, Learned: isLearned, Announced: announced}
			if s := c.siteByName[site]; s != nil {
				v.InPlace = e.placing(s) != nil && s.ready(e)
			}
			for i := range held[:n] {
				if held[i].Site == site {
					v.Announced = v.Announced && held[i].Group != ""
					v.Reason, v.Detail = held[i].Reason, held[i].Detail
				}
			}
			if s := c.siteByName[site]; s != nil && v.Announced {
				v.Rank = w.rankAt(e, &candidate{site: s})
			}
			out[site] = append(vs, v)
		}
		for _, s := range e.sites {
			view(s.cfg.Name, false)
		}
		for i := range e.paths {
			if s := e.paths[i].from.site; s != nil {
				view(s.cfg.Name, true)
			}
		}
	}
	return out
}

// withheldFor is what the plan withholds of one prefix.
func (c *Core) withheldFor(p netip.Prefix) []Withheld {
	held := c.withheld()
	i, _ := slices.BinarySearchFunc(held, p, func(h Withheld, p netip.Prefix) int { return bgp.ComparePrefix(h.Prefix, p) })
	j := i
	for j < len(held) && held[j].Prefix == p {
		j++
	}
	return held[i:j]
}

func (c *Core) withheld() []Withheld {
	if c.plan == nil {
		return nil
	}
	return c.plan.Withheld
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

// Sessions calls fn for every neighbor by name: the configured ones, and those
// that came from a range.
func (c *Core) Sessions(fn func(n *bgp.Neighbor, st bgp.NeighborState)) {
	for _, name := range slices.Sorted(maps.Keys(c.neighbors)) {
		fn(c.neighbors[name].cfg, c.neighbors[name].seen)
	}
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
	reports := c.routes.Reports
	if i, ok := slices.BinarySearchFunc(reports, &r, func(a bgp.RouteReport, b *bgp.Route) int {
		return cmp.Or(bgp.ComparePrefix(a.Prefix, b.Prefix), cmp.Compare(a.Metric, b.Metric))
	}); ok {
		v.Report = &reports[i]
	}
	return v
}

func (c *Core) entryView(e *entry) EntryView {
	v := EntryView{Prefix: e.prefix, Announced: c.announcement(e.prefix)}
	cands := c.candidates(nil, e, c.covers(e.prefix))
	switch {
	case e.agg != nil:
		v.Paths = append(v.Paths, e.agg.view())
		v.Rank = e.agg.rank
	case len(cands) > 0:
		v.Rank = (&walker{c: c, now: c.now}).rankAt(e, &cands[0])
	}
	if v.Announced == nil {
		v.Rank = ""
	}
	for i := range cands {
		k := &cands[i]
		p := PathView{From: k.from(), Usable: k.usable(), Reason: k.reason, Detail: k.detail}
		if k.site != nil {
			p.Site = k.site.cfg.Name
		}
		if k.path != nil {
			p.Path = &k.path.Path
			if x := k.path.wish; x != nil {
				p.Asked, p.Blackhole = x.text, x.blackhole
			}
		}
		if i == 0 {
			p.Best = !k.blocked
		} else {
			_, p.Decided = prefer(&cands[0], k)
			p.Best = p.Decided.breaksTie() && !k.blocked && k.usable() && i < max(c.cfg.FIB.MaxECMP, 1)
		}
		v.Paths = append(v.Paths, p)
	}
	v.Withheld = slices.Clone(c.withheldFor(e.prefix))
	return v
}

func (c *Core) covers(p netip.Prefix) bool {
	i, _ := slices.BinarySearchFunc(c.endpoints, p.Addr(), netip.Addr.Compare)
	return i < len(c.endpoints) && p.Contains(c.endpoints[i])
}
